/* An arena: zeroed, 64-byte aligned memory that is freed all at once; aligned blocks; growing lists.
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

/* Null when the cap or memory is exceeded; cap 0 means none. */
void *psc_arena_alloc(psc_arena *arena, uint64_t bytes);
/* Frees all blocks; the arena can be used again. */
void psc_arena_clear(psc_arena *arena);
/* One 64-byte aligned block of its own, zeroed or not; freed by psc_aligned_free. Null on failure.
 */
void *psc_aligned_alloc(uint64_t bytes);
void *psc_aligned_calloc(uint64_t bytes);
void psc_aligned_free(void *memory);
/* Asks for huge pages for what lies whole in them; a wish, no more. */
void psc_wish_huge_pages(void *memory, uint64_t bytes);

/* Makes room in *items (of malloc, or null) for at least `needed` items; *capacity doubles, from 16
 * on. False, with both as they were, when memory runs out. */
bool psc_grow(void **items, size_t *capacity, size_t needed, size_t item_bytes);

#endif
