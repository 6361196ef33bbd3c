/* A plugin's file before dlopen: ELF headers and tables of symbols, or Mach-O load commands. The
 * file is looked at in memory, and never loaded. */
#include "fuzz.h"
#include "plugin_file.h"
#include "plugin_symbol.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const psc_machine machines[] = {{64, 62, 0x01000007}, {64, 0, 0}, {32, 0, 0}};
    uint8_t *exact = malloc(size > 0 ? size : 1); /* a sanitizer sees the byte behind it */
    if (!exact) abort();
    if (size > 0) memcpy(exact, data, size);
    for (size_t i = 0; i < sizeof machines / sizeof *machines; i++) {
        const psc_machine *machine = &machines[i];
        const char *elf = psc_elf_fault(exact, size, size, machine);
        const char *mach = psc_mach_fault(exact, size, size, machine);
        fuzz_expect(elf || mach, "a file is both ELF and Mach-O");
        const psc_symbol symbol =
            psc_elf_symbol(exact, size, machine->bits, PSC_PLUGIN_SYMBOL_NAME);
        fuzz_expect(symbol >= PSC_SYMBOL_THERE && symbol <= PSC_SYMBOL_DAMAGED, "another answer");
    }
    free(exact);
    return 0;
}
