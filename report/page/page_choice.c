/* Which encodings an array has, what each takes, and the best in a number of bytes. */
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "page_number.h"

/* DENSE_BYTES, TOP_BYTES: the members around the base64. */
enum { FEW_SLICES = 8, KEPT_OF_MANY = 64, SMALL_BYTES = 8000, DENSE_BYTES = 60, TOP_BYTES = 240 };

const int32_t psc_page_kept[PSC_PAGE_CHOICES] = {1024, 512, 256, 128, 64, 32, 16, 8, 4};
const int32_t psc_page_kept_of_pattern[PSC_PAGE_CHOICES] = {8, 7, 6, 5, 4, 3, 2, 1, 0};

int psc_page_width(psc_page_code code) {
    if (code == PSC_PAGE_F32 || code == PSC_PAGE_I32) return 4;
    return code == PSC_PAGE_U8 || code == PSC_PAGE_Q8 ? 1 : 2;
}

int64_t psc_page_slice_size(const psc_array *array, int32_t lead) {
    int64_t n = 1;
    for (int i = lead; i < array->n_axes; i++) n *= array->shape[i];
    return n;
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

/* The axis "neurons" of a histogram per neuron; -1: it is none. */
static int summed_axis(const psc_array *array) {
    const char *last = array->n_axes > 1 ? array->axes[array->n_axes - 1] : NULL;
    const size_t n = last ? strlen(last) : 0;
    if (n < 4 || strcmp(last + n - 4, "bins") != 0) return -1;
    for (int i = 0; i + 1 < array->n_axes; i++)
        if (strcmp(array->axes[i], "neurons") == 0) return i;
    return -1;
}

static void examine_integers(psc_page_facts *facts, const psc_array *array) {
    const int32_t *data = array->data;
    for (int64_t i = 0; i < facts->n; i++) {
        if (data[i] < facts->low) facts->low = data[i];
        if (data[i] > facts->high) facts->high = data[i];
    }
}

void psc_page_examine(psc_page_facts *out, const psc_array *array) {
    *out = (psc_page_facts){.n = 1, .last = 1, .low = INT32_MAX, .high = INT32_MIN, .summed = -1};
    for (int i = 0; i < array->n_axes; i++) out->n *= array->shape[i];
    if (array->n_axes > 0) out->last = array->shape[array->n_axes - 1];
    out->slices = out->last > 0 ? out->n / out->last : 0;
    if (array->element == PSC_I32) {
        examine_integers(out, array);
        return;
    }
    out->is_pattern = is_pattern(array);
    double least = 0;
    const int32_t *kept = out->is_pattern ? psc_page_kept_of_pattern : psc_page_kept;
    for (int64_t slice = 0, at = 0; slice < out->slices; slice++) {
        int64_t found = 0;
        for (int64_t i = 0; i < out->last; i++, at++) {
            const double value = psc_page_element(array, at);
            if (isinf(value)) out->has_infinity = true;
            if (isfinite(value) && fabs(value) > out->most) out->most = fabs(value);
            if (value < least) least = value;
            found += psc_page_may_keep(out, value);
        }
        for (int i = 0; i < PSC_PAGE_CHOICES; i++)
            out->entries[i] += found < kept[i] ? found : kept[i];
    }
    out->is_share = out->is_pattern && least >= 0 && out->most <= 1.001 && !out->has_infinity;
    out->summed = summed_axis(array);
}

/* --- the choice ------------------------------------------------------------------------------ */

static int64_t base64_size(int64_t bytes) {
    return (bytes + 2) / 3 * 4;
}

static int64_t top_size(const psc_page_facts *facts, int32_t kept, int64_t entries) {
    return TOP_BYTES + base64_size(facts->slices * psc_page_count_width(kept)) +
           base64_size(entries * psc_page_value_width(facts)) +
           base64_size(entries * psc_page_index_width(facts->last)) +
           base64_size(facts->slices * psc_page_rest_width(facts));
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
        .bytes = DENSE_BYTES + base64_size(facts->n * psc_page_width(code))};
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
        .scale = facts->is_share ? 1 : scale_of(facts->most),
        .bytes = top_size(facts, kept, facts->entries[choice])};
}

static psc_page_encoding fitting(psc_page_encoding encoding, int64_t room) {
    if (encoding.bytes <= room) return encoding;
    return (psc_page_encoding){.code = PSC_PAGE_OMITTED};
}

/* Sums over the axis of facts->summed. */
static psc_page_encoding sums(const psc_page_facts *facts, const psc_array *array) {
    if (facts->summed < 0) return (psc_page_encoding){.code = PSC_PAGE_OMITTED};
    const int64_t n = array->shape[facts->summed];
    return (psc_page_encoding){.code = PSC_PAGE_SUMS,
        .scale = 1,
        .bytes = DENSE_BYTES + base64_size(n > 0 ? facts->n / n * 4 : 0)};
}

psc_page_encoding psc_page_round(
    const psc_page_facts *facts, const psc_array *array, int64_t room) {
    const bool may =
        array->element != PSC_I32 && facts->last <= PSC_PAGE_COLUMNS && !facts->has_infinity;
    const psc_page_encoding e = {.code = PSC_PAGE_Q8,
        .scale = 1,
        .bytes = TOP_BYTES + 60 * facts->last + base64_size(facts->n)};
    return may ? fitting(e, room) : (psc_page_encoding){.code = PSC_PAGE_OMITTED};
}

psc_page_encoding psc_page_choose(
    const psc_page_facts *facts, const psc_array *array, int64_t room) {
    if (array->element == PSC_I32) return fitting(dense(integer_code(facts), facts), room);
    psc_page_encoding best = fitting(dense(PSC_PAGE_F32, facts), room);
    if (facts->most > (double)FLT_MAX) best.code = PSC_PAGE_OMITTED;
    if (best.code == PSC_PAGE_OMITTED) best = fitting(dense(PSC_PAGE_F16, facts), room);
    if (best.code == PSC_PAGE_OMITTED) best = fitting(sums(facts, array), room);
    for (int i = 0; best.code == PSC_PAGE_OMITTED && i < PSC_PAGE_CHOICES; i++)
        best = fitting(top(facts, i), room);
    return best;
}

psc_page_encoding psc_page_choose_small(
    const psc_page_facts *facts, const psc_array *array, int64_t room) {
    if (array->element == PSC_I32) return psc_page_choose(facts, array, room);
    psc_page_encoding best = fitting(dense(PSC_PAGE_F16, facts), room);
    if (best.code == PSC_PAGE_OMITTED) best = fitting(sums(facts, array), room);
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
    const int64_t bytes = n_slices * psc_page_slice_size(array, lead) * psc_page_width(e.element);
    e.bytes = TOP_BYTES + base64_size(bytes) + base64_size(4 * n_slices);
    return e;
}
