/* A plugin whose sum overflows with the third window: 3 * 1.5 * 2^85 > 2^87. */
#include "psc_plugin.h"

static const psc_host *host;
static int handle;

static int large_open(psc_context *context, const psc_host *given, void **state) {
    *state = NULL;
    host = given;
    handle = host->accumulator(context, "large", PSC_ACCUMULATE_SUM, 1, 0);
    return handle < 0;
}

static int large_run_end(psc_context *context, void *state, int status) {
    const double partial = 0x1.8p85;
    int32_t n;
    const psc_row *rows = host->rows(context, &n);
    (void)state;
    for (int32_t i = 0; !status && i < n; i++)
        if (i == 0 || rows[i].sequence != rows[i - 1].sequence)
            if (host->accumulate(context, handle, 0, 1, &partial)) return -1;
    return 0;
}

static int large_report(psc_context *context, void *state) {
    double sum = 0;
    (void)state;
    return host->accumulated(context, handle, 0, 1, &sum);
}

PSC_PLUGIN_EXPORT {
    static const psc_plugin plugin = {
        .abi = PSC_PLUGIN_ABI,
        .struct_size = sizeof(psc_plugin),
        .name = "large",
        .version = "1",
        .summary = "overflows",
        .open = large_open,
        .run_end = large_run_end,
        .report = large_report,
    };
    return &plugin;
}
