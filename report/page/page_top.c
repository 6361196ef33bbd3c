/* The encoding TOP: per slice along the last axis the `kept` entries of largest magnitude (the
 * lower index wins a tie); of a pattern only those from PSC_PAGE_LEAST up. Zeros, NaN and
 * infinities are left out. `rest` is the sum of the finite entries left out, NaN when the slice has
 * no number. Values are halves times `scale`. Of shares, which are from 0 to 1, they are bytes:
 * least * (most / least)^(n / 255), with an error of about 1 %, and the rest is n * rest_scale, 255
 * for NaN. */
#include <stdlib.h>

#include "page_number.h"

typedef struct entry {
    double size;
    int32_t index;
} entry;

/* Whether a is dropped before b. */
static bool is_less(entry a, entry b) {
    return a.size < b.size || (a.size == b.size && a.index > b.index);
}

/* Restores the heap, whose root is the least entry, after the root has changed. */
static void sift(entry *heap, int n) {
    for (int i = 0, child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && is_less(heap[child + 1], heap[child])) child++;
        if (!is_less(heap[child], heap[i])) return;
        const entry moved = heap[i];
        heap[i] = heap[child];
        heap[child] = moved;
    }
}

static int by_index(const void *a, const void *b) {
    const int32_t x = ((const entry *)a)->index, y = ((const entry *)b)->index;
    return (x > y) - (x < y);
}

static int by_size(const void *a, const void *b) {
    return is_less(*(const entry *)a, *(const entry *)b) ? -1 : 1;
}

/* The largest entries of a slice, at most `kept`, by index; returns their number. */
static int find_largest(entry heap[PSC_PAGE_MOST_KEPT], const psc_array *array,
    const psc_page_facts *facts, int64_t slice, int32_t kept) {
    int n = 0;
    heap[0] = (entry){0, 0};
    for (int64_t i = 0; i < facts->last; i++) {
        const double value = psc_page_element(array, slice * facts->last + i);
        const entry found = {fabs(value), (int32_t)i};
        if (!psc_page_may_keep(facts, value)) continue;
        if (n < kept) {
            heap[n++] = found;
            if (n == kept) qsort(heap, (size_t)n, sizeof *heap, by_size); /* the least first */
        } else if (is_less(heap[0], found)) {
            heap[0] = found;
            sift(heap, n);
        }
    }
    qsort(heap, (size_t)n, sizeof *heap, by_index);
    return n;
}

/* The largest entries of all slices. */
typedef struct largest {
    int32_t *index, *count; /* [entries], [slices] */
    double *value, *rest;   /* [entries], [slices] */
} largest;

static void free_largest(largest *l) {
    free(l->index);
    free(l->count);
    free(l->value);
    free(l->rest);
}

static bool make_largest(largest *l, int64_t entries, int64_t slices) {
    const size_t n = (size_t)entries + 1, m = (size_t)slices + 1;
    *l = (largest){malloc(n * sizeof *l->index), malloc(m * sizeof *l->count),
        calloc(n, sizeof *l->value), calloc(m, sizeof *l->rest)};
    return l->index && l->count && l->value && l->rest;
}

/* The sum of the finite entries of a slice without those of heap. */
static double sum_rest(
    const psc_array *array, const psc_page_facts *facts, int64_t slice, const entry *heap, int n) {
    double sum = 0;
    int next = 0;
    bool has_number = n > 0;
    for (int64_t i = 0; i < facts->last; i++) {
        const double value = psc_page_element(array, slice * facts->last + i);
        if (next < n && heap[next].index == i) {
            next++;
        } else if (!isnan(value)) {
            has_number = true;
            if (isfinite(value)) sum += value;
        }
    }
    return has_number ? sum : (double)NAN;
}

static void fill_largest(largest *l, const psc_array *array, const psc_page_facts *facts,
    int32_t kept, unsigned char *used) {
    entry heap[PSC_PAGE_MOST_KEPT];
    int64_t at = 0;
    for (int64_t slice = 0; slice < facts->slices; slice++) {
        const int n = find_largest(heap, array, facts, slice, kept);
        l->count[slice] = n;
        l->rest[slice] = sum_rest(array, facts, slice, heap, n);
        for (int i = 0; i < n; i++, at++) {
            l->index[at] = heap[i].index;
            l->value[at] = psc_page_element(array, slice * facts->last + heap[i].index);
            if (used) used[heap[i].index] = 1;
        }
    }
}

void psc_page_mark_largest(
    const psc_array *array, const psc_page_facts *facts, int32_t kept, unsigned char *used) {
    entry heap[PSC_PAGE_MOST_KEPT];
    for (int64_t slice = 0; slice < facts->slices; slice++) {
        const int n = find_largest(heap, array, facts, slice, kept);
        for (int i = 0; i < n; i++) used[heap[i].index] = 1;
    }
}

/* --- writing --------------------------------------------------------------------------------- */

/* width 1: bytes of shares; 2: halves of value / scale; 4: floats. */
static void put_reals(
    psc_json *json, const char *key, const double *values, int64_t n, int width, double scale) {
    psc_base64 base64 = {.out = json->out};
    psc_json_open_text(json, key);
    for (int64_t i = 0; i < n; i++) {
        const double value = values[i] / scale;
        const uint32_t bits = width == 4     ? psc_page_bits((float)values[i])
                              : width == 2   ? psc_page_half(value)
                              : isnan(value) ? 255
                                             : (uint32_t)nearbyint(value);
        psc_base64_put(&base64, bits, width);
    }
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

static void put_values(psc_json *json, const largest *l, const psc_page_facts *facts,
    const psc_page_encoding *encoding) {
    if (!facts->is_share) {
        psc_page_put_name(json, "value_type", "f16");
        put_reals(json, "value", l->value, encoding->entries, 2, encoding->scale);
        return;
    }
    const double span = log(facts->most / PSC_PAGE_LEAST);
    psc_page_put_name(json, "value_type", "log8");
    psc_json_member(json, "most", json_real(facts->most));
    for (int64_t i = 0; i < encoding->entries; i++)
        l->value[i] = span > 0 ? 255 * log(l->value[i] / PSC_PAGE_LEAST) / span : 0;
    put_reals(json, "value", l->value, encoding->entries, 1, 1);
}

static void put_rests(psc_json *json, const largest *l, const psc_page_facts *facts,
    const psc_page_encoding *encoding) {
    const int width = psc_page_rest_width(facts);
    double scale = 1;
    if (width == 2) { /* a rest is at most last times the largest value */
        int exponent = 0;
        frexp((double)facts->last, &exponent);
        scale = ldexp(encoding->scale, exponent);
    } else if (width == 1) {
        double most = 0;
        for (int64_t i = 0; i < facts->slices; i++) most = fmax(most, l->rest[i]);
        if (most > 0) scale = most / 254;
    }
    psc_page_put_name(json, "rest_type", width == 4 ? "f32" : width == 2 ? "f16" : "u8");
    if (scale != 1) psc_json_member(json, "rest_scale", json_real(scale));
    put_reals(json, "rest", l->rest, facts->slices, width, scale);
}

static void put_members(psc_json *json, const largest *l, const psc_page_facts *facts,
    const psc_page_encoding *encoding) {
    static const char *const types[] = {NULL, "u8", "u16", NULL, "u32"};
    const int counted = psc_page_count_width(encoding->kept);
    const int indexed = psc_page_index_width(facts->last);
    psc_json_member(json, "kept", json_integer(encoding->kept));
    if (facts->is_pattern) psc_json_member(json, "least", json_real(PSC_PAGE_LEAST));
    psc_page_put_name(json, "count_type", types[counted]);
    psc_page_put_integers(json, "count", l->count, facts->slices, counted);
    psc_page_put_name(json, "index_type", types[indexed]);
    psc_page_put_integers(json, "index", l->index, encoding->entries, indexed);
    put_rests(json, l, facts, encoding);
    put_values(json, l, facts, encoding);
}

psc_status psc_page_put_top(psc_json *json, const psc_array *array, const psc_page_facts *facts,
    const psc_page_encoding *encoding, unsigned char *used, psc_error *error) {
    largest l;
    const bool made = make_largest(&l, encoding->entries, facts->slices);
    if (made) {
        fill_largest(&l, array, facts, encoding->kept, used);
        put_members(json, &l, facts, encoding);
    }
    free_largest(&l);
    if (made) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
}
