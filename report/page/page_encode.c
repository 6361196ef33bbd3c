/* Encodings of arrays. In F16 and TOP a number is half(value / scale), where the power of 2 `scale`
 * puts the largest finite magnitude into [2^14, 2^15): numbers down to 2^-29 of the largest keep a
 * relative error of at most 2^-11, smaller ones an error of at most 2^-40 of the largest.
 * TOP holds, per slice along the last axis, the `kept` entries of largest magnitude (the lower index
 * wins a tie); of a pattern only those from PSC_PAGE_LEAST up. Zeros, NaN and infinities are left out.
 * `rest` is the sum of the finite entries left out, NaN when the slice has no number. */
#include "page_encode.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "page_base64.h"

const int32_t psc_page_kept[PSC_PAGE_CHOICES] = {1024, 512, 256, 128, 64, 32, 16, 8, 4};
const int32_t psc_page_kept_of_pattern[PSC_PAGE_CHOICES] = {8, 7, 6, 5, 4, 3, 2, 1, 0};

/* DENSE_BYTES, TOP_BYTES: the members around the base64. */
enum {
    MOST_KEPT = 1024,
    FEW_SLICES = 8,
    KEPT_OF_MANY = 64,
    SMALL_BYTES = 8000,
    KEPT_LABELS = 64,
    DENSE_BYTES = 60,
    TOP_BYTES = 240
};

static const char *const code_names[] = {
    "omitted", "f32", "f16", "top", "i32", "i16", "u16", "u8", "slices"};

static double element(const psc_array *array, int64_t i) {
    if (array->element == PSC_F32) return (double)((const float *)array->data)[i];
    if (array->element == PSC_F64) return ((const double *)array->data)[i];
    return ((const int32_t *)array->data)[i];
}

/* --- facts ----------------------------------------------------------------------------------- */

static bool ends_in(const psc_array *array, const char *before_last, const char *last) {
    const int n = array->n_axes;
    return n >= 2 && array->axes[n - 1] && strcmp(array->axes[n - 1], last) == 0 &&
           strcmp(array->axes[n - 2], before_last) == 0;
}

static bool is_pattern(const psc_array *array) {
    const size_t n = strlen(array->key), m = strlen("hook_pattern");
    return strcmp(array->key, "pattern") == 0 || ends_in(array, "rows", "keys") ||
           (n >= m && strcmp(array->key + n - m, "hook_pattern") == 0);
}

/* Whether TOP may keep the value. */
static bool counts(const psc_page_facts *facts, double value) {
    return isfinite(value) && value != 0 && (!facts->is_pattern || fabs(value) >= PSC_PAGE_LEAST);
}

static void examine_integers(psc_page_facts *facts, const psc_array *array) {
    const int32_t *data = array->data;
    for (int64_t i = 0; i < facts->n; i++) {
        if (data[i] < facts->low) facts->low = data[i];
        if (data[i] > facts->high) facts->high = data[i];
    }
}

void psc_page_examine(psc_page_facts *out, const psc_array *array) {
    *out = (psc_page_facts){.n = 1, .last = 1, .low = INT32_MAX, .high = INT32_MIN};
    for (int i = 0; i < array->n_axes; i++) out->n *= array->shape[i];
    if (array->n_axes > 0) out->last = array->shape[array->n_axes - 1];
    out->slices = out->last > 0 ? out->n / out->last : 0;
    if (array->element == PSC_I32) {
        examine_integers(out, array);
        return;
    }
    out->is_pattern = is_pattern(array);
    const int32_t *kept = out->is_pattern ? psc_page_kept_of_pattern : psc_page_kept;
    for (int64_t slice = 0, at = 0; slice < out->slices; slice++) {
        int64_t found = 0;
        for (int64_t i = 0; i < out->last; i++, at++) {
            const double value = element(array, at);
            if (isfinite(value) && fabs(value) > out->most) out->most = fabs(value);
            found += counts(out, value);
        }
        for (int i = 0; i < PSC_PAGE_CHOICES; i++)
            out->entries[i] += found < kept[i] ? found : kept[i];
    }
}

/* --- the choice ------------------------------------------------------------------------------ */

static int64_t base64_size(int64_t bytes) {
    return (bytes + 2) / 3 * 4;
}

static int index_bytes(int64_t last) {
    return last <= 255 ? 1 : last <= 65535 ? 2 : 4;
}

/* Bytes of one element. */
static int width_of(psc_page_code code) {
    if (code == PSC_PAGE_F32 || code == PSC_PAGE_I32) return 4;
    return code == PSC_PAGE_U8 ? 1 : 2;
}

static int count_bytes(int32_t kept) {
    return kept < 255 ? 1 : 2;
}

static int rest_bytes(const psc_page_facts *facts) {
    return facts->is_pattern ? 2 : 4;
}

static int64_t top_size(const psc_page_facts *facts, int32_t kept, int64_t entries) {
    return TOP_BYTES + base64_size(facts->slices * count_bytes(kept)) + base64_size(entries * 2) +
           base64_size(entries * index_bytes(facts->last)) +
           base64_size(facts->slices * rest_bytes(facts));
}

/* Elements per index of the leading axes. */
static int64_t slice_elements(const psc_array *array, int32_t lead) {
    int64_t n = 1;
    for (int i = lead; i < array->n_axes; i++) n *= array->shape[i];
    return n;
}

static double scale_of(double most) {
    int exponent = 0;
    if (most == 0) return 1;
    frexp(most, &exponent); /* most < 2^exponent */
    return ldexp(1, exponent < -1000 ? -1000 : exponent - 15);
}

static psc_page_encoding dense(psc_page_code code, const psc_page_facts *facts) {
    return (psc_page_encoding){.code = code,
        .scale = code == PSC_PAGE_F16 ? scale_of(facts->most) : 1,
        .bytes = DENSE_BYTES + base64_size(facts->n * width_of(code))};
}

static psc_page_code integer_code(const psc_page_facts *facts) {
    if (facts->low >= -1 && facts->high <= 254) return PSC_PAGE_U8;
    if (facts->low >= INT16_MIN && facts->high <= INT16_MAX) return PSC_PAGE_I16;
    if (facts->low >= -1 && facts->high <= 65534) return PSC_PAGE_U16;
    return PSC_PAGE_I32;
}

static const int32_t *choices_of(const psc_page_facts *facts) {
    return facts->is_pattern ? psc_page_kept_of_pattern : psc_page_kept;
}

/* TOP by one of the choices; OMITTED if it is none for this array. */
static psc_page_encoding top(const psc_page_facts *facts, int choice) {
    const int32_t kept = choices_of(facts)[choice];
    if (kept == 0 || facts->last > INT32_MAX) return (psc_page_encoding){.code = PSC_PAGE_OMITTED};
    if (kept > KEPT_OF_MANY && facts->slices > FEW_SLICES)
        return (psc_page_encoding){.code = PSC_PAGE_OMITTED};
    return (psc_page_encoding){.code = PSC_PAGE_TOP,
        .kept = kept,
        .entries = facts->entries[choice],
        .scale = scale_of(facts->most),
        .bytes = top_size(facts, kept, facts->entries[choice])};
}

static psc_page_encoding fitting(psc_page_encoding encoding, int64_t room) {
    if (encoding.bytes <= room) return encoding;
    return (psc_page_encoding){.code = PSC_PAGE_OMITTED};
}

psc_page_encoding psc_page_choose(
    const psc_page_facts *facts, const psc_array *array, int64_t room) {
    if (array->element == PSC_I32) return fitting(dense(integer_code(facts), facts), room);
    psc_page_encoding best = fitting(dense(PSC_PAGE_F32, facts), room);
    if (facts->most > (double)FLT_MAX) best.code = PSC_PAGE_OMITTED;
    if (best.code == PSC_PAGE_OMITTED) best = fitting(dense(PSC_PAGE_F16, facts), room);
    for (int i = 0; best.code == PSC_PAGE_OMITTED && i < PSC_PAGE_CHOICES; i++)
        best = fitting(top(facts, i), room);
    return best;
}

psc_page_encoding psc_page_choose_small(
    const psc_page_facts *facts, const psc_array *array, int64_t room) {
    if (array->element == PSC_I32) return psc_page_choose(facts, array, room);
    psc_page_encoding best = fitting(dense(PSC_PAGE_F16, facts), room);
    for (int i = 0; best.code == PSC_PAGE_OMITTED && i < PSC_PAGE_CHOICES; i++)
        best = fitting(top(facts, i), room < SMALL_BYTES ? room : SMALL_BYTES);
    for (int i = PSC_PAGE_CHOICES - 1; best.code == PSC_PAGE_OMITTED && i >= 0; i--)
        best = fitting(top(facts, i), room);
    return best;
}

psc_page_encoding psc_page_slices(const psc_page_facts *facts, const psc_array *array, int32_t lead,
    const int32_t *slices, int64_t n_slices) {
    psc_page_encoding e = {
        .code = PSC_PAGE_SLICES, .lead = lead, .slices = slices, .n_slices = n_slices};
    if (n_slices == 0) return (psc_page_encoding){.code = PSC_PAGE_OMITTED};
    e.element = array->element == PSC_I32 ? integer_code(facts) : PSC_PAGE_F16;
    e.scale = scale_of(facts->most);
    const int64_t bytes = n_slices * slice_elements(array, lead) * width_of(e.element);
    e.bytes = TOP_BYTES + base64_size(bytes) + base64_size(4 * n_slices);
    return e;
}

/* --- dense ----------------------------------------------------------------------------------- */

uint16_t psc_page_half(double value) {
    const uint16_t sign = signbit(value) ? 0x8000 : 0;
    const double size = fabs(value);
    int exponent = 0;
    if (isnan(value)) return 0x7e00;
    if (size == 0) return sign;
    if (size >= 65520) return sign | 0x7c00; /* beyond the largest half by half a step */
    frexp(size, &exponent);                  /* size < 2^exponent */
    if (exponent < -13) exponent = -13;      /* subnormal: steps of 2^-24 */
    /* size in units of the last place, at most 2048; the sum of exponent and fraction carries. */
    const double units = nearbyint(ldexp(size, 11 - exponent));
    return sign | (uint16_t)(((exponent + 13) << 10) + (int)units);
}

static void put_integers(
    psc_json *json, const char *key, const int32_t *values, int64_t n, int width) {
    psc_base64 base64 = {.out = json->out};
    psc_json_open_text(json, key);
    for (int64_t i = 0; i < n; i++) psc_base64_put(&base64, (uint32_t)values[i], width);
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

static void put_type(psc_json *json, const char *key, const char *type) {
    psc_json_member(json, key, json_string(type));
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint32_t coded(const psc_array *array, psc_page_code code, double scale, int64_t i) {
    if (array->element == PSC_I32) return (uint32_t)((const int32_t *)array->data)[i];
    const double value = element(array, i);
    if (code == PSC_PAGE_F32) return bits_of((float)value);
    return psc_page_half(value / scale);
}

static void put_dense(psc_json *json, const psc_array *array, const psc_page_facts *facts,
    const psc_page_encoding *encoding) {
    const int width = width_of(encoding->code);
    psc_base64 base64 = {.out = json->out};
    psc_json_open_text(json, "data");
    for (int64_t i = 0; i < facts->n; i++)
        psc_base64_put(&base64, coded(array, encoding->code, encoding->scale, i), width);
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

static void put_slices(psc_json *json, const psc_array *array, const psc_page_encoding *encoding) {
    const int width = width_of(encoding->element);
    const int64_t n = slice_elements(array, encoding->lead);
    psc_base64 base64 = {.out = json->out};
    psc_json_member(json, "lead", json_integer(encoding->lead));
    put_integers(json, "slice_index", encoding->slices, encoding->n_slices, 4);
    put_type(json, "type", code_names[encoding->element]);
    psc_json_open_text(json, "data");
    for (int64_t slice = 0; slice < encoding->n_slices; slice++)
        for (int64_t i = encoding->slices[slice] * n; i < (encoding->slices[slice] + 1) * n; i++)
            psc_base64_put(&base64, coded(array, encoding->element, encoding->scale, i), width);
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

/* --- the largest entries --------------------------------------------------------------------- */

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
static int find_largest(entry heap[MOST_KEPT], const psc_array *array, const psc_page_facts *facts,
    int64_t slice, int32_t kept) {
    int n = 0;
    for (int64_t i = 0; i < facts->last; i++) {
        const double value = element(array, slice * facts->last + i);
        const entry found = {fabs(value), (int32_t)i};
        if (!counts(facts, value)) continue;
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
        malloc(n * sizeof *l->value), malloc(m * sizeof *l->rest)};
    return l->index && l->count && l->value && l->rest;
}

/* The sum of the finite entries of a slice without those of heap. */
static double sum_rest(
    const psc_array *array, const psc_page_facts *facts, int64_t slice, const entry *heap, int n) {
    double sum = 0;
    int next = 0;
    bool has_number = n > 0;
    for (int64_t i = 0; i < facts->last; i++) {
        const double value = element(array, slice * facts->last + i);
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
    entry heap[MOST_KEPT];
    int64_t at = 0;
    for (int64_t slice = 0; slice < facts->slices; slice++) {
        const int n = find_largest(heap, array, facts, slice, kept);
        l->count[slice] = n;
        l->rest[slice] = sum_rest(array, facts, slice, heap, n);
        for (int i = 0; i < n; i++, at++) {
            l->index[at] = heap[i].index;
            l->value[at] = element(array, slice * facts->last + heap[i].index);
            if (used) used[heap[i].index] = 1;
        }
    }
}

/* width 2: halves of value / scale; 4: floats. */
static void put_reals(
    psc_json *json, const char *key, const double *values, int64_t n, int width, double scale) {
    psc_base64 base64 = {.out = json->out};
    psc_json_open_text(json, key);
    for (int64_t i = 0; i < n; i++)
        psc_base64_put(&base64,
            width == 2 ? psc_page_half(values[i] / scale) : bits_of((float)values[i]), width);
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

static void put_top(psc_json *json, const largest *l, const psc_page_facts *facts,
    const psc_page_encoding *encoding) {
    static const char *const types[] = {NULL, "u8", "u16", NULL, "u32"};
    const int counted = count_bytes(encoding->kept), indexed = index_bytes(facts->last);
    const int rests = rest_bytes(facts);
    int exponent = 0;
    frexp((double)facts->last, &exponent); /* a rest is at most last times the largest value */
    const double rest_scale = rests == 2 ? ldexp(encoding->scale, exponent) : 1;
    psc_json_member(json, "kept", json_integer(encoding->kept));
    if (facts->is_pattern) psc_json_member(json, "least", json_real(PSC_PAGE_LEAST));
    put_type(json, "count_type", types[counted]);
    put_integers(json, "count", l->count, facts->slices, counted);
    put_type(json, "index_type", types[indexed]);
    put_integers(json, "index", l->index, encoding->entries, indexed);
    put_type(json, "value_type", "f16");
    put_reals(json, "value", l->value, encoding->entries, 2, encoding->scale);
    put_type(json, "rest_type", rests == 2 ? "f16" : "f32");
    if (rest_scale != 1) psc_json_member(json, "rest_scale", json_real(rest_scale));
    put_reals(json, "rest", l->rest, facts->slices, rests, rest_scale);
}

/* --- an array -------------------------------------------------------------------------------- */

/* Marks the largest entries of each slice of a dense array. */
static void mark_largest(const psc_array *array, const psc_page_facts *facts, unsigned char *used) {
    entry heap[MOST_KEPT];
    for (int64_t slice = 0; slice < facts->slices; slice++) {
        const int n = find_largest(heap, array, facts, slice, KEPT_LABELS);
        for (int i = 0; i < n; i++) used[heap[i].index] = 1;
    }
}

psc_status psc_page_encode(psc_json *json, const psc_array *array, const psc_page_facts *facts,
    const psc_page_encoding *encoding, unsigned char *used, psc_error *error) {
    put_type(json, "encoding", code_names[encoding->code]);
    if (encoding->scale != 1 && encoding->code != PSC_PAGE_OMITTED)
        psc_json_member(json, "scale", json_real(encoding->scale));
    if (encoding->code == PSC_PAGE_OMITTED) return PSC_OK;
    if (encoding->code == PSC_PAGE_SLICES) {
        put_slices(json, array, encoding);
        return PSC_OK;
    }
    if (encoding->code != PSC_PAGE_TOP) {
        put_dense(json, array, facts, encoding);
        if (used) mark_largest(array, facts, used);
        return PSC_OK;
    }
    largest l;
    const bool made = make_largest(&l, encoding->entries, facts->slices);
    if (made) {
        fill_largest(&l, array, facts, encoding->kept, used);
        put_top(json, &l, facts, encoding);
    }
    free_largest(&l);
    if (made) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
}
