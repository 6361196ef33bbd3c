/* Which rows go to disk: those that pass the filter, and of these a sample.
 *
 *   kept = hash(seed, document, position) < sample * 2^64
 *
 * hash is SplitMix64's step, applied to the seed, then xor the document, then xor the position. So
 * a row's choice depends on nothing else. */
#include "activations.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t x) {
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

int activations_read_tokens(activations_state *s) {
    const int32_t n = s->host->model(s->context)->d_vocab;
    if (!*s->tokens) return 0;
    s->listed = s->host->life_alloc(s->context, ((uint64_t)n + 31) / 32 * sizeof *s->listed);
    if (!s->listed) return -1;
    for (const char *at = s->tokens;; at++) {
        char *end;
        const long id = strtol(at, &end, 10);
        if (*at < '0' || *at > '9' || (*end && *end != '+') || id < 0 || id >= n)
            return s->host->fail(s->context,
                "tokens: '%.40s' does not begin with a token id from 0 to %d; ids are joined by +",
                at, (int)n - 1);
        s->listed[id / 32] |= UINT32_C(1) << (id % 32);
        at = end;
        if (!*at) return 0;
    }
}

/* Whether the row passes; -1 after an error. */
static int is_chosen(const activations_state *s, const psc_row *row) {
    int64_t document;
    int32_t position;
    if (row->position < s->from) return 0;
    if (s->listed && !(s->listed[row->token / 32] >> (row->token % 32) & 1)) return 0;
    const int repeated = s->host->repeated(s->context, row); /* the window before has this token */
    if (repeated != 0) return repeated < 0 ? -1 : 0;
    if (s->sample >= 1.0) return 1;
    if (s->host->place(s->context, row, &document, &position)) return -1;
    const uint64_t hash =
        mix(mix(mix((uint64_t)s->seed) ^ (uint64_t)document) ^ (uint64_t)position);
    return (double)(hash >> 11) < s->sample * 0x1p53;
}

const int32_t *activations_choose(activations_state *s) {
    int32_t n = 0;
    const psc_row *rows = s->host->rows(s->context, &n);
    int32_t *chosen = psc_kept_alloc(&s->chosen, s->context, s->host, 4 * (uint64_t)n + 4);
    s->slot = psc_kept_alloc(&s->slots, s->context, s->host, 4 * (uint64_t)n + 4);
    s->n_chosen = 0;
    if (!rows || !chosen || !s->slot) return NULL;
    for (int32_t i = 0; i < n; i++) {
        const int kept = is_chosen(s, &rows[i]);
        if (kept < 0) return NULL;
        s->slot[i] = kept ? s->n_chosen : -1;
        if (kept) chosen[s->n_chosen++] = i;
    }
    return chosen;
}
