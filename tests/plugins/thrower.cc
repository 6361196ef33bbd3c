// A plugin in C++ that throws: through the host's frames, where nothing catches; and through a call
// of the host to a frame of its own that does.
#include "psc_plugin.h"

#include <cstring>
#include <stdexcept>

namespace {

const psc_host *host;
char kind[16];

const psc_option_description options[] = {
    {"kind", "through", "through or caught", PSC_OPTION_TEXT, 0, 0, 0, nullptr},
    {nullptr, nullptr, nullptr, 0, 0, 0, 0, nullptr},
};

void throw_in_part(int64_t, int64_t, int32_t, void *) {
    throw std::runtime_error("out of a part");
}

int opened(psc_context *c, const psc_host *given, void **) {
    const char *text = nullptr;
    host = given;
    if (host->options(c, &text)) return -1;
    std::strncpy(kind, text, sizeof kind - 1);
    return 0;
}

int ended(psc_context *c, void *, int) {
    if (std::strcmp(kind, "through") == 0) throw std::runtime_error("out of run_end");
    try {
        host->parallel_for(c, 1, throw_in_part, nullptr);
    } catch (const std::exception &) {
        return 0;
    }
    return 0;
}

} // namespace

PSC_PLUGIN_EXPORT {
    static psc_plugin plugin;
    plugin.abi = PSC_PLUGIN_ABI;
    plugin.struct_size = sizeof plugin;
    plugin.name = "thrower";
    plugin.version = "1.0";
    plugin.summary = "Throws.";
    plugin.options = options;
    plugin.open = opened;
    plugin.run_end = ended;
    return &plugin;
}
