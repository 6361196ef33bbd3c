/* A set of pairs through a session: batch after batch of sequences, each batch in the phases that the
 * plugins ask for. The results of a batch are taken apart by example and put together at the end.
 *
 * Where a batch fails, or its results cannot be taken apart, the set goes on one pair at a time from the
 * batch's first pair: so a plugin that takes one sequence works, and a failure has a line. */
#include "pairs.h"
#include "results_examples.h"
#include "resampling.h"
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MOST_BYTES ((uint64_t)4 << 30)

typedef struct work {
    psc_session *session;
    const psc_pairs *pairs;
    psc_pairs_run_options options;
    psc_examples *together;
    psc_examples_draws how;
    psc_input *inputs;     /* [n_slots] */
    psc_example *examples; /* [n_slots] */
    const char **ids;      /* [n] */
    const char **groups;
    int32_t *group, *order; /* [n] */
    int32_t n_slots;        /* pairs per batch */
} work;

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a set of pairs");
}

/* --- the set for base/results_examples.h ----------------------------------------------------- */

static int32_t place(void *payload, int32_t example, int32_t position) {
    return psc_pairs_place(((const work *)payload)->pairs, example, position);
}

static void place_name(char *out, size_t size, void *payload, int32_t at) {
    psc_pairs_place_name(out, size, ((const work *)payload)->pairs, at);
}

static int compare_tokens(const psc_token *a, int32_t n_a, const psc_token *b, int32_t n_b) {
    if (n_a != n_b) return n_a < n_b ? -1 : 1;
    for (int32_t i = 0; i < n_a; i++)
        if (a[i].id != b[i].id) return a[i].id < b[i].id ? -1 : 1;
    return 0;
}

/* By what a pair is made of, and not by its place in the file. */
static int by_content(const void *x, const void *y) {
    const psc_pair_entry *a = *(const psc_pair_entry *const *)x;
    const psc_pair_entry *b = *(const psc_pair_entry *const *)y;
    int order = compare_tokens(a->clean, a->n_clean, b->clean, b->n_clean);
    if (!order) order = compare_tokens(a->corrupt, a->n_corrupt, b->corrupt, b->n_corrupt);
    if (!order && a->a != b->a) order = a->a < b->a ? -1 : 1;
    if (!order && a->b != b->b) order = a->b < b->b ? -1 : 1;
    return order ? order : a->line < b->line ? -1 : a->line > b->line;
}

static bool put_in_order(work *w) {
    const psc_pair_entry **sorted = malloc((size_t)w->pairs->n * sizeof *sorted);
    if (!sorted) return false;
    for (int32_t i = 0; i < w->pairs->n; i++) sorted[i] = &w->pairs->entries[i];
    qsort(sorted, (size_t)w->pairs->n, sizeof *sorted, by_content);
    for (int32_t i = 0; i < w->pairs->n; i++)
        w->order[i] = (int32_t)(sorted[i] - w->pairs->entries);
    free(sorted);
    return true;
}

static psc_status open_set(work *w, psc_error *error) {
    const psc_pairs *pairs = w->pairs;
    const size_t n = (size_t)pairs->n, slots = (size_t)w->n_slots;
    w->inputs = calloc(slots, sizeof *w->inputs);
    w->examples = calloc(slots, sizeof *w->examples);
    w->ids = calloc(n, sizeof *w->ids);
    w->groups = calloc((size_t)pairs->n_groups + 1, sizeof *w->groups);
    w->group = calloc(n, sizeof *w->group);
    w->order = calloc(n, sizeof *w->order);
    if (!w->inputs || !w->examples || !w->ids || !w->groups || !w->group || !w->order ||
        !put_in_order(w))
        return no_memory(error);
    for (int32_t g = 0; g < pairs->n_groups; g++) w->groups[g] = pairs->groups[g].text;
    for (int32_t i = 0; i < pairs->n; i++) {
        w->ids[i] = pairs->entries[i].id;
        w->group[i] = pairs->entries[i].group;
    }
    const psc_examples_set set = {.n = pairs->n,
        .n_groups = pairs->n_groups,
        .ids = w->ids,
        .order = w->order,
        .group = w->group,
        .groups = w->groups,
        .place = place,
        .place_name = place_name,
        .payload = w,
        .most_bytes = w->options.most_bytes ? w->options.most_bytes : MOST_BYTES};
    return psc_examples_open(&w->together, &set, error);
}

static void close_set(work *w) {
    psc_examples_close(&w->together);
    free(w->inputs);
    free(w->examples);
    free((void *)w->ids);
    free((void *)w->groups);
    free(w->group);
    free(w->order);
}

/* --- batches --------------------------------------------------------------------------------- */

static void empty(psc_session *session) {
    for (int32_t k = 0; k < session->options.n_sequences; k++) psc_session_truncate(session, k, 0);
}

/* Runs pairs first..first+n-1 in a phase, from empty sequences. */
static psc_status run_phase(work *w, int32_t first, int32_t n, psc_phase phase, psc_error *error) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const bool source = phase == PSC_PHASE_SOURCE;
    for (int32_t k = 0; k < n; k++) {
        const psc_pair_entry *e = &w->pairs->entries[first + k];
        w->inputs[k] =
            (psc_input){k, source ? e->n_corrupt : e->n_clean, source ? e->corrupt : e->clean};
        w->examples[k] = (psc_example){first + k, e->a, e->b, source ? NULL : e->source};
    }
    empty(w->session);
    options.no_logits = 1;
    options.phase = (int32_t)phase;
    options.examples = w->examples;
    options.bos = w->pairs->options.bos;
    options.stop = w->options.stop;
    options.payload = w->options.payload;
    return psc_session_run(w->session, w->inputs, n, &options, error);
}

static psc_status run_batch(work *w, int32_t first, int32_t n, psc_error *error) {
    psc_status status = PSC_OK;
    if (!psc_session_has_phases(w->session)) return run_phase(w, first, n, PSC_PHASE_ONLY, error);
    if (psc_pairs_have_source(w->pairs) && psc_contexts_want_source(w->session))
        status = run_phase(w, first, n, PSC_PHASE_SOURCE, error);
    if (!status) status = run_phase(w, first, n, PSC_PHASE_BASE, error);
    return status ? status : run_phase(w, first, n, PSC_PHASE_CHANGED, error);
}

/* All source prompts, without any the clean ones, for the plugins that ask for them. */
static psc_status run_set(work *w, psc_error *error) {
    psc_status status = PSC_OK;
    const bool source = psc_pairs_have_source(w->pairs);
    if (!psc_contexts_want_set(w->session)) return PSC_OK;
    for (int32_t k = 0; k < w->pairs->n && status == PSC_OK; k++) {
        const psc_pair_entry *e = &w->pairs->entries[w->order[k]];
        const psc_input input = {
            0, source ? e->n_corrupt : e->n_clean, source ? e->corrupt : e->clean};
        const psc_example example = {w->order[k], e->a, e->b, NULL};
        psc_run_options options = PSC_RUN_OPTIONS_INIT;
        empty(w->session);
        options.no_logits = 1;
        options.phase = PSC_PHASE_SOURCE;
        options.source = PSC_SOURCE_SET + k;
        options.examples = &example;
        options.bos = w->pairs->options.bos;
        options.stop = w->options.stop;
        options.payload = w->options.payload;
        status = psc_session_run(w->session, &input, 1, &options, error);
    }
    return status;
}

static psc_status report(const work *w, int32_t done, psc_error *error) {
    if (!w->options.progress ||
        w->options.progress((double)done / w->pairs->n, "pairs", w->options.payload) == 0)
        return PSC_OK;
    return psc_fail(error, PSC_ERROR_CANCELLED, "cancelled");
}

static psc_status run_all(work *w, psc_error *error) {
    psc_status status = PSC_OK;
    for (int32_t first = 0; !status && first < w->pairs->n;) {
        const int32_t left = w->pairs->n - first, n = left < w->n_slots ? left : w->n_slots;
        status = run_batch(w, first, n, error);
        const bool alone = status && status != PSC_ERROR_CANCELLED && n > 1;
        if (alone || (!status && n > 1 && !psc_examples_can_split(w->session->results))) {
            w->n_slots = 1;
            status = PSC_OK;
            continue;
        }
        if (status && status != PSC_ERROR_CANCELLED) {
            char prefix[800];
            snprintf(prefix, sizeof prefix, "%.700s:%lld", w->pairs->name,
                (long long)w->pairs->entries[first].line);
            return psc_error_prefix(error, status, prefix);
        }
        if (!status) status = psc_examples_add(w->together, w->session->results, first, n, error);
        first += n;
        if (!status) status = report(w, first, error);
    }
    return status;
}

/* --- results --------------------------------------------------------------------------------- */

/* A new integer array of section 0 over axes that it has. */
static int32_t *add_integers(psc_results *out, const char *key, int n_axes, const char *const *axes,
    bool token_ids, psc_error *error) {
    const char *names[2];
    int64_t shape[2];
    for (int i = 0; i < n_axes; i++) {
        const psc_result_axis *axis = psc_section_axis_named(&out->sections[0], axes[i]);
        names[i] = axis->name;
        shape[i] = axis->n;
    }
    psc_stored_array *array =
        psc_results_add_array(out, 0, key, PSC_I32, n_axes, names, shape, true, error);
    if (array) array->token_ids = token_ids;
    return array ? (int32_t *)array->view.data : NULL;
}

static psc_status add_arrays(const work *w, psc_results *out, psc_error *error) {
    static const char *const axes[] = {PSC_EXAMPLES_AXIS, "ids"};
    int32_t *ids = add_integers(out, "target_ids", 2, axes, true, error);
    int32_t *clean = ids ? add_integers(out, "clean_tokens", 1, axes, false, error) : NULL;
    int32_t *corrupt = clean ? add_integers(out, "corrupt_tokens", 1, axes, false, error) : NULL;
    int32_t *group = corrupt ? add_integers(out, "group", 1, axes, false, error) : NULL;
    for (int32_t i = 0; group && i < w->pairs->n; i++) {
        const psc_pair_entry *e = &w->pairs->entries[i];
        ids[2 * i] = e->a;
        ids[2 * i + 1] = e->b;
        clean[i] = e->n_clean;
        corrupt[i] = e->n_corrupt;
        group[i] = e->group;
    }
    return group ? PSC_OK : error->status;
}

/* A number, or its digits where a float64 does not hold it. */
static psc_status add_seed(psc_section *section, uint64_t seed) {
    char digits[24];
    if (seed <= UINT64_C(1) << 53) return psc_section_add_number(section, "seed", (double)seed);
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)seed);
    return psc_section_add_text(section, "seed", digits);
}

static psc_status say(const work *w, psc_section *section) {
    static const char *const rows[] = {"rows count from the end: -1 is the last",
        "rows count from the end: -1 is the last", "rows count from the start: 0 is the first",
        "rows are the tokens of the spans, and -1, the last"};
    char text[1000];
    const int32_t align = w->pairs->options.align;
    snprintf(text, sizeof text, "%d pair%s of %.700s, aligned by %s: %s.", (int)w->pairs->n,
        w->pairs->n == 1 ? "" : "s", w->pairs->name, psc_align_name(align), rows[align]);
    psc_status status = psc_section_add_text(section, "file", w->pairs->name);
    if (!status) status = psc_section_add_text(section, "align", psc_align_name(align));
    if (!status)
        status = psc_section_add_number(section, "source", psc_pairs_have_source(w->pairs));
    if (!status) status = psc_section_add_number(section, "draws", w->how.draws);
    if (!status) status = add_seed(section, w->how.seed);
    if (!status) status = psc_section_add_number(section, "level", w->how.level);
    return status ? status : psc_section_add_sentence(section, text);
}

/* The head of the session's last run, without its tokens, and the section `pairs`. */
static psc_status begin_results(work *w, psc_results *out, psc_error *error) {
    static const char *const pair[] = {"a", "b"};
    psc_results *last = w->session->results;
    last->n_tokens = last->n_targets = 0;
    psc_status status = psc_results_copy_head(out, last, error);
    if (status) return status;
    out->run.n_rows = 0; /* as there are tokens */
    out->run.sequences = w->pairs->n;
    psc_section *section = psc_results_add_section(out, "pairs", psc_version());
    status = section ? PSC_OK : PSC_ERROR_MEMORY;
    if (!status)
        status = psc_section_add_labels(out, section, PSC_EXAMPLES_AXIS, w->pairs->n, w->ids);
    if (!status && w->pairs->n_groups > 0)
        status =
            psc_section_add_labels(out, section, PSC_GROUPS_AXIS, w->pairs->n_groups, w->groups);
    if (!status) status = psc_section_add_labels(out, section, "ids", 2, pair);
    if (!status) status = say(w, section);
    return status ? no_memory(error) : add_arrays(w, out, error);
}

static psc_status put_together(psc_results **out, work *w, psc_error *error) {
    psc_status status = psc_results_open(out, error);
    if (!status) status = begin_results(w, *out, error);
    if (!status) status = psc_examples_finish(w->together, *out, &w->how, error);
    if (!status) status = psc_run_vocabulary(w->session->model, *out, error);
    if (status) psc_results_close(out);
    return status;
}

/* --- the call -------------------------------------------------------------------------------- */

static psc_status check(const work *w, psc_error *error) {
    const psc_session *s = w->session;
    const psc_pairs_run_options *o = &w->options;
    if (psc_session_busy(s))
        return psc_fail(error, PSC_ERROR_STATE, "psc_pairs_run cannot be called from a callback");
    if (s->options.accumulate)
        return psc_fail(
            error, PSC_ERROR_STATE, "a session over documents cannot run pairs; open another");
    if (s->model != w->pairs->model)
        return psc_fail(error, PSC_ERROR_INPUT, "the pairs were read for another model");
    if (w->pairs->longest > s->options.capacity)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the longest prompt has %d tokens, but the session's capacity is %d",
            (int)w->pairs->longest, (int)s->options.capacity);
    if (o->draws < -1 || o->draws > PSC_MOST_DRAWS || !(o->level >= 0 && o->level < 1))
        return psc_fail(error, PSC_ERROR_INPUT,
            "%d draws at level %g: draws are at most %d, a level is above 0 and below 1",
            (int)o->draws, o->level, PSC_MOST_DRAWS);
    return PSC_OK;
}

psc_status psc_pairs_run(psc_results **out, psc_session *session, const psc_pairs *pairs,
    const psc_pairs_run_options *options, psc_error *given) {
    psc_error own = {PSC_OK, ""}, *error = given ? given : &own;
    work w = {.session = session, .pairs = pairs, .options = PSC_PAIRS_RUN_OPTIONS_INIT};
    *out = NULL;
    if (options)
        memcpy(&w.options, options,
            options->struct_size < sizeof w.options ? options->struct_size : sizeof w.options);
    psc_status status = check(&w, error);
    if (status) return status;
    w.how = (psc_examples_draws){.draws = w.options.draws < 0    ? 0
                                          : w.options.draws == 0 ? 10000
                                                                 : w.options.draws,
        .seed = w.options.seed,
        .level = w.options.level > 0 ? w.options.level : 0.95,
        .team = session->team,
        .stop = w.options.stop,
        .progress = w.options.progress,
        .payload = w.options.payload};
    w.n_slots = session->options.n_sequences;
    status = open_set(&w, error);
    if (!status) status = psc_shared_rows_open(session, error);
    if (!status) status = run_set(&w, error);
    if (!status) status = run_all(&w, error);
    psc_shared_rows_close(session);
    if (!status) status = put_together(out, &w, error);
    empty(session);
    psc_results_clear(session->results);
    close_set(&w);
    return status;
}
