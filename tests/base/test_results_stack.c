/* Stacked results: every array against a loop over the single results, values, what is left out,
 * refusals; a stack and a copy outlive what they were made of. */
#include "results_fixture.h"

static psc_results *one[3], *stack;
static const char *const labels[] = {"step0", "step64", "main"};
static psc_error error;

static void refused(psc_status status, psc_status expected, const char *words) {
    REFUSED(status, expected, words);
    cr_assert_null(stack);
}

static const psc_results *const *given(void) {
    return (const psc_results *const *)one;
}

static void open_three(void) {
    static const int32_t zero = 0;
    for (int k = 0; k < 3; k++) {
        one[k] = make_results();
        GIVES(psc_section_add_numbers(&one[k]->sections[1], "x", 1, &zero));
        for (int i = 0; i < one[k]->n_arrays; i++) {
            psc_stored_array *array = &one[k]->arrays[i];
            if (array->view.element == PSC_F32) ((float *)array->view.data)[0] += (float)k;
            if (array->view.element == PSC_F64) ((double *)array->view.data)[0] += k;
        }
    }
}

static void close_all(void) {
    for (int k = 0; k < 3; k++) psc_results_close(&one[k]);
    psc_results_close(&stack);
}

TestSuite(stack, .init = open_three, .fini = close_all);

static psc_array array_of(const char *name) {
    psc_array array;
    GIVES(psc_results_find_array(&array, stack, name, &error));
    return array;
}

Test(stack, arrays_and_captures_gain_an_axis) {
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    int seen = 0;
    for (int i = 0; i < one[0]->n_arrays; i++) {
        const psc_stored_array *first = &one[0]->arrays[i];
        psc_array all = array_of(first->view.name);
        cr_assert_eq(all.n_axes, first->view.n_axes + 1);
        cr_assert_eq(all.shape[0], 3);
        cr_assert_eq(all.element, first->view.element);
        if (first->section >= 0) cr_assert_str_eq(all.axes[0], "checkpoints");
        if (first->section < 0) cr_assert_null(all.axes[0]);
        for (int a = 0; a < first->view.n_axes; a++) {
            cr_assert_eq(all.shape[a + 1], first->view.shape[a]);
            if (first->section >= 0) cr_assert_str_eq(all.axes[a + 1], first->view.axes[a]);
        }
        for (int k = 0; k < 3; k++)
            cr_assert_eq(memcmp((const char *)all.data + (size_t)k * first->bytes,
                             one[k]->arrays[i].view.data, (size_t)first->bytes),
                0, "%s of %s", first->view.name, labels[k]);
        seen++;
    }
    cr_assert_eq(seen, 4);
    psc_result_axis axis;
    for (int32_t s = 0; s < 3; s++) {
        GIVES(psc_results_find_axis(&axis, stack, s, "checkpoints", &error));
        for (int k = 0; k < 3; k++) cr_assert_str_eq(axis.labels[k], labels[k]);
    }
}

Test(stack, steps_and_models) {
    one[1]->model.hash = "beef";
    one[2]->model.path = "another/folder";
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    GIVES(psc_results_section_at(&section, stack, 0, &error));
    cr_assert_str_eq(section.name, "checkpoints");
    const double *steps = array_of("checkpoints.step").data;
    cr_assert(steps[0] == 0 && steps[1] == 64 && isnan(steps[2]));
    psc_result_value hashes;
    GIVES(psc_results_find_value(&hashes, stack, 0, "hashes", &error));
    cr_assert(hashes.n == 3 && strcmp(hashes.texts[1], "beef") == 0);
    psc_result_model model = PSC_RESULT_MODEL_INIT;
    GIVES(psc_results_get_model(&model, stack, &error));
    cr_assert_str_eq(model.path, "another/folder", "the head is the last result's");
    char *text = NULL;
    GIVES(psc_results_write_memory(&text, NULL, stack, PSC_FORMAT_TEXT, NULL, &error));
    cr_assert(strstr(text, "The same weights (equal hash): step0, main."), "%s", text);
    psc_free(text);
}

Test(stack, values) {
    GIVES(psc_section_add_text(&one[0]->sections[1], "kind", "a"));
    GIVES(psc_section_add_text(&one[1]->sections[1], "kind", "b"));
    GIVES(psc_section_add_text(&one[2]->sections[1], "kind", "a"));
    for (int k = 0; k < 3; k++) {
        psc_section *section = &one[k]->sections[1];
        GIVES(psc_section_add_number(section, "loss", 3.5 - k));
        for (int i = 0; i < 2; i++) GIVES(psc_section_append_number(section, "list", 10 * k + i));
        for (int i = 0; i <= k; i++) GIVES(psc_section_append_number(section, "grows", i));
        if (k < 2) GIVES(psc_section_add_number(section, "some", k));
    }
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    const double *loss = array_of("ln.loss").data;
    cr_assert(loss[0] == 3.5 && loss[1] == 2.5 && loss[2] == 1.5);
    psc_array list = array_of("ln.list");
    cr_assert(list.n_axes == 2 && list.shape[1] == 2 && strcmp(list.axes[1], "list.entries") == 0);
    for (int i = 0; i < 6; i++) cr_assert_eq(((const double *)list.data)[i], 10 * (i / 2) + i % 2);
    psc_result_value value;
    int32_t section = -1;
    GIVES(psc_results_find_section(&section, stack, "ln", &error));
    GIVES(psc_results_find_value(&value, stack, section, "kind", &error));
    cr_assert(value.kind == PSC_VALUE_TEXTS && value.n == 3 && strcmp(value.texts[1], "b") == 0);
    const double *nothing = array_of("logits.nothing").data;
    cr_assert(isnan(nothing[0]) && isnan(nothing[2]));
    GIVES(psc_results_find_section(&section, stack, "logits", &error));
    GIVES(psc_results_find_value(&value, stack, section, "note", &error));
    cr_assert_eq(value.kind, PSC_VALUE_TEXT, "a text that is the same stays one");
    GIVES(psc_results_find_value(&value, stack, section, "errors", &error));
    cr_assert(value.kind == PSC_VALUE_NUMBERS && value.n == 3, "so does a list");
    GIVES(psc_results_find_value(&value, stack, 0, "left_out", &error));
    cr_assert_eq(value.n, 2);
    cr_assert(strstr(value.texts[0], "ln.grows: ") && strstr(value.texts[1], "ln.some: "));
}

Test(stack, what_differs_is_left_out_by_name) {
    static const int32_t numbers[2][2] = {{0, 1}, {0, 2}};
    GIVES(psc_results_add_file(one[0], "graph.json", "{}", 2, &error));
    for (int k = 0; k < 3; k++) { /* the axis has other entries in one of them */
        GIVES(psc_section_add_numbers(&one[k]->sections[1], "nodes", 2, numbers[k == 1]));
        add_array(one[k], 1, "on_nodes", PSC_F64, 2, 2, "nodes");
        add_array(one[k], 1, "wide", PSC_F64, 1, k == 2 ? 2 : 1, "x");
        add_array(one[k], 1, "typed", k == 2 ? PSC_F32 : PSC_F64, 1, 1, "x");
        if (k < 2) add_array(one[k], 1, "two_have_it", PSC_F64, 1, 1, "x");
    }
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    static const char *const gone[] = {"on_nodes", "wide", "typed", "two_have_it", "graph.json"};
    psc_result_value left_out;
    GIVES(psc_results_find_value(&left_out, stack, 0, "left_out", &error));
    cr_assert_eq(left_out.n, 5);
    for (int i = 0; i < 5; i++) cr_assert(strstr(left_out.texts[i], gone[i]), "%s", gone[i]);
    cr_assert_eq(psc_results_file_count(stack), 0);
    array_of("ln.mean");
}

Test(stack, outlives_what_it_was_made_of) {
    char *path = strdup("a/path");
    psc_results *copy = NULL;
    one[2]->model.path = path;
    GIVES(psc_results_copy(&copy, one[2], &error));
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    char *before = NULL, *after = NULL;
    GIVES(psc_results_write_memory(&before, NULL, one[2], PSC_FORMAT_JSON, NULL, &error));
    for (int k = 0; k < 3; k++) psc_results_close(&one[k]);
    memset(path, '?', strlen(path));
    free(path);
    GIVES(psc_results_write_memory(&after, NULL, copy, PSC_FORMAT_JSON, NULL, &error));
    cr_assert_str_eq(before, after);
    psc_results_close(&copy);
    psc_result_token token;
    GIVES(psc_results_token_at(&token, stack, 0, &error));
    cr_assert_eq(memcmp(token.bytes, "The", 3), 0);
    psc_free(before);
    psc_free(after);
}

Test(stack, refuses) {
    static const char *const twice[] = {"step0", "step1", "step0"};
    static const char *const missing[] = {"step0", NULL, "step2"};
    psc_results *empty = NULL, *of_two = NULL;
    refused(psc_results_stack(&stack, given(), labels, 0, &error), PSC_ERROR_INPUT, "no results");
    refused(psc_results_stack(&stack, given(), twice, 3, &error), PSC_ERROR_INPUT,
        "'step0' is given twice");
    refused(psc_results_stack(&stack, given(), missing, 3, &error), PSC_ERROR_INPUT, "no label");
    GIVES(psc_results_open(&empty, &error));
    const psc_results *with_empty[] = {one[0], empty};
    refused(psc_results_stack(&stack, with_empty, labels, 2, &error), PSC_ERROR_STATE, "step64");
    psc_results_close(&empty);
    GIVES(psc_results_stack(&of_two, given(), labels, 2, &error));
    const psc_results *again[] = {of_two};
    refused(psc_results_stack(&stack, again, labels, 1, &error), PSC_ERROR_INPUT,
        "already have checkpoints");
    psc_results_close(&of_two);
    one[1]->tokens[2].id = 8;
    refused(
        psc_results_stack(&stack, given(), labels, 3, &error), PSC_ERROR_INPUT, "different tokens");
    one[1]->tokens[2].id = 7;
    one[2]->has_corpus = true;
    refused(psc_results_stack(&stack, given(), labels, 3, &error), PSC_ERROR_INPUT,
        "different documents");
}

/* Results that a folder can hold: the shapes are those of the axes. */
static psc_results *readable(int k) {
    static const int32_t rows[] = {0, 2};
    psc_results *results = NULL;
    GIVES(psc_results_open(&results, &error));
    add_head(results);
    psc_section *section = psc_results_add_section(results, "ln", "2");
    GIVES(psc_section_add_numbers(section, "rows", 2, rows));
    GIVES(psc_section_add_number(section, "loss", k));
    ((double *)add_array(results, 0, "mean", PSC_F64, 2, 2, "rows"))[3] = k;
    add_array(results, -1, "blocks.0.hook_attn_out", PSC_F32, 2, 3, NULL);
    return results;
}

Test(stack, round_trip) {
    char folder[] = "/tmp/psc-stack-XXXXXX", command[64], *before = NULL, *after = NULL;
    psc_results *made[] = {readable(0), readable(1), readable(2)}, *read = NULL;
    psc_array array;
    cr_assert(mkdtemp(folder));
    GIVES(psc_results_stack(&stack, (const psc_results *const *)made, labels, 3, &error));
    GIVES(psc_results_write_folder(stack, folder, &error));
    GIVES(psc_results_read_folder(&read, folder, &error));
    GIVES(psc_results_write_memory(&before, NULL, stack, PSC_FORMAT_JSON, NULL, &error));
    GIVES(psc_results_write_memory(&after, NULL, read, PSC_FORMAT_JSON, NULL, &error));
    cr_assert_str_eq(before, after);
    GIVES(psc_results_find_array(&array, read, "ln.mean", &error));
    cr_assert(array.n_axes == 3 && ((const double *)array.data)[11] == 2);
    GIVES(psc_results_find_array(&array, read, "blocks.0.hook_attn_out", &error));
    cr_assert_eq(array.n_axes, 3);
    psc_free(before);
    psc_free(after);
    psc_results_close(&read);
    for (int k = 0; k < 3; k++) psc_results_close(&made[k]);
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

/* --- targets --------------------------------------------------------------------------------- */

static void give_targets(psc_results *results, int k, const char *second) {
    psc_result_target *targets = psc_results_make_targets(results, 3);
    cr_assert(targets);
    targets[0] = (psc_result_target){.row = 0, .id = 1, .minus_id = -1, .name = "top:1", .p = 0.9};
    targets[1] = (psc_result_target){.row = 2,
        .id = 4 + k,
        .minus_id = -1,
        .rank = 1,
        .name = "top:1",
        .text = k ? " dog" : " cat",
        .p = 0.25 * (k + 1),
        .logit = 2.0 + k};
    targets[2] = (psc_result_target){.row = 2,
        .id = 5,
        .minus_id = 6,
        .rank = 3,
        .name = second,
        .text = " he",
        .minus_text = " she",
        .p = 0.1,
        .logit = 3.0 + k,
        .minus_logit = 1.0};
    results->n_targets = 3;
}

Test(stack, targets_of_the_last_row) {
    char *text = NULL;
    for (int k = 0; k < 3; k++) give_targets(one[k], k, "' he' - ' she'");
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    const double *p = array_of("checkpoints.target_p").data;
    const double *logits = array_of("checkpoints.target_logit").data;
    const int32_t *ids = array_of("checkpoints.target_ids").data;
    const int32_t *ranks = array_of("checkpoints.target_rank").data;
    for (int k = 0; k < 3; k++) {
        cr_assert(p[2 * k] == 0.25 * (k + 1) && ids[2 * k] == 4 + k && ranks[2 * k] == 1);
        cr_assert(isnan(p[2 * k + 1]) && ranks[2 * k + 1] == -1, "a contrast has neither");
        cr_assert(logits[2 * k] == 2.0 + k && logits[2 * k + 1] == 2.0 + k);
    }
    GIVES(psc_results_write_memory(&text, NULL, stack, PSC_FORMAT_TEXT, NULL, &error));
    cr_assert(strstr(text, "p of top:1 at @2") && strstr(text, "step64 ' dog'"), "%s", text);
    psc_free(text);
}

Test(stack, other_targets_are_not_compared) {
    psc_array array;
    for (int k = 0; k < 3; k++) give_targets(one[k], k, k == 1 ? "' a' - ' b'" : "' he' - ' she'");
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    cr_assert_eq(
        psc_results_find_array(&array, stack, "checkpoints.target_p", NULL), PSC_ERROR_INPUT);
}

/* The table: of heads the largest, and a number for each checkpoint. */
Test(stack, a_line_per_checkpoint) {
    static const int32_t numbers[] = {0, 1};
    for (int k = 0; k < 3; k++) {
        psc_section *section = psc_results_add_section(one[k], "attention", "1");
        GIVES(psc_section_add_numbers(section, "layers", 2, numbers));
        GIVES(psc_section_add_numbers(section, "heads", 2, numbers));
        GIVES(psc_section_add_number(section, "loss", 2.5 - k));
        GIVES(psc_section_add_number(section, "same", 7));
        const char *axes[] = {"layers", "heads"};
        const int64_t shape[] = {2, 2};
        psc_stored_array *scores =
            psc_results_add_array(one[k], 2, "scores", PSC_F64, 2, axes, shape, true, &error);
        ((double *)scores->view.data)[k] = -0.5 - k; /* L0H0, L0H1, L1H0; the others are NaN */
    }
    char *text = NULL;
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    GIVES(psc_results_write_memory(&text, NULL, stack, PSC_FORMAT_TEXT, NULL, &error));
    static const char *const lines[] = {"checkpoint  loss     scores\n",
        "step0        2.5  L0H0 -0.5\n", "step64       1.5  L0H1 -1.5\n",
        "main         0.5  L1H0 -2.5\n"};
    for (int i = 0; i < 4; i++)
        cr_assert(strstr(text, lines[i]), "%s is not in\n%s", lines[i], text);
    psc_free(text);
}

/* Of an axis that is not of heads, neurons or components all checkpoints show the same entry: the
 * total, or the largest of the last checkpoint. The head names it; no word is cut. */
Test(stack, a_column_is_of_one_entry) {
    static const char *const kinds[] = {"without_positions", "all"}, *sites[] = {"0_pre", "1_pre"};
    const double numbers[3][2] = {{1, 9}, {8, 2}, {4, 3}};
    const char *const axes[] = {"kinds", "places"};
    const int64_t two = 2;
    for (int k = 0; k < 3; k++) {
        psc_section *section = psc_results_add_section(one[k], "lens", "1");
        GIVES(psc_section_add_labels(one[k], section, "kinds", 2, kinds));
        GIVES(psc_section_add_labels(one[k], section, "places", 2, sites));
        GIVES(psc_section_add_number(section, "absolute_share_of_all_components", 1 + k));
        for (int i = 0; i < 2; i++) {
            psc_stored_array *array = psc_results_add_array(
                one[k], 2, i ? "norm" : "entropy", PSC_F64, 1, &axes[i], &two, true, &error);
            memcpy((double *)array->view.data, numbers[k], sizeof numbers[k]);
        }
    }
    char *text = NULL;
    GIVES(psc_results_stack(&stack, given(), labels, 3, &error));
    GIVES(psc_results_write_memory(&text, NULL, stack, PSC_FORMAT_TEXT, NULL, &error));
    static const char *const lines[] = {
        "checkpoint  absolute_share_of_all_components  entropy all  norm 0_pre\n",
        "            9           1\n", "            2           8\n",
        "            3           4\n"};
    for (int i = 0; i < 4; i++)
        cr_assert(strstr(text, lines[i]), "%s is not in\n%s", lines[i], text);
    psc_free(text);
}
