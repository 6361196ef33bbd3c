/* A plugin's file before dlopen reads it: its kind, its machine, and that it is whole.
 * Private to hooks/ and tests/.
 * Threads: reentrant.
 * Ownership: nothing is kept; the file is closed again. */
#ifndef PLUGIN_FILE_H
#define PLUGIN_FILE_H

#include <stddef.h>

#include "psc_hooks.h"

/* What a shared object must be to run in this process. */
typedef struct psc_machine {
    unsigned bits;     /* 32 or 64 */
    unsigned elf;      /* e_machine; 0: any */
    unsigned mach_cpu; /* cputype of Mach-O; 0: any */
} psc_machine;

#define PSC_PLUGIN_SYMBOL_NAME "psc_plugin_entry"

/* PSC_ERROR_PLUGIN, with one sentence, for a path that is not a whole shared object of this
 * machine, or of which no plugin's symbol can be found: the linker would wait for a pipe's writer,
 * read past the end of a file that was cut short (SIGBUS), or run the constructors of any library.
 * The file is opened without waiting. */
psc_status psc_plugin_file_check(const char *path, psc_error *error);
/* The sentence of a library without that symbol; PSC_ERROR_PLUGIN. */
psc_status psc_plugin_no_symbol(const char *path, psc_error *error);

/* The same for a file's first bytes; size is the whole file's. null when it can be loaded, else the
 * end of a sentence: "is a text file". */
const char *psc_elf_fault(
    const unsigned char *head, size_t n, size_t size, const psc_machine *machine);
const char *psc_mach_fault(
    const unsigned char *head, size_t n, size_t size, const psc_machine *machine);

#endif
