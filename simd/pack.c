/* Packing of W [out, k] into panels of 16 outputs, k-major, and back; widening of single elements.
 *
 *      element (o, k) of W is at panels[(o / 16) * 16 * k_count + k * 16 + o % 16] */
#include "widen.h"

#include <assert.h>

size_t psc_dtype_size(psc_dtype dtype) {
    return dtype == PSC_DTYPE_F32 ? 4 : 2;
}

static size_t panel_count(size_t out) {
    return out / PSC_LANES + (out % PSC_LANES != 0);
}

size_t psc_packed_elements(size_t out, size_t k) {
    return panel_count(out) * PSC_LANES * k;
}

/* Writes one lane of one panel from one source row; the element size is a constant in each copy. */
static inline void scatter_row(char *panel, const char *row, size_t k, size_t lane, size_t size) {
    for (size_t i = 0; i < k; i++) {
        memcpy(panel + (i * PSC_LANES + lane) * size, row + i * size, size);
    }
}

void psc_pack(void *panels, const void *source, psc_dtype dtype, size_t out, size_t k,
    size_t first_row, size_t group, size_t group_stride) {
    assert(group > 0 || out == 0);
    size_t size = psc_dtype_size(dtype);
    for (size_t p = 0; p < panel_count(out); p++) {
        char *panel = (char *)panels + p * PSC_LANES * k * size;
        if ((p + 1) * PSC_LANES > out) memset(panel, 0, PSC_LANES * k * size);
        for (size_t lane = 0; lane < PSC_LANES && p * PSC_LANES + lane < out; lane++) {
            size_t o = p * PSC_LANES + lane;
            size_t source_row = first_row + o / group * group_stride + o % group;
            const char *row = (const char *)source + source_row * k * size;
            if (size == 4) {
                scatter_row(panel, row, k, lane, 4);
            } else {
                scatter_row(panel, row, k, lane, 2);
            }
        }
    }
}

void psc_unpack_row(float *row, const void *panels, psc_dtype dtype, size_t k, size_t o) {
    size_t first = o / PSC_LANES * PSC_LANES * k + o % PSC_LANES;
    for (size_t i = 0; i < k; i++) row[i] = widen(panels, dtype, first + i * PSC_LANES);
}

void psc_unpack_column(
    float *column, const void *panels, psc_dtype dtype, size_t out, size_t k, size_t c) {
    for (size_t o = 0; o < out; o++) {
        size_t panel = o / PSC_LANES * PSC_LANES * k;
        column[o] = widen(panels, dtype, panel + c * PSC_LANES + o % PSC_LANES);
    }
}

float psc_widen(const void *source, psc_dtype dtype, size_t i) {
    return widen(source, dtype, i);
}
