/* Every call of the host's table with arguments that no honest plugin gives: null lists, labels,
 * axes, callbacks and names, negative and huge lengths, wrong struct_sizes.
 * Private to tests/: test_hostile.c.
 * Threads: make_call may be called from any.
 * Ownership: all arguments are static. */
#ifndef HOSTILE_CALLS_H
#define HOSTILE_CALLS_H

#include "plugin_fixture.h"

#include <limits.h>

static psc_context *context, *c; /* c: what the calls are made with */

#define HUGE_LENGTH (INT64_MAX / 2)

static float floats[64];
static double doubles[64];
static int32_t ints[64];
static int64_t longs[8];
static const char *const nulls[] = {"a", NULL};
static const char *const a_name[] = {"a"};
static char long_name[1 << 16];
static psc_event event;
static psc_setting setting;
static const char *note;
static psc_row row;
static psc_top top;
static psc_range_fn no_function;
static psc_variant_fn no_callback;

static int nothing(const psc_event *given, void *payload) {
    (void)given, (void)payload;
    return 0;
}

static int no_logits(int32_t variant, const psc_event *given, void *payload) {
    (void)variant, (void)given, (void)payload;
    return 0;
}

static psc_filter filter_of_size(uint32_t size) {
    psc_filter filter = PSC_FILTER_INIT;
    filter.struct_size = size;
    return filter;
}

static psc_filter wrong_filter(const int32_t *layers, int32_t n, int32_t mode) {
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = layers;
    filter.n_layers = n;
    filter.rows = mode;
    return filter;
}

static psc_strategy strategy_of_size(uint32_t size) {
    psc_strategy strategy = PSC_STRATEGY_INIT;
    strategy.struct_size = size;
    return strategy;
}

/* One variant of one change, each of them of some size. */
static int run_variant(uint32_t variant_size, uint32_t change_size, int32_t n_changes,
    int64_t stride, const float *values) {
    const psc_change change = {.struct_size = change_size,
        .kind = PSC_CHANGE_SET,
        .point = PSC_HOOK_RESID_PRE,
        .layer = 0,
        .row_begin = 0,
        .row_end = 2,
        .head = -1,
        .key = -1,
        .alpha = 1,
        .values = values,
        .stride = stride};
    const psc_variant variant = {
        variant_size, n_changes, n_changes ? &change : NULL, 0, NULL, 0, NULL};
    return host->variants(c, 1, &variant, PSC_ROWS_LAST, no_logits, NULL);
}

static int run_settings(int32_t n, const psc_setting *settings) {
    return host->save_folder(c, "/nowhere/at/all", n, settings, 0, NULL);
}

static int run_tensor(const char *name, int32_t n_axes, int64_t length, const float *data) {
    const psc_named_tensor tensor = {name, n_axes, {length, length, length, length}, data};
    return host->save_folder(c, "/nowhere/at/all", 0, NULL, 1, &tensor);
}

static int odd_setting(const char *key, int32_t kind, const char *text) {
    const psc_setting one = {key, kind, text, NAN};
    return run_settings(1, &one);
}

/* The word that the sentence must have, and the call. */
#define CASES(X)                                                                                   \
    X("life_alloc", host->life_alloc(c, UINT64_MAX))                                               \
    X("life_alloc", host->life_alloc(c, UINT64_MAX / 2 + 1))                                       \
    X("run_alloc", host->run_alloc(c, UINT64_MAX - 1))                                             \
    X("label", host->label(c, (psc_component_kind)-1, 0, 0))                                       \
    X("label", host->label(c, (psc_component_kind)1000, 0, 0))                                     \
    X("label", host->label(c, PSC_COMPONENT_HEAD, INT32_MIN, 0))                                   \
    X("label", host->label(c, PSC_COMPONENT_HEAD, INT32_MAX, 0))                                   \
    X("label", host->label(c, PSC_COMPONENT_NEURON, 0, INT32_MIN))                                 \
    X("options", host->options(c, NULL))                                                           \
    X("observe", host->observe(c, PSC_HOOK_Z, NULL, NULL, NULL))                                   \
    X("observe", host->observe(c, PSC_HOOK_Z, &(psc_filter){0}, nothing, NULL))                    \
    X("observe", host->observe(c, PSC_HOOK_Z, FILTER(4), nothing, NULL))                           \
    X("observe", host->observe(c, PSC_HOOK_Z, FILTER(UINT32_MAX), nothing, NULL))                  \
    X("edit", host->edit(c, PSC_HOOK_Z, NULL, NULL, NULL))                                         \
    X("edit", host->edit(c, PSC_HOOK_Z, FILTER(8), nothing, NULL))                                 \
    X("", host->edit(c, (psc_point)-1, NULL, nothing, NULL))                                       \
    X("", host->observe(c, (psc_point)INT32_MAX, NULL, nothing, NULL))                             \
    X("", host->observe(c, PSC_HOOK_Z, WRONG(NULL, 1, 0), nothing, NULL))                          \
    X("", host->observe(c, PSC_HOOK_Z, WRONG(ints, -1, 0), nothing, NULL))                         \
    X("", host->observe(c, PSC_HOOK_Z, WRONG(ints, 0, 77), nothing, NULL))                         \
    X("", host->observe(c, PSC_HOOK_Z, WRONG(ints, 9, 0), nothing, NULL))                          \
    X("accumulator", host->accumulator(c, NULL, PSC_ACCUMULATE_SUM, 1, 0))                         \
    X("accumulator", host->accumulator(c, long_name, PSC_ACCUMULATE_SUM, 1, 0))                    \
    X("accumulator", host->accumulator(c, "a", (psc_accumulate)-1, 1, 0))                          \
    X("accumulator", host->accumulator(c, "a", (psc_accumulate)99, 1, 0))                          \
    X("accumulator", host->accumulator(c, "a", PSC_ACCUMULATE_SUM, -1, 0))                         \
    X("accumulator", host->accumulator(c, "a", PSC_ACCUMULATE_SUM, INT64_MAX, 0))                  \
    X("accumulator", host->accumulator(c, "a", PSC_ACCUMULATE_TOP, INT64_MAX, INT32_MAX))          \
    X("accumulator", host->accumulator(c, "a", PSC_ACCUMULATE_TOP, 1, INT32_MIN))                  \
    X("accumulator", host->accumulator_records(c, "a", 1, 1, 7))                                   \
    X("accumulator", host->accumulator_records(c, "a", 1, INT32_MAX, UINT64_MAX - 7))              \
    X("accumulator", host->accumulator_records(c, NULL, 1, 1, 8))                                  \
    X("rows", host->rows(c, NULL))                                                                 \
    X("text", host->text(c, NULL))                                                                 \
    X("targets", host->targets(c, NULL))                                                           \
    X("has_editor", host->has_editor(c, (psc_point)-1))                                            \
    X("has_editor", host->has_editor(c, (psc_point)INT32_MAX))                                     \
    X("retain", host->retain(c, (psc_point)-1, NULL))                                              \
    X("retain", host->retain(c, (psc_point)INT32_MAX, NULL))                                       \
    X("retain", host->retain(c, PSC_HOOK_Z, &(psc_filter){0}))                                     \
    X("retain", host->retain(c, PSC_HOOK_Z, FILTER(UINT32_MAX)))                                   \
    X("", host->retain(c, PSC_HOOK_Z, WRONG(NULL, INT32_MAX, 0)))                                  \
    X("axis_labels", host->axis_labels(c, NULL, 1, a_name))                                        \
    X("axis_labels", host->axis_labels(c, long_name, 1, a_name))                                   \
    X("axis_labels", host->axis_labels(c, "a", 1, NULL))                                           \
    X("axis_labels", host->axis_labels(c, "a", 2, nulls))                                          \
    X("axis_labels", host->axis_labels(c, "a", -1, a_name))                                        \
    X("axis_labels", host->axis_labels(c, "a", HUGE_LENGTH, a_name))                               \
    X("axis_numbers", host->axis_numbers(c, "a", 1, NULL))                                         \
    X("axis_numbers", host->axis_numbers(c, "a", INT64_MIN, ints))                                 \
    X("axis_numbers", host->axis_numbers(c, "a", INT64_MAX, ints))                                 \
    X("array", host->array(c, NULL, PSC_F32, 0, NULL))                                             \
    X("array", host->array(c, "a", PSC_F32, 2, NULL))                                              \
    X("array", host->array(c, "a", PSC_F32, 1, nulls + 1))                                         \
    X("array", host->array(c, "a", PSC_F32, 1, a_name))                                            \
    X("array", host->array(c, "a", PSC_F32, -1, a_name))                                           \
    X("array", host->array(c, "a", PSC_F32, INT32_MAX, a_name))                                    \
    X("array", host->array(c, "a", (psc_element)99, 0, NULL))                                      \
    X("value_number", host->value_number(c, NULL, NAN))                                            \
    X("value_text", host->value_text(c, NULL, "a"))                                                \
    X("value_text", host->value_text(c, "a", NULL))                                                \
    X("append_number", host->append_number(c, long_name, 0))                                       \
    X("append_text", host->append_text(c, "a", NULL))                                              \
    X("summary_text", host->summary_text(c, NULL))                                                 \
    X("summary_bars", host->summary_bars(c, NULL, "", 0, NULL, NULL))                              \
    X("summary_bars", host->summary_bars(c, "a", NULL, 0, NULL, NULL))                             \
    X("summary_bars", host->summary_bars(c, "a", "", -1, a_name, doubles))                         \
    X("summary_bars", host->summary_bars(c, "a", "", 1, NULL, doubles))                            \
    X("summary_bars", host->summary_bars(c, "a", "", 1, a_name, NULL))                             \
    X("summary_bars", host->summary_bars(c, "a", "", 2, nulls, doubles))                           \
    X("document", host->document(c, NULL, "a", 1))                                                 \
    X("document", host->document(c, "txt", NULL, 1))                                               \
    X("document", host->document(c, "txt", "a", UINT64_MAX))                                       \
    X("document", host->document(c, "../a", "a", 1))                                               \
    X("document", host->document(c, long_name, "a", 1))                                            \
    X("target_ids", host->target_ids(c, 0, NULL, floats, ints))                                    \
    X("target_ids", host->target_ids(c, 0, &row, floats, NULL))                                    \
    X("target", host->target_ids(c, -1, &row, floats, ints))                                       \
    X("target", host->target_ids(c, INT32_MAX, &row, floats, ints))                                \
    X("fetch", host->fetch(c, 0, 0, NULL))                                                         \
    X("fetch", host->fetch(c, INT32_MAX, 0, &event))                                               \
    X("fetch", host->fetch(c, -1, 0, &event))                                                      \
    X("fetch", host->fetch(c, retained, INT32_MIN, &event))                                        \
    X("variants", host->variants(c, 1, NULL, PSC_ROWS_LAST, no_logits, NULL))                      \
    X("variants", host->variants(c, -1, NULL, PSC_ROWS_LAST, no_logits, NULL))                     \
    X("variants", host->variants(c, 0, NULL, PSC_ROWS_LAST, no_callback, NULL))                    \
    X("variant", run_variant(0, sizeof(psc_change), 1, 0, floats))                                 \
    X("variant", run_variant(8, sizeof(psc_change), 1, 0, floats))                                 \
    X("variant", run_variant(UINT32_MAX, sizeof(psc_change), 1, 0, floats))                        \
    X("variant", run_variant(sizeof(psc_variant), 0, 1, 0, floats))                                \
    X("variant", run_variant(sizeof(psc_variant), 8, 1, 0, floats))                                \
    X("variant", run_variant(sizeof(psc_variant), UINT32_MAX, 1, 0, floats))                       \
    X("variant", run_variant(sizeof(psc_variant), sizeof(psc_change), 0, 0, floats))               \
    X("variant", run_variant(sizeof(psc_variant), sizeof(psc_change), -1, 0, floats))              \
    X("variant", run_variant(sizeof(psc_variant), sizeof(psc_change), 1, 0, NULL))                 \
    X("variant", run_variant(sizeof(psc_variant), sizeof(psc_change), 1, -1, floats))              \
    X("variant", run_variant(sizeof(psc_variant), sizeof(psc_change), 1, INT64_MAX, floats))       \
    X("accumulat", host->accumulate(c, 0, 0, 1, NULL))                                             \
    X("accumulat", host->accumulate(c, 0, 0, -1, doubles))                                         \
    X("accumulat", host->accumulate(c, 0, INT64_MAX, INT64_MAX, doubles))                          \
    X("accumulat", host->accumulate(c, -1, 0, 1, doubles))                                         \
    X("accumulat", host->accumulate(c, INT32_MAX, 0, 1, doubles))                                  \
    X("accumulat", host->accumulate_top(c, 0, 0, NAN, NULL))                                       \
    X("accumulat", host->accumulate_top(c, 1, 0, 0, NULL))                                         \
    X("accumulat", host->accumulate_top(c, 1, 0, 0, &(psc_row){.index = INT32_MIN}))               \
    X("accumulat", host->accumulate_top(c, 1, INT64_MIN, 0, &(psc_row){.index = 0}))               \
    X("accumulat", host->accumulate_top(c, 1, 0, NAN, &(psc_row){.index = 0}))                     \
    X("accumulat", host->accumulate_record(c, 1, 0, 0, NULL, doubles))                             \
    X("accumulat", host->accumulated(c, 0, 0, 1, NULL))                                            \
    X("accumulat", host->accumulated(c, 0, 0, HUGE_LENGTH, doubles))                               \
    X("accumulat", host->accumulated(c, 7, 0, 1, doubles))                                         \
    X("accumulat", host->accumulated_top(c, 1, -1, &top))                                          \
    X("accumulat", host->accumulated_top(c, 0, 0, &top))                                           \
    X("accumulat", host->accumulated_records(c, 0, 0, NULL, NULL))                                 \
    X("repeated", host->repeated(c, NULL))                                                         \
    X("place", host->place(c, NULL, longs, ints))                                                  \
    X("place", host->place(c, &row, NULL, ints))                                                   \
    X("place", host->place(c, &row, longs, NULL))                                                  \
    X("ln_parameters", host->ln_parameters(c, PSC_LN1, 0, NULL, NULL))                             \
    X("ln_parameters", host->ln_parameters(c, (psc_ln)-1, 0, some, some))                          \
    X("ln_parameters", host->ln_parameters(c, PSC_LN1, INT32_MIN, some, some))                     \
    X("bias", host->bias(c, (psc_matrix)-1, 0))                                                    \
    X("bias", host->bias(c, PSC_W_Q, INT32_MAX))                                                   \
    X("embedding", host->embedding(c, 0, NULL))                                                    \
    X("embedding", host->embedding(c, -1, floats))                                                 \
    X("unembedding", host->unembedding(c, 0, NULL))                                                \
    X("unembedding", host->unembedding(c, INT32_MAX, floats))                                      \
    X("parallel_for", (host->parallel_for(c, 4, no_function, NULL), 0))                            \
    X("parallel_for", (host->parallel_for(c, -1, in_part, NULL), 0))                               \
    X("parallel_for", (host->parallel_for(c, INT64_MIN, in_part, NULL), 0))                        \
    X("apply", host->apply(c, PSC_W_Q, 0, NULL, floats, 1))                                        \
    X("apply", host->apply(c, PSC_W_Q, 0, floats, NULL, 1))                                        \
    X("apply", host->apply(c, PSC_W_Q, 0, floats, floats, -1))                                     \
    X("apply", host->apply(c, PSC_W_Q, 0, floats, floats, INT64_MAX))                              \
    X("apply", host->apply(c, (psc_matrix)99, 0, floats, floats, 1))                               \
    X("apply_outputs", host->apply_outputs(c, PSC_W_U, 0, NULL, floats, 1, 0, 16))                 \
    X("apply_outputs", host->apply_outputs(c, PSC_W_U, 0, floats, NULL, 1, 0, 16))                 \
    X("apply_outputs", host->apply_outputs(c, PSC_W_U, 0, floats, floats, -1, 0, 16))              \
    X("apply_outputs", host->apply_outputs(c, PSC_W_U, 0, floats, floats, 1, 8, 16))               \
    X("apply_outputs", host->apply_outputs(c, PSC_W_U, 0, floats, floats, 1, -16, 16))             \
    X("apply_outputs", host->apply_outputs(c, PSC_W_U, 0, floats, floats, 1, 16, INT64_MAX))       \
    X("apply_outputs", host->apply_outputs(c, PSC_W_U, 0, floats, floats, 1, 32, 16))              \
    X("pullback_outputs", host->pullback_outputs(c, PSC_W_U, 0, NULL, floats, 1, 0, 16))           \
    X("pullback_outputs", host->pullback_outputs(c, PSC_W_U, 0, floats, floats, 1, 8, 16))         \
    X("pullback_outputs", host->pullback_outputs(c, PSC_W_U, 0, floats, floats, 1, 32, 16))        \
    X("panel_products", host->panel_products(c, floats, NULL, floats, 1, 1, 1))                    \
    X("panel_products", host->panel_products(c, floats, floats, floats, -1, 1, 1))                 \
    X("panel_products", host->panel_products(c, floats, floats, floats, 1, INT64_MAX, 1))          \
    X("panel_products", host->panel_products(c, floats, floats, floats, 1, 1, INT64_MAX))          \
    X("head_writes", host->head_writes(c, 0, NULL, floats, 1))                                     \
    X("head_writes", host->head_writes(c, 99, floats, floats, 1))                                  \
    X("whole_set", host->whole_set(c))                                                             \
    X("matrix_rows", host->matrix_rows(c, PSC_W_Q, 0, NULL, 0, 1))                                 \
    X("matrix_rows", host->matrix_rows(c, PSC_W_Q, 0, floats, -1, 1))                              \
    X("matrix_rows", host->matrix_rows(c, PSC_W_Q, 0, floats, 2, 1))                               \
    X("matrix_rows", host->matrix_rows(c, PSC_W_Q, 0, floats, 0, INT64_MAX))                       \
    X("matrix_rows", host->matrix_rows(c, (psc_matrix)99, 0, floats, 0, 1))                        \
    X("shards_open", host->shards_open(c, NULL))                                                   \
    X("shards_open", host->shards_open(c, &(psc_shard_options){0}))                                \
    X("shards_rows", host->shards_rows(c, 1, NULL))                                                \
    X("shards_rows", host->shards_rows(c, -1, ints))                                               \
    X("shards_write", host->shards_write(c, 0, 0, 1, NULL))                                        \
    X("shards_write", host->shards_write(c, -1, 0, 1, floats))                                     \
    X("shards_write", host->shards_write(c, 0, INT32_MAX, INT32_MAX, floats))                      \
    X("shards_close", host->shards_close(c, NULL))                                                 \
    X("source_row", host->source_row(c, NULL, ints))                                               \
    X("source_row", host->source_row(c, &row, NULL))                                               \
    X("read_note", host->read_note(c, NULL, "a", &note))                                           \
    X("read_note", host->read_note(c, "/nowhere", NULL, &note))                                    \
    X("read_note", host->read_note(c, "/nowhere", "a", NULL))                                      \
    X("save_tensors", host->save_tensors(c, NULL, 0, NULL, 0, NULL))                               \
    X("save_tensors", host->save_tensors(c, "/nowhere", 1, NULL, 0, NULL))                         \
    X("save_tensors", host->save_tensors(c, "/nowhere", 0, NULL, -1, NULL))                        \
    X("pullback", host->pullback(c, PSC_W_U, 0, NULL, NULL, 1))                                    \
    X("pullback", host->pullback(c, PSC_W_U, 0, floats, floats, INT64_MAX / 4))                    \
    X("row_norms", host->row_norms(c, PSC_W_Q, 0, 0, NULL))                                        \
    X("row_norms", host->row_norms(c, PSC_W_Q, -1, 0, doubles))                                    \
    X("column_norms", host->column_norms(c, PSC_W_Q, 0, 1, NULL))                                  \
    X("column_norms", host->column_norms(c, PSC_MATRIX_COUNT, 0, 1, doubles))                      \
    X("dot", (host->dot(c, 4, NULL, floats), 0))                                                   \
    X("dot", (host->dot(c, 4, floats, NULL), 0))                                                   \
    X("dot", (host->dot(c, -1, floats, floats), 0))                                                \
    X("dot", (host->dot(c, INT64_MAX, floats, floats), 0))                                         \
    X("exp", (host->exp(c, 4, NULL, floats), 0))                                                   \
    X("exp", (host->exp(c, INT64_MIN, floats, floats), 0))                                         \
    X("erf", (host->erf(c, 4, floats, NULL), 0))                                                   \
    X("tanh", (host->tanh(c, HUGE_LENGTH, floats, floats), 0))                                     \
    X("log", (host->log(c, 1, NULL, doubles), 0))                                                  \
    X("log_sum_exp", (host->log_sum_exp(c, 1, NULL), 0))                                           \
    X("log_sum_exp", (host->log_sum_exp(c, -5, floats), 0))                                        \
    X("shares", (host->shares(c, NULL, floats, floats, NULL, 4, 0, 1), 0))                         \
    X("shares", (host->shares(c, doubles, NULL, floats, NULL, 4, 0, 1), 0))                        \
    X("shares", (host->shares(c, doubles, floats, floats, NULL, 4, -1, 1), 0))                     \
    X("shares", (host->shares(c, doubles, floats, floats, NULL, -4, 0, 1), 0))                     \
    X("prefix", host->prefix(c, NULL, floats, doubles, 1, ints))                                   \
    X("prefix", host->prefix(c, &(psc_kept_prefix){0}, floats, doubles, 1, ints))                  \
    X("prefix", host->prefix(c, PREFIX, NULL, doubles, 1, ints))                                   \
    X("prefix", host->prefix(c, PREFIX, floats, doubles, 1, NULL))                                 \
    X("keep", host->keep(c, NULL, floats, ints, doubles))                                          \
    X("keep", host->keep(c, &(psc_strategy){0}, floats, ints, doubles))                            \
    X("keep", host->keep(c, STRATEGY(UINT32_MAX), floats, ints, doubles))                          \
    X("keep", host->keep(c, STRATEGY(sizeof(psc_strategy)), NULL, ints, doubles))                  \
    X("keep", host->keep(c, STRATEGY(sizeof(psc_strategy)), floats, NULL, doubles))                \
    X("keep", host->keep(c, STRATEGY(sizeof(psc_strategy)), floats, ints, NULL))                   \
    X("rotate", host->rotate(c, 0, 0, NULL))                                                       \
    X("rotate", host->rotate(c, -1, 0, floats))                                                    \
    X("rotate", host->rotate(c, INT32_MAX, 0, floats))                                             \
    X("read_tensor", host->read_tensor(c, NULL, "a", ints, longs))                                 \
    X("read_tensor", host->read_tensor(c, "/nowhere", "a", NULL, longs))                           \
    X("read_tensor", host->read_tensor(c, "/nowhere", "a", ints, NULL))                            \
    X("", host->read_tensor(c, long_name, NULL, ints, longs))                                      \
    X("read_entry", host->read_entry(c, NULL, "a", 0, 0, ints, longs))                             \
    X("read_entry", host->read_entry(c, "/nowhere", "a", 0, 0, NULL, NULL))                        \
    X("load_setting", host->load_setting(c, NULL, "a", &setting))                                  \
    X("load_setting", host->load_setting(c, "/nowhere", NULL, &setting))                           \
    X("load_setting", host->load_setting(c, "/nowhere", "a", NULL))                                \
    X("save_folder", host->save_folder(c, NULL, 0, NULL, 0, NULL))                                 \
    X("save_folder", run_settings(1, NULL))                                                        \
    X("save_folder", run_settings(INT32_MIN, NULL))                                                \
    X("save_folder", odd_setting(NULL, PSC_SETTING_NUMBER, NULL))                                  \
    X("save_folder", odd_setting("a", PSC_SETTING_TEXT, NULL))                                     \
    X("save_folder", odd_setting("a", 99, NULL))                                                   \
    X("save_folder", host->save_folder(c, "/nowhere", 0, NULL, 1, NULL))                           \
    X("save_folder", run_tensor(NULL, 1, 4, floats))                                               \
    X("save_folder", run_tensor("a", 1, 4, NULL))                                                  \
    X("save_folder", run_tensor("a", 9, 4, floats))                                                \
    X("save_folder", run_tensor("a", -1, 4, floats))                                               \
    X("save_folder", run_tensor("a", 2, -4, floats))                                               \
    X("save_folder", run_tensor("a", 4, INT64_MAX / 2, floats))                                    \
    X("save_folder", run_tensor("a", 4, INT64_C(1) << 32, floats))                                 \
    X("sentences", host->sentences(c, NULL))                                                       \
    X("read_sentences", host->read_sentences(c, NULL, ints))                                       \
    X("read_sentences", host->read_sentences(c, "/nowhere", NULL))                                 \
    X("token_bytes", host->token_bytes(c, 0, NULL))                                                \
    X("save_file", host->save_file(c, NULL, "a", 1))                                               \
    X("save_file", host->save_file(c, "/nowhere/at/all", "a", UINT64_MAX))                         \
    X("token_ids", host->token_ids(c, NULL))                                                       \
    X("token_ids", host->token_ids(c, "a"))                                                        \
    X("", host->fail(c, NULL))                                                                     \
    X("", host->fail(c, "%s", long_name))

#define FILTER(size) &(psc_filter[1]){filter_of_size(size)}[0]
#define WRONG(layers, n, mode) &(psc_filter[1]){wrong_filter(layers, n, mode)}[0]
#define PREFIX (&(psc_kept_prefix){.struct_size = sizeof(psc_kept_prefix)})
#define STRATEGY(size) &(psc_strategy[1]){strategy_of_size(size)}[0]

static const float *some[1];
static int retained;

static void in_part(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)begin, (void)end, (void)thread, (void)payload;
}

/* Makes the number-th call; returns its word. */
static const char *make_call(int number) {
    int i = 0;
#define MAKE(word, call)                                                                           \
    if (i++ == number) {                                                                           \
        (void)(call);                                                                              \
        return word;                                                                               \
    }
    CASES(MAKE)
#undef MAKE
    return NULL;
}

#define ONE(word, call) +1
enum { N_CALLS = 0 CASES(ONE) };

#endif
