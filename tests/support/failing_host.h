/* A built-in behind a host whose calls fail: bridge.so replaces it and passes on a changed copy of
 * the host's table. Each call is counted; one of them fails.
 * Private to test_plugins_failures.c.
 * Threads: only the team's, whose calls inside parallel_for do not fail here.
 * Ownership: everything is static. */
#ifndef FAILING_HOST_H
#define FAILING_HOST_H

#include "plugin_fixture.h"

/* Calls marked `every` fail at each occurrence in turn, the others at some, including the first and
 * the last. X(name, whether at every occurrence; whether a plugin can detect the failure) */
#define CALLS(X)                                                                                   \
    X(run_alloc, 1, 1)                                                                             \
    X(life_alloc, 1, 1)                                                                            \
    X(retain, 1, 1)                                                                                \
    X(fetch, 1, 1)                                                                                 \
    X(observe, 0, 1)                                                                               \
    X(edit, 0, 1)                                                                                  \
    X(ln_parameters, 0, 1)                                                                         \
    X(bias, 1, 1)                                                                                  \
    X(embedding, 0, 1)                                                                             \
    X(unembedding, 0, 1)                                                                           \
    X(apply, 0, 1)                                                                                 \
    X(apply_outputs, 0, 1)                                                                         \
    X(pullback_outputs, 0, 1)                                                                      \
    X(panel_products, 0, 0)                                                                        \
    X(head_writes, 1, 1)                                                                           \
    X(whole_set, 1, 1)                                                                             \
    X(foretell, 0, 1)                                                                              \
    X(reductions, 1, 1)                                                                            \
    X(prefix, 0, 1)                                                                                \
    X(matrix_rows, 0, 1)                                                                           \
    X(pullback, 0, 1)                                                                              \
    X(column_norms, 0, 1)                                                                          \
    X(rotate, 0, 1)                                                                                \
    X(keep, 0, 1)                                                                                  \
    X(token_text, 0, 0)                                                                            \
    X(label, 0, 0)                                                                                 \
    X(target_ids, 0, 1)                                                                            \
    X(axis_labels, 1, 1)                                                                           \
    X(axis_numbers, 1, 1)                                                                          \
    X(array, 1, 1)                                                                                 \
    X(value_number, 0, 1)                                                                          \
    X(value_text, 1, 1)                                                                            \
    X(append_number, 0, 1)                                                                         \
    X(append_text, 0, 1)                                                                           \
    X(summary_text, 0, 1)                                                                          \
    X(summary_bars, 0, 1)                                                                          \
    X(document, 1, 1)                                                                              \
    X(accumulator, 1, 1)                                                                           \
    X(accumulate, 0, 1)                                                                            \
    X(accumulate_top, 0, 1)                                                                        \
    X(accumulated, 0, 1)                                                                           \
    X(accumulated_top, 0, 1)                                                                       \
    X(prepare_variants, 1, 1)                                                                      \
    X(variants, 0, 1)                                                                              \
    X(prepare_gradients, 1, 1)                                                                     \
    X(gradients, 0, 1)                                                                             \
    X(load_setting, 1, 1)                                                                          \
    X(save_folder, 1, 1)                                                                           \
    X(read_tensor, 1, 1)                                                                           \
    X(read_sentences, 1, 1)                                                                        \
    X(save_file, 1, 1)                                                                             \
    X(token_ids, 1, 1)                                                                             \
    X(accumulator_records, 1, 1)                                                                   \
    X(accumulate_record, 0, 1)                                                                     \
    X(accumulated_records, 0, 1)                                                                   \
    X(repeated, 0, 1)                                                                              \
    X(place, 0, 1)                                                                                 \
    X(read_entry, 1, 1)                                                                            \
    X(dictionary_open, 1, 1)                                                                       \
    X(dictionary_encode, 1, 1)                                                                     \
    X(dictionary_decode, 1, 1)                                                                     \
    X(dictionary_vectors, 1, 1)                                                                    \
    X(dictionary_skip, 1, 1)                                                                       \
    X(shards_open, 1, 1)                                                                           \
    X(shards_rows, 1, 1)                                                                           \
    X(shards_write, 0, 1)                                                                          \
    X(shards_close, 1, 1)                                                                          \
    X(source_row, 0, 1)                                                                            \
    X(read_note, 1, 1)                                                                             \
    X(save_tensors, 1, 1)

typedef enum call_id {
#define CALL_ID(name, every, shows) CALL_##name,
    CALLS(CALL_ID) N_CALLS
} call_id;

static const struct {
    const char *name;
    int every, shows;
} calls[N_CALLS] = {
#define CALL_ROW(name, every, shows) {#name, every, shows},
    CALLS(CALL_ROW)};

static int counted[N_CALLS]; /* calls so far */
static call_id armed = N_CALLS;
static int armed_number;
static bool told, hit;

/* Counts the call; returns whether it must fail. */
static bool fails(psc_context *context, call_id call) {
    if (++counted[call] != armed_number || call != armed) return false;
    hit = true;
    if (told) host->fail(context, "%s failed on purpose", calls[call].name);
    return true;
}

#define CALL(type, name, failed, parameters, ...)                                                  \
    static type failing_##name parameters {                                                        \
        return fails(c, CALL_##name) ? failed : host->name(c, __VA_ARGS__);                        \
    }

static int failing_whole_set(psc_context *c) {
    return fails(c, CALL_whole_set) ? -1 : host->whole_set(c);
}

/* A plugin must not use the output of a failed call. */
static int no_event(psc_event *out) {
    memset(out, 0xff, sizeof *out);
    return -1;
}

static int no_ln(const float **gamma, const float **beta) {
    memset(gamma, 0xff, sizeof *gamma);
    memset(beta, 0xff, sizeof *beta);
    return -1;
}

CALL(void *, run_alloc, NULL, (psc_context * c, uint64_t n), n)
CALL(void *, life_alloc, NULL, (psc_context * c, uint64_t n), n)
CALL(int, foretell, -1, (psc_context * c, uint64_t bytes), bytes)
CALL(int, retain, -1, (psc_context * c, psc_point p, const psc_filter *f), p, f)
CALL(int, fetch, no_event(out), (psc_context * c, int h, int32_t l, psc_event *out), h, l, out)
CALL(int, observe, -1,
    (psc_context * c, psc_point p, const psc_filter *f, psc_event_fn fn, void *payload), p, f, fn,
    payload)
CALL(int, edit, -1,
    (psc_context * c, psc_point p, const psc_filter *f, psc_event_fn fn, void *payload), p, f, fn,
    payload)
CALL(int, ln_parameters, no_ln(gamma, beta),
    (psc_context * c, psc_ln which, int32_t l, const float **gamma, const float **beta), which, l,
    gamma, beta)
CALL(const float *, bias, NULL, (psc_context * c, psc_matrix m, int32_t l), m, l)
CALL(int, embedding, -1, (psc_context * c, int32_t t, float *row), t, row)
CALL(int, unembedding, -1, (psc_context * c, int32_t t, float *row), t, row)
CALL(int, apply, -1,
    (psc_context * c, psc_matrix m, int32_t l, float *y, const float *x, int64_t n), m, l, y, x, n)
CALL(int, apply_outputs, -1,
    (psc_context * c, psc_matrix m, int32_t l, float *y, const float *x, int64_t n, int64_t from,
        int64_t to),
    m, l, y, x, n, from, to)
CALL(int, pullback_outputs, -1,
    (psc_context * c, psc_matrix m, int32_t l, float *y, const float *u, int64_t n, int64_t from,
        int64_t to),
    m, l, y, u, n, from, to)
CALL(int, panel_products, -1,
    (psc_context * c, float *y, const float *x, const float *panels, int64_t n, int64_t size,
        int64_t n_panels),
    y, x, panels, n, size, n_panels)
CALL(int, head_writes, -1, (psc_context * c, int32_t l, float *y, const float *z, int64_t n), l, y,
    z, n)
CALL(int, prefix, -1,
    (psc_context * c, psc_kept_prefix *out, const float *z, const double *w, double to,
        int32_t *ids),
    out, z, w, to, ids)
CALL(int, matrix_rows, -1,
    (psc_context * c, psc_matrix m, int32_t l, float *out, int64_t from, int64_t to), m, l, out,
    from, to)
CALL(int, pullback, -1,
    (psc_context * c, psc_matrix m, int32_t l, float *y, const float *x, int64_t n), m, l, y, x, n)
CALL(int, column_norms, -1, (psc_context * c, psc_matrix m, int32_t l, int centered, double *out),
    m, l, centered, out)
CALL(int, rotate, -1, (psc_context * c, int32_t at, int inverse, float *x), at, inverse, x)
CALL(int32_t, keep, -1,
    (psc_context * c, const psc_strategy *s, const float *z, int32_t *ids, double *w), s, z, ids, w)
CALL(const char *, token_text, "?", (psc_context * c, int32_t t), t)
CALL(const char *, label, "?", (psc_context * c, psc_component_kind k, int32_t l, int32_t i), k, l,
    i)
CALL(int, target_ids, -1,
    (psc_context * c, int32_t t, const psc_row *row, const float *z, int32_t ids[2]), t, row, z,
    ids)
CALL(int, axis_labels, -1, (psc_context * c, const char *a, int64_t n, const char *const *l), a, n,
    l)
CALL(int, axis_numbers, -1, (psc_context * c, const char *a, int64_t n, const int32_t *l), a, n, l)
CALL(void *, array, NULL,
    (psc_context * c, const char *name, psc_element e, int32_t n, const char *const *axes), name, e,
    n, axes)
CALL(int, value_number, -1, (psc_context * c, const char *name, double x), name, x)
CALL(int, value_text, -1, (psc_context * c, const char *name, const char *x), name, x)
CALL(int, append_number, -1, (psc_context * c, const char *name, double x), name, x)
CALL(int, append_text, -1, (psc_context * c, const char *name, const char *x), name, x)
CALL(int, summary_text, -1, (psc_context * c, const char *sentence), sentence)
CALL(int, summary_bars, -1,
    (psc_context * c, const char *title, const char *unit, int32_t n, const char *const *labels,
        const double *values),
    title, unit, n, labels, values)
CALL(
    int, document, -1, (psc_context * c, const char *k, const char *bytes, uint64_t n), k, bytes, n)
CALL(int, accumulator, -1,
    (psc_context * c, const char *name, psc_accumulate kind, int64_t n, int32_t k), name, kind, n,
    k)
CALL(int, accumulate, -1, (psc_context * c, int h, int64_t at, int64_t n, const double *x), h, at,
    n, x)
CALL(int, accumulate_top, -1, (psc_context * c, int h, int64_t s, double x, const psc_row *row), h,
    s, x, row)
CALL(int, accumulated, -1, (psc_context * c, int h, int64_t at, int64_t n, double *x), h, at, n, x)
CALL(int32_t, accumulated_top, -1, (psc_context * c, int h, int64_t s, psc_top *x), h, s, x)
static const psc_reductions *failing_reductions(psc_context *c) {
    return fails(c, CALL_reductions) ? NULL : host->reductions(c);
}

static int failing_prepare_variants(psc_context *c) {
    return fails(c, CALL_prepare_variants) ? -1 : host->prepare_variants(c);
}
CALL(int, variants, -1,
    (psc_context * c, int32_t n, const psc_variant *v, int32_t rows, psc_variant_fn fn,
        void *payload),
    n, v, rows, fn, payload)
CALL(int, prepare_gradients, -1, (psc_context * c, int32_t n, const int32_t *rows), n, rows)
CALL(int, gradients, -1,
    (psc_context * c, int32_t n, const psc_variant *v, const psc_metric *m, int32_t n_points,
        const int32_t *points, psc_gradient_fn fn, void *payload),
    n, v, m, n_points, points, fn, payload)
CALL(int, load_setting, -1, (psc_context * c, const char *f, const char *key, psc_setting *out), f,
    key, out)
CALL(int, save_folder, -1,
    (psc_context * c, const char *f, int32_t n, const psc_setting *s, int32_t m,
        const psc_named_tensor *t),
    f, n, s, m, t)
CALL(const float *, read_tensor, NULL,
    (psc_context * c, const char *path, const char *name, int32_t *n, int64_t shape[8]), path, name,
    n, shape)

CALL(const float *, read_entry, NULL,
    (psc_context * c, const char *path, const char *name, int only, int64_t index, int32_t *n,
        int64_t shape[8]),
    path, name, only, index, n, shape)
CALL(const psc_sentence *, read_sentences, NULL, (psc_context * c, const char *path, int32_t *n),
    path, n)
CALL(int, save_file, -1, (psc_context * c, const char *path, const char *bytes, uint64_t n), path,
    bytes, n)

CALL(int, token_ids, -1, (psc_context * c, const char *array), array)
CALL(int, accumulator_records, -1,
    (psc_context * c, const char *name, int64_t n, int32_t k, uint64_t bytes), name, n, k, bytes)
CALL(int, accumulate_record, -1,
    (psc_context * c, int h, int64_t s, double x, const psc_row *row, const void *record), h, s, x,
    row, record)
CALL(int32_t, accumulated_records, -1,
    (psc_context * c, int h, int64_t s, psc_top *x, void *records), h, s, x, records)
CALL(int, repeated, -1, (psc_context * c, const psc_row *row), row)
CALL(int, place, -1, (psc_context * c, const psc_row *row, int64_t *document, int32_t *position),
    row, document, position)
CALL(int, shards_open, -1, (psc_context * c, const psc_shard_options *o), o)
CALL(int, dictionary_open, -1,
    (psc_context * c, const char *path, const char *point, psc_dictionary *out), path, point, out)
CALL(int, dictionary_encode, -1,
    (psc_context * c, int handle, const float *x, int64_t stride, int64_t n, psc_latents_fn fn,
        void *payload),
    handle, x, stride, n, fn, payload)
CALL(int, dictionary_decode, -1,
    (psc_context * c, int handle, const psc_latents *latents, const float *x, int64_t stride,
        float *y),
    handle, latents, x, stride, y)
CALL(int, dictionary_vectors, -1,
    (psc_context * c, int handle, int side, int64_t n, const int32_t *ids, float *out), handle,
    side, n, ids, out)
CALL(int, dictionary_skip, -1,
    (psc_context * c, int handle, int pullback, float *y, const float *x, int64_t n), handle,
    pullback, y, x, n)
CALL(int, shards_rows, -1, (psc_context * c, int32_t n, const int32_t *index), n, index)
CALL(int, shards_write, -1,
    (psc_context * c, int32_t array, int32_t first, int32_t n, const void *values), array, first, n,
    values)
CALL(int, shards_close, -1, (psc_context * c, int64_t *rows), rows)
CALL(int, source_row, -1, (psc_context * c, const psc_row *row, int32_t *position), row, position)
CALL(int, read_note, -1, (psc_context * c, const char *path, const char *key, const char **out),
    path, key, out)
CALL(int, save_tensors, -1,
    (psc_context * c, const char *path, int32_t n, const psc_setting *s, int32_t m,
        const psc_named_tensor *t),
    path, n, s, m, t)

static const psc_plugin *stood_in; /* the built-in */
static psc_host table;

static int failing_open(psc_context *context, const psc_host *given, void **state) {
    host = given;
    table = *given;
#define CALL_SLOT(name, every, shows) table.name = failing_##name;
    CALLS(CALL_SLOT)
    return stood_in->open(context, &table, state);
}

#endif
