/* The parts of a corpus. By document, part k of N has the documents d with d mod N = k - 1.
 *
 * By size the list of files alone decides, so every part finds the same plan. With B bytes in all:
 *
 *   a text                 one unit; of more than B/N bytes its windows w: (d + w) mod N = k - 1
 *   a JSONL file           ranges of at most B/16N bytes, each a unit. A line belongs to the range that
 *                          has its first byte
 *   a compressed one       one unit; of more than B/4N bytes by document, as its lines have no offset
 *
 * The units go, the largest first, each to the part that has the fewest bytes so far: no part has
 * more than B/N and one unit. A unit counts 64 bytes more than it has, so that empty files are
 * spread, too. A compressed file counts three times, which is about what its text has. */
#include "corpus.h"

#include <stdlib.h>

enum { RANGES = 16, PACKED = 4, UNPACKED = 3, UNIT_COST = 64 };

typedef struct unit {
    int64_t weight, index;
} unit;

typedef struct load {
    int64_t bytes;
    int32_t part; /* from 0 */
} load;

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static int64_t weight_of(const corpus_file *file) {
    const bool packed = corpus_file_is_packed(file->path);
    return packed && file->size < INT64_MAX / UNPACKED ? UNPACKED * file->size : file->size;
}

/* Sets the file's number of units and the bytes of each; 0: it is shared by all parts. */
static void cut_file(corpus_file *file, int64_t total, int32_t n) {
    const int64_t share = larger(total / n, 1), grain = larger(share / RANGES, 1);
    const bool packed = corpus_file_is_packed(file->path);
    const int64_t weight = weight_of(file);
    file->ranges = 1;
    file->range = file->size;
    if (!file->jsonl && weight > share) file->ranges = 0;
    if (file->jsonl && packed && weight > larger(share / PACKED, 1)) file->ranges = 0;
    if (!file->jsonl || packed || file->size <= grain) return;
    file->ranges = (file->size + grain - 1) / grain;
    file->range = (file->size + file->ranges - 1) / file->ranges;
}

/* The heaviest first; then in the order of the corpus. */
static int compare_units(const void *a, const void *b) {
    const unit *x = a, *y = b;
    if (x->weight != y->weight) return x->weight < y->weight ? 1 : -1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool is_lighter(const load *a, const load *b) {
    return a->bytes != b->bytes ? a->bytes < b->bytes : a->part < b->part;
}

/* heap [n]: no load is lighter than its parent; heap[0] may be too heavy. */
static void sink(load *heap, int64_t n) {
    for (int64_t at = 0, child = 1; child < n; at = child, child = 2 * at + 1) {
        if (child + 1 < n && is_lighter(&heap[child + 1], &heap[child])) child++;
        if (is_lighter(&heap[at], &heap[child])) return;
        const load lighter = heap[child];
        heap[child] = heap[at];
        heap[at] = lighter;
    }
}

static void list_units(unit *out, psc_corpus *c) {
    int64_t n = 0;
    for (int64_t i = 0; i < c->n_files; i++) {
        corpus_file *file = &c->files[i];
        file->unit = n;
        for (int64_t r = 0; r < file->ranges; r++, n++) {
            const int64_t left = file->size - r * file->range;
            int64_t weight = left < file->range ? left : file->range;
            if (file->ranges == 1) weight = weight_of(file);
            out[n] = (unit){weight + UNIT_COST, n};
        }
    }
}

psc_status corpus_deal(psc_corpus *c, psc_error *error) {
    const int32_t n = c->n_shards;
    int64_t n_units = 0, total = 0;
    if (!c->by_size || n < 1) return PSC_OK;
    for (int64_t i = 0; i < c->n_files; i++) total += weight_of(&c->files[i]);
    for (int64_t i = 0; i < c->n_files; i++) {
        cut_file(&c->files[i], total, n);
        n_units += c->files[i].ranges;
    }
    unit *units = malloc((size_t)(n_units + 1) * sizeof *units);
    load *heap = malloc((size_t)n * sizeof *heap);
    c->owners = malloc((size_t)(n_units + 1) * sizeof *c->owners);
    psc_status status = PSC_OK;
    if (units && heap && c->owners) {
        list_units(units, c);
        qsort(units, (size_t)n_units, sizeof *units, compare_units);
        for (int32_t k = 0; k < n; k++) heap[k] = (load){0, k};
        for (int64_t i = 0; i < n_units; i++) {
            c->owners[units[i].index] = heap[0].part;
            heap[0].bytes += units[i].weight;
            sink(heap, n);
        }
    } else {
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the parts of a corpus");
    }
    free(units);
    free(heap);
    return status;
}

/* --- whose a document is --------------------------------------------------------------------- */

bool corpus_deals_windows(const psc_corpus *c) {
    if (!c->owners || c->at.file >= c->n_files) return false;
    return c->files[c->at.file].ranges == 0 && !c->files[c->at.file].jsonl;
}

static bool is_of_part(const psc_corpus *c, int64_t number) {
    return c->n_shards == 0 || number % c->n_shards == c->shard - 1;
}

bool corpus_owns_window(const psc_corpus *c) {
    const int64_t window = c->at.first / c->stride;
    return !corpus_deals_windows(c) || is_of_part(c, c->at.document + window);
}

bool corpus_counts(const psc_corpus *c, int64_t document) {
    return !corpus_deals_windows(c) || is_of_part(c, document);
}

bool corpus_is_ours(const psc_corpus *c) {
    return corpus_is_drawn(c, c->at.next) && corpus_is_of_this_part(c);
}

bool corpus_is_of_this_part(const psc_corpus *c) {
    if (corpus_deals_windows(c)) return true;
    const corpus_file *file = c->owners ? &c->files[c->at.file] : NULL;
    if (!file || file->ranges == 0) return is_of_part(c, c->at.next);
    int64_t range = file->range > 0 ? c->at.offset / file->range : 0;
    if (range >= file->ranges) range = file->ranges - 1; /* it has grown, or is compressed */
    return c->owners[file->unit + range] == c->shard - 1;
}
