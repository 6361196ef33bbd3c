/* Sums of subsets in scalar C. */
#include "kernel_names.h"

void psc_subset_sums__reference(const psc_subsets *s) {
    const size_t groups = (s->n_terms + PSC_SUBSET_TERMS - 1) / PSC_SUBSET_TERMS;
    for (size_t r = 0; r < s->rows; r++)
        for (size_t i = 0; i < s->n; i++) {
            float total = 0.0f;
            for (size_t g = 0; g < groups; g++) {
                float sum = 0.0f;
                for (size_t j = 0; j < PSC_SUBSET_TERMS; j++)
                    if (s->sets[r * s->ld_sets + g] >> j & 1)
                        sum += s->terms[(PSC_SUBSET_TERMS * g + j) * s->ld_terms + i];
                total += sum;
            }
            s->y[r * s->ldy + i] = total;
        }
}
