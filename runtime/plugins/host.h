/* The parts of the host table, one group of calls per file.
 * Private to host*.c, contexts.c, strategy.c, turns.c and variants.h.
 * Threads: the session's thread; calls marked [p] in psc_plugin.h also inside parallel_for.
 * Ownership: contexts belong to their session. */
#ifndef HOST_H
#define HOST_H

#include "safetensors.h"
#include "session_inside.h"

/* --- turns.c; more in turns.h --- */
/* Sets the run's error to "plugin NAME: ..." and returns status. */
psc_status psc_host_fail(psc_context *context, psc_status status, const char *format, ...)
    PSC_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* as in psc_error.h */
#define psc_host_fail(context, status, ...) (psc_host_fail(context, status, __VA_ARGS__), (status))
#endif
/* Makes a callee's error the run's error, with the plugin's name in front; returns its status. */
psc_status psc_host_pass(psc_context *context, const psc_error *error);
/* host->fail. */
int psc_host_say(psc_context *context, const char *format, ...) PSC_PRINTF(2, 3);

/* True once the run is cancelled, after setting the error; asks the caller's `stop`. False inside
 * parallel_for. */
bool psc_host_stopped(psc_context *context);

/* --- host_math.c --- */
int psc_host_ln_parameters(
    psc_context *context, psc_ln which, int32_t layer, const float **gamma, const float **beta);
const float *psc_host_bias(psc_context *context, psc_matrix matrix, int32_t layer);
int psc_host_embedding(psc_context *context, int32_t token, float *row);
int psc_host_unembedding(psc_context *context, int32_t token, float *row);
const float *psc_host_unembedding_mean(psc_context *context);
float psc_host_dot(psc_context *context, int64_t n, const float *a, const float *b);
int psc_host_apply(psc_context *context, psc_matrix matrix, int32_t layer, float *y, const float *x,
    int64_t n_rows);
int psc_host_apply_outputs(psc_context *context, psc_matrix matrix, int32_t layer, float *y,
    const float *x, int64_t n_rows, int64_t begin, int64_t end);
int psc_host_matrix_rows(
    psc_context *context, psc_matrix matrix, int32_t layer, float *out, int64_t begin, int64_t end);
const psc_reductions *psc_host_reductions(psc_context *context);
int psc_host_pullback(psc_context *context, psc_matrix matrix, int32_t layer, float *y,
    const float *u, int64_t n_rows);
int psc_host_pullback_outputs(psc_context *context, psc_matrix matrix, int32_t layer, float *y,
    const float *u, int64_t n_rows, int64_t begin, int64_t end);
int psc_host_panel_products(psc_context *context, float *y, const float *x, const float *panels,
    int64_t n_rows, int64_t size, int64_t n_panels);
int psc_host_head_writes(
    psc_context *context, int32_t layer, float *y, const float *z, int64_t n_rows);
void psc_host_exp(psc_context *context, int64_t n, float *y, const float *x);
void psc_host_erf(psc_context *context, int64_t n, float *y, const float *x);
void psc_host_tanh(psc_context *context, int64_t n, float *y, const float *x);
void psc_host_log(psc_context *context, int64_t n, double *y, const double *x);
double psc_host_log_sum_exp(psc_context *context, int64_t n, const float *x);
void psc_host_shares(psc_context *context, double sums[32], float *y, const float *x,
    const float *w, int64_t n, int64_t first, float divisor);
void psc_host_parallel_for(psc_context *context, int64_t n, psc_range_fn fn, void *payload);

int psc_host_rotate(psc_context *context, int32_t position, int inverse, float *x);
/* The packed matrix, or null after setting the error. */
const psc_packed *psc_host_matrix(
    psc_context *context, const char *call, psc_matrix matrix, int32_t layer);
/* Runs fn over 0..n-1 by the team; inside parallel_for by the calling thread alone. */
void psc_host_spread(psc_context *context, int64_t n, psc_team_range_fn fn, void *payload);

/* --- host_norms.c --- */
int psc_host_row_norms(
    psc_context *context, psc_matrix matrix, int32_t layer, int centered, double *out);
int psc_host_column_norms(
    psc_context *context, psc_matrix matrix, int32_t layer, int centered, double *out);

/* --- host_memory.c --- */
/* Bytes that retained_cap leaves. */
double psc_host_room(const psc_context *context);
/* Whether a run may take bytes for `what`; false after setting the error. */
bool psc_host_has_room(psc_context *context, const char *what, double bytes);
/* Counts bytes of results until the run's end. */
void psc_host_count_run(psc_context *context, double bytes);
void *psc_host_run_alloc(psc_context *context, uint64_t bytes);
void *psc_host_life_alloc(psc_context *context, uint64_t bytes);
int psc_host_foretell(psc_context *context, uint64_t bytes);
/* Frees what run_alloc gave, life_alloc gave. */
void psc_host_drop_run(psc_context *context);
void psc_host_drop_life(psc_context *context);

/* --- host_retain.c --- */
/* Whether a filter of a plugin's, perhaps null, can be read; the registry checks what it says. */
bool psc_host_filter(psc_context *context, const char *call, const psc_filter *filter);
int psc_host_retain(psc_context *context, psc_point point, const psc_filter *filter);
int psc_host_fetch(psc_context *context, int handle, int32_t layer, psc_event *out);
void psc_host_drop_retained(psc_context *context);

/* --- host_variants.c --- */
int psc_host_prepare_variants(psc_context *context);
int psc_host_variants(psc_context *context, int32_t n, const psc_variant *variants,
    int32_t logit_rows, psc_variant_fn fn, void *payload);
void psc_host_drop_variants(psc_context *context);

/* --- host_gradients.c --- */
int psc_host_prepare_gradients(psc_context *context, int32_t n, const int32_t *rows);
int psc_host_gradients(psc_context *context, int32_t n, const psc_variant *variants,
    const psc_metric *metrics, int32_t n_points, const int32_t *points, psc_gradient_fn fn,
    void *payload);
void psc_host_drop_gradients(psc_context *context);

/* --- host_tensor.c --- */
/* In open, over a corpus: what the plugin read from a file becomes part of the state's header. */
void psc_host_note_contents(psc_context *context, const void *bytes, size_t n);
const float *psc_host_read_entry(psc_context *context, const char *path, const char *name,
    int or_only, int64_t index, int32_t *n_axes, int64_t shape[8]);
const float *psc_host_read_tensor(
    psc_context *context, const char *path, const char *name, int32_t *n_axes, int64_t shape[8]);

/* --- host_labels.c --- */
const char *psc_host_token_text(psc_context *context, int32_t token);
const char *psc_host_label(
    psc_context *context, psc_component_kind kind, int32_t layer, int32_t index);
void psc_host_free_labels(psc_context *context);

/* --- host_accumulate.c --- */
int psc_host_accumulating(psc_context *context);
int psc_host_accumulator(
    psc_context *context, const char *name, psc_accumulate kind, int64_t n, int32_t k);
int psc_host_accumulate(
    psc_context *context, int handle, int64_t begin, int64_t n, const double *partial);
int psc_host_accumulate_top(
    psc_context *context, int handle, int64_t slot, double value, const psc_row *row);
/* The partials of events: added to the totals, or forgotten. */
psc_status psc_host_release(psc_context *context, bool add, psc_error *error);
int psc_host_accumulated(psc_context *context, int handle, int64_t begin, int64_t n, double *out);
int32_t psc_host_accumulated_top(psc_context *context, int handle, int64_t slot, psc_top *out);
int psc_host_accumulator_records(
    psc_context *context, const char *name, int64_t n, int32_t k, uint64_t bytes);
int psc_host_accumulate_record(psc_context *context, int handle, int64_t slot, double value,
    const psc_row *row, const void *record);
int32_t psc_host_accumulated_records(
    psc_context *context, int handle, int64_t slot, psc_top *out, void *records);
int psc_host_repeated(psc_context *context, const psc_row *row);
int psc_host_place(psc_context *context, const psc_row *row, int64_t *document, int32_t *position);

/* --- host_files.c --- */
int psc_host_load_setting(
    psc_context *context, const char *folder, const char *key, psc_setting *out);
int psc_host_save_folder(psc_context *context, const char *folder, int32_t n_settings,
    const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors);

int psc_host_save_file(psc_context *context, const char *path, const char *bytes, uint64_t n);

/* --- host_examples.c --- */
int64_t psc_host_example(psc_context *context, int32_t sequence);
int psc_host_source_row(psc_context *context, const psc_row *row, int32_t *position);
int psc_host_whole_set(psc_context *context);
/* --- host_dictionary.c --- */
int psc_host_dictionary_open(
    psc_context *context, const char *path, const char *point, psc_dictionary *out);
int psc_host_dictionary_encode(psc_context *context, int handle, const float *x, int64_t stride,
    int64_t n_rows, psc_latents_fn fn, void *payload);
int psc_host_dictionary_decode(psc_context *context, int handle, const psc_latents *latents,
    const float *x, int64_t stride, float *y);
int psc_host_dictionary_vectors(
    psc_context *context, int handle, int side, int64_t n, const int32_t *ids, float *out);
int psc_host_dictionary_skip(
    psc_context *context, int handle, int pullback, float *y, const float *x, int64_t n_rows);
void psc_host_close_dictionaries(psc_context *context);

/* --- host_shards.c --- */
int psc_host_shards_open(psc_context *context, const psc_shard_options *options);
int psc_host_shards_rows(psc_context *context, int32_t n, const int32_t *index);
int psc_host_shards_write(
    psc_context *context, int32_t array, int32_t first, int32_t n, const void *values);
int psc_host_shards_close(psc_context *context, int64_t *rows);
int psc_host_read_note(psc_context *context, const char *path, const char *key, const char **out);
int psc_host_save_tensors(psc_context *context, const char *path, int32_t n_settings,
    const psc_setting *settings, int32_t n_tensors, const psc_named_tensor *tensors);

/* --- host_sentences.c --- */
const psc_sentence *psc_host_sentences(psc_context *context, int32_t *n);
const psc_sentence *psc_host_read_sentences(psc_context *context, const char *path, int32_t *n);
const char *psc_host_token_bytes(psc_context *context, int32_t token, uint64_t *bytes);
void psc_host_close_label_files(psc_context *context);

/* --- strategy.c --- */
int psc_host_prefix(psc_context *context, psc_kept_prefix *out, const float *logits,
    const double *weights, double target, int32_t *scratch);
int32_t psc_host_keep(psc_context *context, const psc_strategy *strategy, const float *logits,
    int32_t *ids, double *weights);

/* --- host_results.c --- */
/* At the start of a run: adds the context's section with version and options. */
psc_status psc_host_begin_results(psc_context *context, psc_error *error);
int psc_host_axis_labels(
    psc_context *context, const char *name, int64_t n, const char *const *labels);
int psc_host_axis_numbers(
    psc_context *context, const char *name, int64_t n, const int32_t *numbers);
void *psc_host_array(psc_context *context, const char *name, psc_element element, int32_t n_axes,
    const char *const *axes);
int psc_host_value_number(psc_context *context, const char *name, double value);
int psc_host_value_text(psc_context *context, const char *name, const char *value);
int psc_host_append_number(psc_context *context, const char *name, double value);
int psc_host_append_text(psc_context *context, const char *name, const char *value);
int psc_host_summary_text(psc_context *context, const char *sentence);
int psc_host_summary_bars(psc_context *context, const char *title, const char *unit, int32_t n,
    const char *const *labels, const double *values);

int psc_host_document(psc_context *context, const char *kind, const char *bytes, uint64_t n);
int psc_host_token_ids(psc_context *context, const char *array);

#endif
