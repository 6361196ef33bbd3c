/* Byte-pair merging. A word starts as one symbol per byte. As long as neighbors form a pair with a
 * merge, the pair of the lowest (rank, position) becomes one symbol. Candidates wait in a binary
 * heap and may become stale: one is dropped when its position no longer merges into its result, as
 * in the library. O(n log n) for n bytes. */
#include "tokenizer_private.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

uint64_t psc_tk_hash(const char *text, size_t bytes) {
    uint64_t h = 0x9e3779b97f4a7c15u ^ bytes;
    for (size_t i = 0; i < bytes; i++) h = (h ^ (unsigned char)text[i]) * 0x100000001b3u;
    return h ^ h >> 29;
}

psc_merge *psc_tk_merge_slot(const psc_tokenizer *tokenizer, int32_t left, int32_t right) {
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint32_t slot = (uint32_t)((key * 0x9e3779b97f4a7c15u) >> 32) & tokenizer->merge_mask;
    for (;; slot = (slot + 1) & tokenizer->merge_mask) {
        psc_merge *merge = &tokenizer->merges[slot];
        if (merge->result < 0 || (merge->left == left && merge->right == right)) return merge;
    }
}

int32_t *psc_tk_word_slot(const psc_tokenizer *tokenizer, const char *word, size_t bytes) {
    uint32_t slot = (uint32_t)psc_tk_hash(word, bytes) & tokenizer->word_mask;
    for (;; slot = (slot + 1) & tokenizer->word_mask) {
        int32_t id = tokenizer->words[slot];
        if (id < 0) return &tokenizer->words[slot];
        const psc_token_entry *entry = &tokenizer->entries[id];
        if (entry->bytes == bytes && !memcmp(tokenizer->bytes + entry->offset, word, bytes))
            return &tokenizer->words[slot];
    }
}

static bool comes_before(psc_candidate a, psc_candidate b) {
    return a.rank != b.rank ? a.rank < b.rank : a.at < b.at;
}

static void sift_up(psc_candidate *heap, size_t i) {
    psc_candidate item = heap[i];
    for (size_t parent; i > 0; i = parent) {
        parent = (i - 1) / 2;
        if (!comes_before(item, heap[parent])) break;
        heap[i] = heap[parent];
    }
    heap[i] = item;
}

static psc_candidate pop(psc_word_scratch *w) {
    psc_candidate top = w->heap[0], item = w->heap[--w->n_heap];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && comes_before(w->heap[child + 1], w->heap[child])) child++;
        if (!comes_before(w->heap[child], item)) break;
        w->heap[i] = w->heap[child];
    }
    w->heap[i] = item;
    return top;
}

/* Adds the candidate of symbol `at` and the next one, if they merge. */
static bool push(psc_word_scratch *w, const psc_tokenizer *tokenizer, uint32_t at) {
    uint32_t next = w->symbols[at].next;
    if (next == NONE) return true;
    const psc_merge *merge = psc_tk_merge_slot(tokenizer, w->symbols[at].id, w->symbols[next].id);
    if (merge->result < 0) return true;
    if (!psc_grow((void **)&w->heap, &w->heap_capacity, w->n_heap + 1, sizeof(psc_candidate)))
        return false;
    w->heap[w->n_heap] = (psc_candidate){merge->rank, at, merge->result};
    sift_up(w->heap, w->n_heap++);
    return true;
}

/* One symbol per byte. Bytes without an entry become the unknown token, with fuse_unknown one for
 * each run of such bytes. */
static void set_symbols(
    psc_word_scratch *w, const psc_tokenizer *tokenizer, const char *word, size_t bytes) {
    bool was_unknown = false;
    w->n = 0;
    for (size_t i = 0; i < bytes; i++) {
        int32_t id = tokenizer->byte_ids[(unsigned char)word[i]];
        bool is_unknown = id < 0;
        if (is_unknown && was_unknown && tokenizer->fuse_unknown) {
            w->symbols[w->n - 1].bytes++;
            continue;
        }
        w->symbols[w->n] = (psc_symbol){is_unknown ? tokenizer->unknown : id, 1,
            w->n ? (uint32_t)w->n - 1 : NONE, (uint32_t)w->n + 1};
        w->n++;
        was_unknown = is_unknown;
    }
    w->symbols[w->n - 1].next = NONE;
}

static void join(psc_word_scratch *w, uint32_t at, int32_t result) {
    psc_symbol *left = &w->symbols[at], *right = &w->symbols[left->next];
    left->id = result;
    left->bytes += right->bytes;
    left->next = right->next;
    right->bytes = 0;
    if (left->next != NONE) w->symbols[left->next].previous = at;
}

psc_status psc_tk_merge_word(psc_word_scratch *out, const psc_tokenizer *tokenizer,
    const char *word, size_t bytes, psc_error *error) {
    assert(bytes > 0 && bytes < NONE);
    if (!psc_grow((void **)&out->symbols, &out->capacity, bytes, sizeof(psc_symbol)))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a word of the text");
    set_symbols(out, tokenizer, word, bytes);
    out->n_heap = 0;
    bool is_room = true;
    for (size_t i = 0; i + 1 < out->n && is_room; i++) is_room = push(out, tokenizer, (uint32_t)i);
    while (out->n_heap && is_room) {
        psc_candidate top = pop(out);
        psc_symbol *left = &out->symbols[top.at];
        if (left->bytes == 0 || left->next == NONE) continue;
        int32_t right = out->symbols[left->next].id;
        if (psc_tk_merge_slot(tokenizer, left->id, right)->result != top.result) continue;
        join(out, top.at, top.result);
        if (left->previous != NONE) is_room = push(out, tokenizer, left->previous);
        if (is_room) is_room = push(out, tokenizer, top.at);
    }
    if (!is_room)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a word of the text");
    size_t kept = 0;
    for (size_t i = 0; i < out->n; i++)
        if (out->symbols[i].bytes) out->symbols[kept++] = out->symbols[i];
    out->n = kept;
    return PSC_OK;
}
