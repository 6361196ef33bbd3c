/* Plugins that a host must refuse; BROKEN selects the flaw. */
#define _GNU_SOURCE /* setenv */
#include "psc_plugin.h"

#define BROKEN_SYMBOL 1
#define BROKEN_NULL 2
#define BROKEN_ABI 3
#define BROKEN_SIZE 4
#define BROKEN_NAMELESS 5
#define BROKEN_NAME 6
#define BROKEN_OPTIONS 7

#if BROKEN == BROKEN_SYMBOL
#include <stdlib.h>

/* A host that looks before it loads never runs this. */
__attribute__((constructor)) static void on_load(void) {
    setenv("PSC_BROKEN_SYMBOL_RAN", "1", 1);
}

PSC_API const psc_plugin *another_symbol(void);
PSC_API const psc_plugin *another_symbol(void) {
    return 0;
}
#else
static const psc_option_description described[] = {
    {"rows", "all", "which rows", PSC_OPTION_TEXT, 0, 0, 0, 0},
    {"rows", "all", "once more", PSC_OPTION_TEXT, 0, 0, 0, 0},
    {0},
};

static const psc_plugin broken = {
    .abi = BROKEN == BROKEN_ABI ? 1 : PSC_PLUGIN_ABI,
    .struct_size = BROKEN == BROKEN_SIZE ? 24 : sizeof(psc_plugin),
    .name = BROKEN == BROKEN_NAMELESS ? 0
            : BROKEN == BROKEN_NAME   ? "a.b c"
                                      : "broken",
    .version = "1.0",
    .summary = "Is refused.",
    .options = BROKEN == BROKEN_OPTIONS ? described : 0,
};

PSC_PLUGIN_EXPORT {
    return BROKEN == BROKEN_NULL ? 0 : &broken;
}
#endif
