/* An arena as a list of blocks, each zeroed and 64-byte aligned; aligned_alloc with checked sizes.
 * Large blocks ask for huge pages: each page of 4 KiB costs a fault when it is first touched, and a
 * TLB entry afterwards. */
#define _DEFAULT_SOURCE /* madvise, on glibc */
#include "arena.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define ALIGNMENT 64u
#define HUGE_PAGE ((size_t)2 << 20)
#define BLOCK_BYTES (1u << 16)

struct psc_arena_block {
    struct psc_arena_block *next;
    uint64_t used, size; /* bytes after the header */
};

/* Room for the header that keeps the bytes after it aligned. */
#define HEADER_BYTES ALIGNMENT

void psc_wish_huge_pages(void *memory, uint64_t bytes) {
#ifdef MADV_HUGEPAGE
    uintptr_t begin = ((uintptr_t)memory + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    uintptr_t end = ((uintptr_t)memory + (uintptr_t)bytes) / HUGE_PAGE * HUGE_PAGE;
    if (begin < end) (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
#else
    (void)memory, (void)bytes;
#endif
}

void *psc_aligned_alloc(uint64_t bytes) {
    if (bytes > SIZE_MAX / 2) return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    size_t size = bytes ? (size_t)bytes : ALIGNMENT;
#ifdef MADV_HUGEPAGE
    if (size >= HUGE_PAGE) {
        void *memory = NULL; /* posix_memalign: size need not be a multiple of the alignment */
        if (posix_memalign(&memory, HUGE_PAGE, size) != 0) return NULL;
        psc_wish_huge_pages(
            memory, size); /* the incomplete last page stays small: nothing is wasted */
        return memory;
    }
#endif
    return aligned_alloc(ALIGNMENT, size);
}

void *psc_aligned_calloc(uint64_t bytes) {
    void *memory = psc_aligned_alloc(bytes);
    if (memory) memset(memory, 0, (size_t)bytes);
    return memory;
}

void psc_aligned_free(void *memory) {
    free(memory);
}

bool psc_grow(void **items, size_t *capacity, size_t needed, size_t item_bytes) {
    if (needed <= *capacity) return true;
    size_t n = *capacity < 16 ? 16 : *capacity;
    while (n < needed) {
        if (n > SIZE_MAX / 2) return false;
        n *= 2;
    }
    if (n > SIZE_MAX / item_bytes) return false;
    void *grown = realloc(*items, n * item_bytes);
    if (!grown) return false;
    *items = grown;
    *capacity = n;
    return true;
}

void *psc_arena_alloc(psc_arena *arena, uint64_t bytes) {
    if (bytes > SIZE_MAX / 4) return NULL;
    bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (arena->cap && bytes > arena->cap - arena->bytes) return NULL;
    struct psc_arena_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        uint64_t size = bytes > BLOCK_BYTES ? bytes : BLOCK_BYTES;
        block = psc_aligned_calloc(HEADER_BYTES + size);
        if (!block) return NULL;
        block->size = size;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *memory = (char *)block + HEADER_BYTES + block->used;
    block->used += bytes;
    arena->bytes += bytes;
    return memory;
}

void psc_arena_clear(psc_arena *arena) {
    while (arena->blocks) {
        struct psc_arena_block *next = arena->blocks->next;
        psc_aligned_free(arena->blocks);
        arena->blocks = next;
    }
    arena->bytes = 0;
}
