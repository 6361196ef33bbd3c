/* A plugin built with -Ofast: its start-up code turns subnormals off on the thread that loads it.
 * It only observes the residual stream. */
#include "psc_plugin.h"

static const psc_host *host;

static int on_event(const psc_event *event, void *payload) {
    (void)payload;
    return event->n_rows > 0 ? 0 : -1;
}

static int fast_open(psc_context *context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    return host->observe(context, PSC_HOOK_RESID_POST, 0, on_event, 0);
}

static const psc_plugin fast = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof(psc_plugin),
    .name = "fast",
    .version = "1.0",
    .summary = "Was built with -Ofast.",
    .open = fast_open,
};

PSC_PLUGIN_EXPORT {
    return &fast;
}
