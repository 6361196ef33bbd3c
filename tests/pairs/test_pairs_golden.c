/* Values per pair of the embedded model against TransformerLens, run on one prompt each: patched heads,
 * and rows that are aligned from the end and by spans (tests/tools/make_pairs_golden.py). */
#include "golden.h"
#include "pairs_fixture.h"

#define TOLERANCE 2e-4

static psc_tensors *golden;

static void open_embedded(void) {
    if (!golden_embedded()) cr_skip_test("the embedded model has no weights yet");
    golden = golden_open(PSC_SOURCE_DIR "/tests/golden/pairs/pronouns.safetensors");
    model = must_model(golden_embedded());
}

static void close_embedded(void) {
    psc_tensors_close(&golden);
    pairs_fixture_close();
}

TestSuite(pairs_golden, .init = open_embedded, .fini = close_embedded);

static void read_file(const char *path, int32_t align) {
    static char text[1 << 16];
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    must_read_pairs(text, align);
}

/* The plugins of the session over the set. */
static psc_results *run_pairs(void) {
    psc_pairs_run_options options = PSC_PAIRS_RUN_OPTIONS_INIT;
    psc_results *results = NULL;
    options.draws = -1;
    cr_assert_eq(
        psc_pairs_run(&results, session, pairs, &options, &error), PSC_OK, "%s", error.message);
    return results;
}

/* The array's n elements against the golden tensor's. */
static void expect_near(
    const psc_results *results, const char *name, const char *tensor, size_t n) {
    const psc_array array = array_of(results, name);
    const double *values = array.data;
    double *expected = golden_f64(golden_find(golden, tensor), n);
    cr_assert(array.element == PSC_F64 && bytes_of(&array) == n * sizeof *values);
    for (size_t i = 0; i < n; i++)
        cr_assert_float_eq(values[i], expected[i], TOLERANCE, "%s, element %zu: %.6f, not %.6f",
            name, i, values[i], expected[i]);
    free(expected);
}

Test(pairs_golden, patched_heads) {
    read_file(PSC_SOURCE_DIR "/models/pairs/pronouns.jsonl", PSC_ALIGN_EQUAL);
    open_for_pairs(9, 2, 0);
    must_load("sweep", "over=heads,do=patch");
    psc_results *sweep = run_pairs();
    expect_near(sweep, "sweep.effect", "sweep", 24 * 32);
    psc_results_close(&sweep);
    open_for_pairs(9, 2, 0);
    must_load("patch", "at=L1H0");
    must_load("effects", NULL);
    psc_results *effects = run_pairs();
    expect_near(effects, "effects.base_value", "base_value", 24);
    expect_near(effects, "effects.source_value", "source_value", 24);
    psc_results_close(&effects);
}

static void check_rows(int32_t align, const char *tensor) {
    read_file(PSC_SOURCE_DIR "/tests/golden/pairs/lengths.jsonl", align);
    open_for_pairs(2, 1, 0);
    must_load("patch", "at=blocks.1.hook_resid_pre");
    must_load("effects", NULL);
    psc_results *results = run_pairs();
    expect_near(results, "effects.dz", tensor, 2);
    psc_results_close(&results);
}

Test(pairs_golden, rows_from_the_end) {
    check_rows(PSC_ALIGN_END, "end");
}

Test(pairs_golden, rows_of_spans) {
    check_rows(PSC_ALIGN_SPANS, "spans");
}
