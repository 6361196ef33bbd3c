/* An arena: zeroed, 64-byte aligned memory, freed all at once; also aligned blocks, growing lists.
 * Private to base/, hooks/, runtime/ and bench/.
 * Threads: one at a time.
 * Ownership: the arena owns every block; blocks stay where they are until clear or close. */
#ifndef ARENA_H
#define ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct psc_arena {
    struct psc_arena_block *blocks; /* newest first */
    uint64_t bytes;                 /* handed out since the last clear */
    uint64_t cap;                   /* most bytes to hand out; 0: no cap */
} psc_arena;

/* Zeroed, 64-byte aligned memory; null beyond the cap or without memory. */
void *psc_arena_alloc(psc_arena *arena, uint64_t bytes);
/* Frees all blocks; the arena can be used again. */
void psc_arena_clear(psc_arena *arena);
/* One separate 64-byte aligned block, zeroed by calloc; psc_aligned_free frees it. Null on
 * failure. */
void *psc_aligned_alloc(uint64_t bytes);
void *psc_aligned_calloc(uint64_t bytes);
void psc_aligned_free(void *memory);
/* Asks the system for huge pages where the memory fills them. The system may ignore this. */
void psc_wish_huge_pages(void *memory, uint64_t bytes);

/* Makes room in *items (from malloc, or null) for at least `needed` items; *capacity doubles,
 * starting at 16. False, with both unchanged, when memory runs out. */
bool psc_grow(void **items, size_t *capacity, size_t needed, size_t item_bytes);

#endif
