/* What choosing and writing an encoding share: elements, sizes, names.
 * Private to report/page/. Includes page_base64.h and page_encode.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef PAGE_NUMBER_H
#define PAGE_NUMBER_H

#include <math.h>

#include "page_base64.h"
#include "page_encode.h"

enum { PSC_PAGE_MOST_KEPT = 1024 };

static inline double psc_page_element(const psc_array *array, int64_t i) {
    if (array->element == PSC_F32) return (double)((const float *)array->data)[i];
    if (array->element == PSC_F64) return ((const double *)array->data)[i];
    return ((const int32_t *)array->data)[i];
}

/* Whether TOP may keep the value. */
static inline bool psc_page_may_keep(const psc_page_facts *facts, double value) {
    return isfinite(value) && value != 0 && (!facts->is_pattern || fabs(value) >= PSC_PAGE_LEAST);
}

/* Bytes of one element of a code, and in TOP of an index, a count, a value and a rest. */
int psc_page_width(psc_page_code code);
static inline int psc_page_index_width(int64_t last) {
    return last <= 255 ? 1 : last <= 65535 ? 2 : 4;
}
static inline int psc_page_count_width(int32_t kept) {
    return kept < 255 ? 1 : 2;
}
static inline int psc_page_value_width(const psc_page_facts *facts) {
    return facts->is_share ? 1 : 2;
}
static inline int psc_page_rest_width(const psc_page_facts *facts) {
    return facts->is_share ? 1 : facts->is_pattern ? 2 : 4;
}

/* Elements per index of the leading axes. */
int64_t psc_page_slice_size(const psc_array *array, int32_t lead);
/* A name as the data block has it: "f16". */
const char *psc_page_code_name(psc_page_code code);

/* Members "key": base64 and "key": "name". */
void psc_page_put_integers(
    psc_json *json, const char *key, const int32_t *values, int64_t n, int width);
void psc_page_put_name(psc_json *json, const char *key, const char *name);
/* The 32 bits of a float. */
uint32_t psc_page_bits(float value);

/* Sets used[i] = 1 for the `kept` largest entries of each slice. */
void psc_page_mark_largest(
    const psc_array *array, const psc_page_facts *facts, int32_t kept, unsigned char *used);
/* The members of TOP. */
psc_status psc_page_put_top(psc_json *json, const psc_array *array, const psc_page_facts *facts,
    const psc_page_encoding *encoding, unsigned char *used, psc_error *error);

#endif
