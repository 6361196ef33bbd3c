/* The values of the source run, and which of them each row takes: the same position, or in a set of
 * examples the one that the row is aligned with. A row without one keeps its own value, so
 * nothing changes there. */
#include "attribution.h"

#include <string.h>

/* --- the source run -------------------------------------------------------------------------- */

int attribution_reserve_source(attribution_state *s) {
    const uint64_t rows = (uint64_t)s->n_rows, width = (uint64_t)s->width;
    const uint64_t values = (uint64_t)s->n_layers * rows * width * sizeof(float);
    const uint64_t more = values > s->source_memory.bytes ? values : 0;
    const uint64_t cells = (uint64_t)attribution_cells(s);
    int32_t n_targets = 1;
    if (s->metric != ATTRIBUTION_KL) s->host->targets(s->context, &n_targets);
    const uint64_t estimates = (uint64_t)n_targets * cells * sizeof *s->estimate;
    if (s->host->foretell(s->context, more + values + estimates)) return -1;
    s->source = psc_kept_alloc(&s->source_memory, s->context, s->host, values);
    return s->source ? 0 : -1;
}

int attribution_keep_source(attribution_state *s) {
    const uint64_t n = (uint64_t)s->n_rows * (uint64_t)s->width;
    for (int32_t l = 0; l < s->n_layers; l++) {
        psc_event kept;
        if (s->host->fetch(s->context, s->handle, l, &kept)) return -1;
        memcpy(s->source + (uint64_t)l * n, kept.tensor.data, n * sizeof *s->source);
    }
    s->source_rows = s->n_rows; /* 0 until the copy is complete */
    s->source_first = s->run_rows[0].position;
    return 0;
}

int attribution_add_set(attribution_state *s) {
    const int64_t all = s->n_layers * s->width;
    if (!s->set_sums)
        s->set_sums = s->host->life_alloc(s->context, (uint64_t)all * sizeof *s->set_sums);
    if (!s->set_sums) return -1;
    if (s->set_rows == 0) memset(s->set_sums, 0, (size_t)all * sizeof *s->set_sums);
    for (int32_t l = 0; l < s->n_layers; l++) {
        psc_event kept;
        if (s->host->fetch(s->context, s->handle, l, &kept)) return -1;
        for (int32_t r = 0; r < s->n_rows; r++)
            for (int64_t i = 0; i < s->width; i++)
                s->set_sums[l * s->width + i] += (double)kept.tensor.data[r * s->width + i];
    }
    s->set_rows += s->n_rows;
    return 0;
}

/* --- the changed run ------------------------------------------------------------------------- */

int attribution_align(attribution_state *s) {
    const psc_host *host = s->host;
    const int is_set = host->example(s->context, s->run_rows[0].sequence) >= 0;
    s->source_of = NULL;
    if (s->what == DO_SET_MEAN && (!is_set || s->set_rows == 0))
        return host->fail(s->context,
            "do=set_mean is the mean over the prompts of a set; give --pairs, or do=mean for one "
            "prompt");
    if (s->what != DO_PATCH) return 0;
    if (s->source_rows == 0)
        return host->fail(s->context, "do=patch needs a source prompt (--source)");
    if (s->source_rows != s->n_rows && (!is_set || s->over == OVER_EDGES))
        return host->fail(s->context,
            "the source prompt has %s and the prompt %d; a patch%s needs prompts of equal "
            "length",
            PSC_MANY(s->source_rows, "token"), (int)s->n_rows, is_set ? " of edges" : "");
    if (!is_set) return 0;
    s->source_of = host->run_alloc(s->context, (uint64_t)s->n_rows * sizeof *s->source_of);
    if (!s->source_of) return -1;
    for (int32_t r = 0; r < s->n_rows; r++) {
        int32_t position;
        if (host->source_row(s->context, &s->run_rows[r], &position)) return -1;
        s->source_of[r] = position < 0 ? -1 : position - s->source_first;
        if (position >= 0 && (s->source_of[r] < 0 || s->source_of[r] >= s->source_rows))
            return host->fail(s->context,
                "the row %d is aligned with the position %d of its source prompt, which was not "
                "run",
                (int)s->run_rows[r].position, (int)position);
        if (s->over == OVER_EDGES && s->source_of[r] != r)
            return host->fail(
                s->context, "over=edges patches equal positions only; align the pairs by equal");
    }
    return 0;
}

int attribution_fetch_source(attribution_state *s) {
    s->patched = s->source;
    if (!s->source_of) return 0;
    const uint64_t bytes = (uint64_t)s->width * sizeof(float);
    s->patched =
        s->host->run_alloc(s->context, (uint64_t)s->n_layers * (uint64_t)s->n_rows * bytes);
    if (!s->patched) return -1;
    for (int32_t l = 0; l < s->n_layers; l++) {
        psc_event kept;
        if (s->host->fetch(s->context, s->handle, l, &kept)) return -1;
        for (int32_t r = 0; r < s->n_rows; r++) {
            const int32_t from = s->source_of[r];
            memcpy(s->patched + ((int64_t)l * s->n_rows + r) * s->width,
                from < 0 ? kept.tensor.data + r * s->width
                         : s->source + ((int64_t)l * s->source_rows + from) * s->width,
                bytes);
        }
    }
    return 0;
}
