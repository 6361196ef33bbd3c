/* Whether a whole ELF file has the one symbol of a plugin, before dlopen runs anything of the file.
 * Private to hooks/ and tests/.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef PLUGIN_SYMBOL_H
#define PLUGIN_SYMBOL_H

#include <stddef.h>

typedef enum psc_symbol {
    PSC_SYMBOL_THERE = 0,
    PSC_SYMBOL_ABSENT =
        1, /* or not one that a caller finds: undefined, local, hidden, no function */
    PSC_SYMBOL_DAMAGED = 2, /* tables that leave the file or contradict each other */
} psc_symbol;

/* Looks the name up as the dynamic linker does, through the file's own hash table. The file is of
 * this machine's byte order, with words of 32 or 64 bits; size bytes at file are all of it. Reads
 * no byte outside, whatever the file says. */
psc_symbol psc_elf_symbol(const unsigned char *file, size_t size, unsigned bits, const char *name);

#endif
