/* Links between units by knock-outs: variants of the rows of one unit only.
 *
 *   kl = KL(p_k || p'_k) at the last row of unit k when k's rows may not read unit j
 *
 * Units k descend, so that the host finds the keys and values of earlier rows in place. */
#include "links.h"

#include <math.h>

int64_t psc_links_count(int32_t n_units, int32_t distance) {
    const int64_t n = n_units, most = distance > 0 && distance < n ? distance : n - 1;
    return n < 2 ? 0 : most * (most + 1) / 2 + (n - 1 - most) * most;
}

void psc_links_list(int32_t n_units, int32_t distance, psc_link *out) {
    for (int32_t to = 1; to < n_units; to++)
        for (int32_t from = distance > 0 && distance < to ? to - distance : 0; from < to; from++)
            *out++ = (psc_link){from, to, NAN, NAN, NAN, NAN};
}

int psc_links_causal(psc_knockouts *k, const psc_units *units, int64_t n, psc_link *links) {
    for (int64_t i = n - 1; i >= 0; i--) {
        psc_link *link = &links[i];
        const int32_t *from = &units->begin[link->from], *to = &units->begin[link->to];
        const psc_knockout cut = {.row_begin = to[0],
            .row_end = to[1],
            .from = {from[0], 0},
            .to = {from[1], 0},
            .last_only = 1};
        if (psc_knockouts_add(k, &cut, &link->kl, &link->dlogp)) return -1;
    }
    return psc_knockouts_flush(k);
}
