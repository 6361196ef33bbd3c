/* Writing encodings. In F16 and TOP a number is half(value / scale), where the power of 2 `scale`
 * puts the largest finite magnitude into [2^14, 2^15): numbers down to 2^-29 of the largest keep a
 * relative error of at most 2^-11, smaller ones an error of at most 2^-40 of the largest. In Q8 the
 * numbers of one column (an index of the last axis) are low + step * n, n from 0 to 254; 255 is
 * NaN. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "page_number.h"

enum { KEPT_LABELS = 64 };

const char *psc_page_code_name(psc_page_code code) {
    static const char *const names[] = {
        "omitted", "f32", "f16", "top", "i32", "i16", "u16", "u8", "slices", "q8", "sums"};
    return names[code];
}

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

void psc_page_put_integers(
    psc_json *json, const char *key, const int32_t *values, int64_t n, int width) {
    psc_base64 base64 = {.out = json->out};
    psc_json_open_text(json, key);
    for (int64_t i = 0; i < n; i++) psc_base64_put(&base64, (uint32_t)values[i], width);
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

void psc_page_put_name(psc_json *json, const char *key, const char *name) {
    psc_json_member(json, key, json_string(name));
}

uint32_t psc_page_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint32_t coded(const psc_array *array, psc_page_code code, double scale, int64_t i) {
    if (array->element == PSC_I32) return (uint32_t)((const int32_t *)array->data)[i];
    const double value = psc_page_element(array, i);
    if (code == PSC_PAGE_F32) return psc_page_bits((float)value);
    return psc_page_half(value / scale);
}

static void put_dense(psc_json *json, const psc_array *array, const psc_page_facts *facts,
    const psc_page_encoding *encoding) {
    const int width = psc_page_width(encoding->code);
    psc_base64 base64 = {.out = json->out};
    psc_json_open_text(json, "data");
    for (int64_t i = 0; i < facts->n; i++)
        psc_base64_put(&base64, coded(array, encoding->code, encoding->scale, i), width);
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

static void put_slices(psc_json *json, const psc_array *array, const psc_page_encoding *encoding) {
    const int width = psc_page_width(encoding->element);
    const int64_t n = psc_page_slice_size(array, encoding->lead);
    psc_base64 base64 = {.out = json->out};
    psc_json_member(json, "lead", json_integer(encoding->lead));
    psc_page_put_integers(json, "slice_index", encoding->slices, encoding->n_slices, 4);
    psc_page_put_name(json, "type", psc_page_code_name(encoding->element));
    psc_json_open_text(json, "data");
    for (int64_t slice = 0; slice < encoding->n_slices; slice++)
        for (int64_t i = encoding->slices[slice] * n; i < (encoding->slices[slice] + 1) * n; i++)
            psc_base64_put(&base64, coded(array, encoding->element, encoding->scale, i), width);
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

/* --- rounded and summed ---------------------------------------------------------------------- */

/* The smallest and the largest number of a column; 0, 0 if it has none. */
static void find_range(
    double range[2], const psc_array *array, const psc_page_facts *facts, int64_t column) {
    bool found = false;
    range[0] = range[1] = 0;
    for (int64_t i = column; i < facts->n; i += facts->last) {
        const double value = psc_page_element(array, i);
        if (isnan(value)) continue;
        range[0] = found ? fmin(range[0], value) : value;
        range[1] = found ? fmax(range[1], value) : value;
        found = true;
    }
}

static void put_rounded(psc_json *json, const psc_array *array, const psc_page_facts *facts) {
    double low[PSC_PAGE_COLUMNS], step[PSC_PAGE_COLUMNS];
    psc_base64 base64 = {.out = json->out};
    assert(facts->last > 0);
    for (int64_t column = 0; column < facts->last; column++) {
        double range[2];
        find_range(range, array, facts, column);
        low[column] = range[0];
        step[column] = range[1] / 254 - range[0] / 254;
    }
    psc_json_list(json, "low", facts->last);
    for (int64_t i = 0; i < facts->last; i++) psc_json_listed(json, json_real(low[i]));
    psc_json_list_end(json);
    psc_json_list(json, "step", facts->last);
    for (int64_t i = 0; i < facts->last; i++) psc_json_listed(json, json_real(step[i]));
    psc_json_list_end(json);
    psc_json_open_text(json, "data");
    for (int64_t i = 0; i < facts->n; i++) {
        const int64_t column = i % facts->last;
        const double value = psc_page_element(array, i);
        const double n = step[column] > 0 ? nearbyint((value - low[column]) / step[column]) : 0;
        psc_base64_put(&base64, isnan(value) ? 255 : (uint32_t)fmin(n, 254), 1);
    }
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

/* Sums in float64 over one axis, in the order of its indices. NaN is left out. */
static void put_sums(psc_json *json, const psc_array *array, const psc_page_facts *facts) {
    const int over = facts->summed;
    const int64_t n = array->shape[over], inner = psc_page_slice_size(array, over + 1);
    psc_base64 base64 = {.out = json->out};
    psc_json_member(json, "over", json_integer(over));
    psc_page_put_name(json, "type", "f32");
    psc_json_open_text(json, "data");
    for (int64_t outer = 0; n > 0 && inner > 0 && outer < facts->n / n / inner; outer++)
        for (int64_t i = 0; i < inner; i++) {
            double sum = 0;
            for (int64_t k = 0; k < n; k++) {
                const double value = psc_page_element(array, (outer * n + k) * inner + i);
                if (!isnan(value)) sum += value;
            }
            psc_base64_put(&base64, psc_page_bits((float)sum), 4);
        }
    psc_base64_end(&base64);
    psc_json_close_text(json);
}

/* --- an array -------------------------------------------------------------------------------- */

psc_status psc_page_encode(psc_json *json, const psc_array *array, const psc_page_facts *facts,
    const psc_page_encoding *encoding, unsigned char *used, psc_error *error) {
    const psc_page_code code = encoding->code;
    psc_page_put_name(json, "encoding", psc_page_code_name(code));
    if (code == PSC_PAGE_OMITTED) return PSC_OK;
    if (encoding->scale != 1) psc_json_member(json, "scale", json_real(encoding->scale));
    if (code == PSC_PAGE_TOP) return psc_page_put_top(json, array, facts, encoding, used, error);
    if (code == PSC_PAGE_SLICES) put_slices(json, array, encoding);
    if (code == PSC_PAGE_SUMS) put_sums(json, array, facts);
    if (code == PSC_PAGE_SLICES || code == PSC_PAGE_SUMS) return PSC_OK;
    if (code == PSC_PAGE_Q8)
        put_rounded(json, array, facts);
    else
        put_dense(json, array, facts, encoding);
    if (used) psc_page_mark_largest(array, facts, KEPT_LABELS, used);
    return PSC_OK;
}
