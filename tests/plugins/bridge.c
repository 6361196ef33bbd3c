/* A plugin whose callbacks a test sets: the test finds bridge_plugin with dlsym and fills it in. */
#include "psc_plugin.h"

PSC_API extern psc_plugin bridge_plugin;

psc_plugin bridge_plugin = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof(psc_plugin),
    .name = "bridge",
    .version = "1.0",
    .summary = "Calls back into a test.",
};

PSC_PLUGIN_EXPORT {
    return &bridge_plugin;
}
