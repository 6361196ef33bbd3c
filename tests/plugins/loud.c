/* A plugin whose start-up code makes the file that PSC_TEST_LOADED names, as a stranger's would do
 * worse: a test then knows that it was loaded. */
#include "psc_plugin.h"

#include <stdio.h>
#include <stdlib.h>

static void __attribute__((constructor)) when_loaded(void) {
    const char *path = getenv("PSC_TEST_LOADED");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) fclose(file);
}

static int declare(psc_context *context, const psc_host *host, void **state) {
    *state = NULL;
    return host->accumulating(context) &&
           host->accumulator(context, "rows", PSC_ACCUMULATE_COUNT, 1, 0) < 0;
}

static const psc_plugin loud = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof loud,
    .name = "loud",
    .version = "1.0",
    .summary = "Says that it was loaded.",
    .open = declare,
};

PSC_PLUGIN_EXPORT {
    return &loud;
}
