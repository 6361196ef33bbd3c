/* Stacks at their edges: one result, many, names and labels of every kind, targets that differ;
 * what is left out says why; and the table's columns where an axis is of heads, neurons or
 * layers. */
#include "results_fixture.h"

#include <stdio.h>

enum { MOST = 40 };

static psc_results *one[MOST], *stack;
static char labels[MOST][40];
static const char *label[MOST];
static int n_results;
static psc_error error;
static char *text;

/* n results with a head and one section. */
static void begin(int n) {
    n_results = n;
    for (int k = 0; k < n; k++) {
        snprintf(labels[k], sizeof labels[k], "step%d", k);
        label[k] = labels[k];
        GIVES(psc_results_open(&one[k], &error));
        add_head(one[k]);
        cr_assert(psc_results_add_section(one[k], "part", "1"));
    }
}

static psc_status make(void) {
    return psc_results_stack(&stack, (const psc_results *const *)one, label, n_results, &error);
}

/* The printed stack. */
static const char *printed(void) {
    GIVES(make());
    GIVES(psc_results_write_memory(&text, NULL, stack, PSC_FORMAT_TEXT, NULL, &error));
    return text;
}

static void has(const char *words) {
    cr_assert(strstr(text, words), "'%s' is not in\n%s", words, text);
}

static void has_not(const char *words) {
    cr_assert_not(strstr(text, words), "'%s' is in\n%s", words, text);
}

static void end(void) {
    for (int k = 0; k < n_results; k++) psc_results_close(&one[k]);
    psc_results_close(&stack);
    psc_free(text);
    text = NULL;
}

TestSuite(stack_edges, .fini = end);

/* An array of section 0 of result k, of the axes named, filled with base, base + 1, .. */
static void array_of(int k, const char *key, int n_axes, const char *const *axes, double base) {
    int64_t shape[4], size = 1;
    const psc_section *section = &one[k]->sections[0];
    for (int i = 0; i < n_axes; i++) size *= shape[i] = psc_section_axis_named(section, axes[i])->n;
    psc_stored_array *array =
        psc_results_add_array(one[k], 0, key, PSC_F64, n_axes, axes, shape, true, &error);
    cr_assert(array, "%s", error.message);
    for (int64_t i = 0; i < size; i++) ((double *)array->view.data)[i] = base + (double)i;
}

static void axis_of(int k, const char *name, int n, const char *const *names) {
    static const int32_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7};
    psc_section *section = &one[k]->sections[0];
    if (names)
        GIVES(psc_section_add_labels(one[k], section, name, n, names));
    else
        GIVES(psc_section_add_numbers(section, name, n, numbers));
}

static void left_out(int i, const char *sentence) {
    psc_result_value value;
    GIVES(psc_results_find_value(&value, stack, 0, "left_out", &error));
    cr_assert_gt(value.n, i);
    cr_assert_str_eq(value.texts[i], sentence);
}

/* --- one, many ------------------------------------------------------------------------------- */

Test(stack_edges, one_result) {
    begin(1);
    GIVES(psc_section_add_number(&one[0]->sections[0], "loss", 2.5));
    printed();
    has("1 checkpoint: step0.");
    has("step0        2.5\n");
    has_not(" to ");
}

Test(stack_edges, many_results_show_evenly_spaced_ones) {
    begin(MOST);
    for (int k = 0; k < MOST; k++)
        GIVES(psc_section_add_number(&one[k]->sections[0], "loss", 100 - k));
    printed();
    has("40 checkpoints: step0 to step39.");
    has("step0        100\n");
    has("step39        61\n");
    has("The same weights (equal hash): step0, step1,");
    int lines = 0;
    for (const char *at = strstr(text, "checkpoint  loss"); (at = strstr(at, "\n  step")); at++)
        lines++;
    cr_assert(lines == 24, "%d lines\n%s", lines, text);
}

Test(stack_edges, labels_that_are_long) {
    begin(3);
    for (int k = 0; k < 3; k++) {
        snprintf(labels[k], sizeof labels[k], "%s-checkpoint-number",
            k == 1 ? "b"
            : k    ? "cc"
                   : "aaa");
        GIVES(psc_section_add_number(&one[k]->sections[0], "loss", k));
    }
    printed();
    has("aaa-checkpoint-numbe     0\n");
    psc_array step;
    GIVES(psc_results_find_array(&step, stack, "checkpoints.step", &error));
    cr_assert(isnan(((const double *)step.data)[0]), "no digits at the end of the name");
}

Test(stack_edges, labels_of_digits_or_nothing) {
    begin(2);
    snprintf(labels[0], sizeof labels[0], "12");
    printed();
    psc_array step;
    GIVES(psc_results_find_array(&step, stack, "checkpoints.step", &error));
    cr_assert(((const double *)step.data)[0] == 12 && ((const double *)step.data)[1] == 1);
    psc_results_close(&stack);
    snprintf(labels[1], sizeof labels[1], "step/");
    GIVES(make());
    GIVES(psc_results_find_array(&step, stack, "checkpoints.step", &error));
    cr_assert(isnan(((const double *)step.data)[1]));
    psc_results_close(&stack);
    labels[1][0] = 0;
    cr_assert_eq(make(), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, "result 1 has no label; give each checkpoint a name");
    cr_assert_eq(psc_results_stack(&stack, (const psc_results *const *)one, label, 2, NULL),
        PSC_ERROR_INPUT, "without an error's place");
}

/* The name of all is the part before '@' that they share. */
static void named(const char *first, const char *second, const char *expected) {
    psc_result_model model = PSC_RESULT_MODEL_INIT;
    one[0]->model.name = first;
    one[1]->model.name = second;
    GIVES(make());
    GIVES(psc_results_get_model(&model, stack, &error));
    cr_assert_str_eq(model.name, expected);
    psc_results_close(&stack);
}

Test(stack_edges, names_of_models) {
    begin(2);
    named("pythia@step0", "pythia@step1", "pythia@step0...step1 (2 checkpoints)");
    named("pythia@step0", "python@step1", "python@step1");
    named("pythia", "pythia@step1", "pythia@step1");
    named("pythia@step0", "pythia", "pythia");
    n_results = 1;
    named("pythia@step0", NULL, "pythia@step0");
    n_results = 2;
}

/* --- what cannot be stacked ------------------------------------------------------------------ */

Test(stack_edges, tokens_and_corpora_that_differ) {
    begin(2);
    one[1]->n_tokens = 2;
    cr_assert_eq(make(), PSC_ERROR_INPUT);
    cr_assert_str_eq(
        error.message, "step0 and step1 have different tokens; stack results of one text");
    one[1]->n_tokens = 3;
    psc_result_token *tokens = one[1]->tokens;
    tokens[1].sequence = 1;
    cr_assert_eq(make(), PSC_ERROR_INPUT);
    tokens[1].sequence = 0;
    tokens[1].position = 2;
    cr_assert_eq(make(), PSC_ERROR_INPUT);
    tokens[1].position = 1;
    for (int i = 0; i < 2; i++) {
        one[0]->has_corpus = one[1]->has_corpus = true;
        one[1]->corpus.tokens = i ? 0 : 5;
        one[1]->corpus.documents = i ? 5 : 0;
        cr_assert_eq(make(), PSC_ERROR_INPUT);
        cr_assert_str_eq(
            error.message, "step0 and step1 read different documents; stack results of one corpus");
    }
}

Test(stack_edges, results_that_have_an_axis_of_checkpoints) {
    static const char *const names[] = {"a", "b"};
    begin(2);
    axis_of(1, "checkpoints", 2, names);
    cr_assert_eq(make(), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message,
        "the results of step1 already have checkpoints; stack results of one model each");
}

Test(stack_edges, what_is_left_out_says_why) {
    static const char *const x[] = {"x"}, *const y[] = {"y"}, *const names[] = {"a", "b"},
                             *const others[] = {"a", "c"};
    begin(2);
    cr_assert(psc_results_add_section(one[0], "only", "1"));
    for (int k = 0; k < 2; k++) {
        axis_of(k, "x", 2, NULL);
        axis_of(k, "y", 2 + k, NULL);         /* another length */
        axis_of(k, "z", 2, k ? NULL : names); /* labels, or numbers */
        axis_of(k, "w", 2, k ? others : names);
        if (k == 0) axis_of(k, "v", 2, NULL);
        array_of(k, "on_y", 1, y, 0);
        array_of(k, "ids", 1, x, 0);
        array_of(k, "axes", 1, k ? (const char *const[]){"w"} : x, 0);
        one[k]->arrays[1].token_ids = k == 0;
        add_array(one[k], -1, "captured", PSC_F32, 2, 3 + k, NULL);
        if (k == 0) add_array(one[k], -1, "single", PSC_F32, 2, 3, NULL);
    }
    GIVES(make());
    left_out(0, "part.on_y: its axes differ from checkpoint to checkpoint");
    left_out(1, "part.ids: its type differs from checkpoint to checkpoint");
    left_out(2, "part.axes: its shape differs from checkpoint to checkpoint");
    left_out(3, "only: not every checkpoint has it");
    left_out(4, "captured: its shape differs from checkpoint to checkpoint");
    left_out(5, "single: not every checkpoint has it");
    GIVES(psc_results_write_memory(&text, NULL, stack, PSC_FORMAT_TEXT, NULL, &error));
    has("Not stacked: part.on_y: its axes differ");
    has("it; 2\n  more in the list left_out of results.json.");
}

Test(stack_edges, an_array_of_six_axes) {
    static const char *const axes[] = {"x", "x", "x", "x", "x", "x"};
    begin(2);
    for (int k = 0; k < 2; k++) {
        const int64_t shape[] = {1, 1, 1, 1, 1, 1};
        axis_of(k, "x", 1, NULL);
        cr_assert(psc_results_add_array(one[k], 0, "deep", PSC_F64, 6, axes, shape, true, &error));
    }
    GIVES(make());
    left_out(0, "part.deep: it has 6 axes");
}

Test(stack_edges, a_name_that_is_a_section_array_here_and_a_capture_there) {
    static const char *const x[] = {"x"};
    begin(2);
    for (int k = 0; k < 2; k++) axis_of(k, "x", 2, NULL);
    array_of(0, "a", 1, x, 0);
    add_array(one[1], -1, "part.a", PSC_F64, 2, 1, NULL);
    GIVES(make());
    left_out(0, "part.a: not every checkpoint has it");
}

/* --- values ---------------------------------------------------------------------------------- */

Test(stack_edges, values_that_differ) {
    static const char *const x[] = {"x"};
    begin(3);
    for (int k = 0; k < 3; k++) {
        psc_section *section = &one[k]->sections[0];
        axis_of(k, "x", 2, NULL);
        if (k == 1)
            GIVES(psc_section_add_text(section, "kind", "a"));
        else
            GIVES(psc_section_add_number(section, "kind", 1));
        GIVES(psc_section_append_text(section, "words", k ? "b" : "a"));
        for (int i = 0; i < 2; i++) GIVES(psc_section_append_number(section, "same", i ? NAN : 1));
        for (int i = 0; i < 2; i++) GIVES(psc_section_append_number(section, "list", i ? NAN : k));
        array_of(k, "twice", 1, x, 0);
        GIVES(psc_section_add_number(section, "twice", k));
    }
    GIVES(make());
    left_out(0, "part.kind: not every checkpoint has it");
    left_out(1, "part.words: its entries differ from checkpoint to checkpoint");
    left_out(2, "part.twice: an array of the same name takes its place");
    psc_result_value same;
    GIVES(psc_results_find_value(&same, stack, 1, "same", &error));
    cr_assert(same.n == 2 && isnan(same.numbers[1]), "NaN is as NaN");
    psc_array list;
    GIVES(psc_results_find_array(&list, stack, "part.list", &error));
    cr_assert(list.n_axes == 2 && ((const double *)list.data)[2] == 1);
}

/* --- targets --------------------------------------------------------------------------------- */

static psc_result_target *targets_of(int k, int n) {
    psc_result_target *targets = psc_results_make_targets(one[k], n);
    cr_assert(targets);
    for (int i = 0; i < n; i++)
        targets[i] = (psc_result_target){.struct_size = sizeof *targets,
            .row = 2,
            .id = 3 + i,
            .minus_id = -1,
            .name = i == 0   ? "' cat'"
                    : i == 1 ? "#4"
                             : "top:1",
            .text = i == 0   ? " cat"
                    : i == 1 ? NULL
                             : " dog",
            .p = 0.1 * (k + 1),
            .logit = k};
    one[k]->n_targets = n;
    return targets;
}

Test(stack_edges, targets_with_and_without_a_text) {
    begin(2);
    for (int k = 0; k < 2; k++) {
        targets_of(k, 4);
        one[k]->targets[3].id = -1;
    }
    one[0]->tokens[2].bytes = NULL;
    one[1]->tokens[2].bytes = NULL;
    printed();
    has("p of ' cat' at @2");
    has("p of #4 at @2");
    has("p of ' dog' (top:1) at @2");
}

Test(stack_edges, targets_of_a_row_beyond_the_tokens) {
    begin(2);
    for (int k = 0; k < 2; k++) targets_of(k, 1)->row = 9;
    printed();
    has("p of ' cat' at @9\n");
}

static void not_compared(void) {
    psc_array array;
    GIVES(make());
    cr_assert_eq(
        psc_results_find_array(&array, stack, "checkpoints.target_p", NULL), PSC_ERROR_INPUT);
    psc_results_close(&stack);
}

Test(stack_edges, other_numbers_of_targets_are_not_compared) {
    begin(2);
    targets_of(0, 2);
    targets_of(1, 3);
    not_compared();
    targets_of(1, 1);
    not_compared();
    one[1]->n_targets = 0;
    not_compared();
}

/* More targets than are stacked: the first 64, bars for three of them. */
Test(stack_edges, many_targets) {
    psc_array array;
    begin(2);
    for (int k = 0; k < 2; k++) {
        psc_result_target *targets = targets_of(k, 70);
        for (int i = 0; i < 70; i++) targets[i].name = i % 2 ? "b" : "a";
    }
    GIVES(make());
    GIVES(psc_results_find_array(&array, stack, "checkpoints.target_p", &error));
    cr_assert_eq(array.shape[1], 64);
}

/* --- columns --------------------------------------------------------------------------------- */

static const char *const heads[] = {"L0H0", "L0H1", "L1H0"};

Test(stack_edges, columns_of_parts_of_the_model) {
    static const char *const components[] = {"embed", "0_mlp_out", "bias"};
    static const char *const neurons[] = {"L0N5", "L10N7", "L2N0"};
    static const char *const named[] = {"Lx", "L1", "M"}, *const units[] = {"a", "b", "c"};
    static const char *const *const entries[] = {heads, components, neurons, named, units};
    static const char *const axes[] = {"parts", "components", "some", "other", "neurons"};
    begin(2);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 5; i++) {
            char key[2] = {(char)('a' + i), 0};
            axis_of(k, axes[i], 3, entries[i]);
            array_of(k, key, 1, &axes[i], k + 1);
        }
    printed();
    has("L1H0 +3"); /* each checkpoint's largest, by its name */
    has("bias +3");
    has("L2N0 +4");
    has("c +3");
    has("d M"); /* an axis of other things: the same entry for all */
}

Test(stack_edges, columns_of_layers_heads_and_parts) {
    static const char *const kinds[] = {"q", "k"}, *const many[] = {"a", "b", "c", "d", "e"};
    static const char *const lhp[] = {"layers", "heads", "kinds"}, *const layers[] = {"layers"},
                             *const lhm[] = {"layers", "heads", "many"},
                             *const lhx[] = {"layers", "heads", "x"},
                             *const lxh[] = {"layers", "x", "heads"}, *const xy[] = {"x", "x2"};
    begin(2);
    for (int k = 0; k < 2; k++) {
        axis_of(k, "layers", 2, NULL);
        axis_of(k, "heads", 2, NULL);
        axis_of(k, "kinds", 2, kinds);
        axis_of(k, "many", 5, many);
        axis_of(k, "x", 2, NULL);
        axis_of(k, "x2", 3, NULL);
        array_of(k, "lhp", 3, lhp, k);
        array_of(k, "per_layer", 1, layers, k);
        array_of(k, "lhm", 3, lhm, k); /* these have no column */
        array_of(k, "lhx", 3, lhx, k);
        array_of(k, "lxh", 3, lxh, k);
        array_of(k, "xy", 2, xy, k);
    }
    printed();
    has("per_layer layer 1"); /* of layers the same for all: the last one's largest */
    has("L1H1 +6");
    has("L1H1 +7");
    has_not("lhm");
    has_not("lhx");
    has_not("xy");
}

Test(stack_edges, labeled_heads_have_numbers_of_their_own) {
    static const char *const lh[] = {"layers", "heads"}, *const two[] = {"first", "second"};
    begin(2);
    for (int k = 0; k < 2; k++) {
        axis_of(k, "layers", 2, NULL);
        axis_of(k, "heads", 2, two);
        array_of(k, "s", 2, lh, k);
    }
    printed();
    has("L1H1 +3");
    has("L1H1 +4");
}

Test(stack_edges, columns_of_targets) {
    static const char *const two[] = {"' a'", "' b'"}, *const targets[] = {"targets"},
                             *const rows[] = {"rows"}, *const sites[] = {"sites"},
                             *const tr[] = {"targets", "rows"};
    begin(2);
    for (int k = 0; k < 2; k++) {
        axis_of(k, "targets", 2, two);
        axis_of(k, "rows", 3, NULL);
        axis_of(k, "sites", 2, two);
        axis_of(k, "populations", 2, two);
        array_of(k, "by_target", 1, targets, k);
        array_of(k, "by_row", 1, rows, k);
        array_of(k, "by_site", 1, sites, k);
        array_of(k, "both", 2, tr, 10 * k);
        array_of(k, "first", 1, (const char *const[]){"populations"}, 7 + k);
    }
    printed();
    has("checkpoint  by_target  both  by_row  by_site ' b'  first\n");
    has("step1               1    12       3             2      8\n"); /* the first target */
    has("step1               2    15\n");                              /* the second */
}

Test(stack_edges, columns_without_a_number_or_a_change) {
    static const char *const h[] = {"heads"}, *const empty[] = {"none"};
    begin(2);
    for (int k = 0; k < 2; k++) {
        axis_of(k, "heads", 3, heads);
        axis_of(k, "none", 0, NULL);
        array_of(k, "constant", 1, h, 5);
        array_of(k, "partly", 1, h, k ? NAN : 5);
        array_of(k, "nan", 1, h, NAN);
        array_of(k, "empty", 1, empty, 0);
        array_of(k, "tiny", 1, h, NAN);
        ((double *)one[k]->arrays[4].view.data)[0] = 1e-6 * (k + 1);
    }
    printed();
    has_not("tiny");
    has_not("constant");
    has("No one number stands for it");
    psc_results_close(&stack);
    psc_free(text);
    for (int i = 0; i < 3; i++) ((double *)one[1]->arrays[1].view.data)[i] = i ? NAN : 9;
    printed();
    has("partly");
}

/* More columns than fit are left out whole. */
Test(stack_edges, a_narrow_table) {
    char name[64];
    begin(2);
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < 30; i++) {
            snprintf(name, sizeof name, "a_value_with_a_long_name_%d", i);
            GIVES(psc_section_add_number(&one[k]->sections[0], name, k + i));
        }
    printed();
    has("checkpoint  a_value_with_a_long_name_0  a_value_with_a_long_name_1\n");
}
