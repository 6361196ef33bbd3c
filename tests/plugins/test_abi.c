/* The plugin interface of ABI 2 as it was released: no member of the host's table or of psc_plugin
 * moves within an ABI. A new member of psc_host is added here, at the end, when it is released. */
#include "psc.h"

#include <criterion/criterion.h>
#include <stddef.h>

// clang-format off
#define HOST_MEMBERS(X) \
    X(fail) X(model) X(life_alloc) X(run_alloc) X(label) X(token_text) X(options) X(observe) \
    X(edit) X(accumulating) X(accumulator) X(rows) X(text) X(phase) X(source) X(targets) \
    X(has_editor) X(retain) X(prepare_variants) X(axis_labels) X(axis_numbers) X(array) \
    X(value_number) X(value_text) X(append_number) X(append_text) X(summary_text) \
    X(summary_bars) X(document) X(target_ids) X(fetch) X(variants) X(accumulate) \
    X(accumulate_top) X(progress) X(cancelled) X(accumulated) X(accumulated_top) \
    X(ln_parameters) X(bias) X(embedding) X(unembedding) X(unembedding_mean) X(parallel_for) \
    X(apply) X(pullback) X(row_norms) X(column_norms) X(dot) X(exp) X(erf) X(log) \
    X(log_sum_exp) X(shares) X(keep) X(rotate) X(read_tensor) X(load_setting) X(save_folder) \
    X(sentences) X(read_sentences) X(token_bytes) X(save_file) X(token_ids) \
    X(accumulator_records) X(accumulate_record) X(accumulated_records) X(place) X(tanh) \
    X(read_entry) X(document_name) X(apply_outputs) X(reductions) \
    X(prefix) X(matrix_rows) X(repeated) \
    X(shards_open) X(shards_rows) X(shards_write) X(shards_close) X(example) X(source_row) \
    X(read_note) X(save_tensors) \
    X(dictionary_open) X(dictionary_encode) X(dictionary_decode) X(dictionary_vectors) \
    X(dictionary_skip) \
    X(prepare_gradients) X(gradients) X(pullback_outputs) X(panel_products) X(head_writes) \
    X(whole_set) X(foretell)
// clang-format on

Test(abi, the_hosts_table_only_grows_at_its_end) {
    size_t place = 2 * sizeof(uint32_t); /* struct_size, abi */
    cr_assert_eq(PSC_PLUGIN_ABI, 2);
#define CHECK(name)                                                                                \
    cr_assert_eq(offsetof(psc_host, name), place, #name " has moved");                             \
    place += sizeof(void (*)(void));
    HOST_MEMBERS(CHECK)
    cr_assert_eq(sizeof(psc_host), place, "a new member of psc_host is missing here");
}

Test(abi, a_plugins_description_stays) {
    const size_t pointer = sizeof(void *);
    cr_assert_eq(offsetof(psc_plugin, name), 8);
    cr_assert_eq(offsetof(psc_plugin, points), 8 + 3 * pointer);
    cr_assert_eq(offsetof(psc_plugin, options), 8 + 4 * pointer);
    cr_assert_eq(offsetof(psc_plugin, phases), 8 + 5 * pointer);
    cr_assert_eq(offsetof(psc_plugin, open), 8 + 6 * pointer);
    cr_assert_eq(offsetof(psc_plugin, close), 8 + 10 * pointer);
    cr_assert_eq(offsetof(psc_plugin, needs_bos), 8 + 11 * pointer);
    cr_assert_eq(offsetof(psc_plugin, corpus), 16 + 11 * pointer); /* not in earlier padding */
    cr_assert_eq(offsetof(psc_plugin, takes_source), 16 + 12 * pointer);
}

Test(abi, a_variant_grows_at_its_end) {
    cr_assert_eq(offsetof(psc_variant, n_changes), 4);
    cr_assert_eq(offsetof(psc_variant, changes), 8);
    cr_assert_eq(offsetof(psc_variant, row_end), 8 + sizeof(void *));
    cr_assert_eq(offsetof(psc_variant, n_token_ids), 8 + 3 * sizeof(void *));
    cr_assert_eq(offsetof(psc_variant, token_ids), 8 + 4 * sizeof(void *));
}

/* A new member never takes the padding at the end of a released structure: an older caller's
 * struct_size covers that padding, whose contents are undefined. */
Test(abi, run_options_grow_behind_their_padding) {
    const size_t released = offsetof(psc_run_options, bos) + sizeof(void *);
    cr_assert_geq(offsetof(psc_run_options, sentences), released);
    cr_assert_geq(offsetof(psc_run_options, n_sentences), released);
}

/* Structures without struct_size: a plugin strides over them. */
Test(abi, fixed_structures_keep_their_sizes) {
    cr_assert_eq(sizeof(psc_row), 28);
    cr_assert_eq(sizeof(psc_view), 80);
    cr_assert_eq(sizeof(psc_target), 24);
    cr_assert_eq(sizeof(psc_option_description), 56);
    cr_assert_eq(sizeof(psc_range), 8);
    cr_assert_eq(sizeof(psc_word), 72);
    cr_assert_eq(sizeof(psc_sentence), 56);
}
