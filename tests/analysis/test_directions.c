/* The plugin directions against golden figures in float64, bits, refusals, and its file as the
 * editor direction reads it. */
#include "golden.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/directions/parallel_f32.safetensors"
enum { N_FIT = 40, N_ALL = 56, MOST = 8 };

static psc_model *model;
static psc_session *session;
static psc_error error;
static psc_tensors *golden;
static psc_token tokens[N_ALL][MOST];
static int32_t lengths[N_ALL], labels[N_ALL];
static char folder[64], path[96];

static void setup(void) {
    golden = golden_open(GOLDEN);
    model = must_model(golden_path("parallel_f32", NULL));
    const psc_tensor *ids = golden_find(golden, "fit/tokens");
    memcpy(labels, golden_find(golden, "fit/label")->data, sizeof labels);
    for (int32_t i = 0; i < N_ALL; i++)
        for (int32_t t = 0; t < MOST; t++) {
            int32_t id = 0;
            memcpy(&id, ids->data + 4 * (i * MOST + t), 4);
            if (id < 0) continue;
            tokens[i][t] = (psc_token){.id = id};
            lengths[i] = t + 1;
        }
    snprintf(folder, sizeof folder, "/tmp/psc_directions.XXXXXX");
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/fitted.safetensors", folder);
}

static void teardown(void) {
    unlink(path);
    rmdir(folder);
    psc_session_close(&session);
    psc_model_close(&model);
    psc_tensors_close(&golden);
}

TestSuite(directions, .init = setup, .fini = teardown);

typedef struct how {
    const char *isa;
    int32_t threads, chunk, batch;
} how;

static psc_status open_session(const char *options, const char *label_lines, how way) {
    psc_session_options with = PSC_SESSION_OPTIONS_INIT;
    const psc_option given = {"labels", label_lines};
    with.accumulate = 1;
    with.isa = way.isa;
    with.threads = way.threads;
    with.chunk = way.chunk;
    with.n_sequences = way.batch;
    with.capacity = MOST;
    cr_assert_eq(psc_session_open(&session, model, &with, &error), PSC_OK, "%s", error.message);
    return psc_session_plugin_options(session, "directions", options, &given, 1, &error);
}

/* The prompts of one class, trained or held out, `batch` at a time. */
static psc_status run_class(int32_t c, int32_t held, int32_t batch) {
    psc_input inputs[N_ALL];
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    int32_t n = 0;
    psc_status status = PSC_OK;
    run.no_logits = 1;
    run.phase = PSC_PHASE_SOURCE;
    run.source = 2 * c + held;
    for (int32_t i = held ? N_FIT : 0; !status && i < (held ? N_ALL : N_FIT); i++) {
        if (labels[i] != c) continue;
        psc_session_truncate(session, n, 0);
        inputs[n] = (psc_input){n, lengths[i], tokens[i]};
        if (++n < batch) continue;
        status = psc_session_run(session, inputs, n, &run, &error);
        n = 0;
    }
    return status || n == 0 ? status : psc_session_run(session, inputs, n, &run, &error);
}

static void fit(const char *options, int32_t classes, how way) {
    cr_assert_eq(open_session(options, classes == 2 ? "no\nyes" : "a\nb\nc", way), PSC_OK, "%s",
        error.message);
    for (int32_t held = 0; held < 2; held++)
        for (int32_t c = 0; c < classes; c++)
            cr_assert_eq(run_class(c, held, way.batch), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

static const double *array_of(const char *name) {
    psc_array array;
    cr_assert_eq(psc_session_array(session, name, &array, &error), PSC_OK, "%s", error.message);
    return array.data;
}

/* A tensor of the file against the golden figures, relative to the largest of them. */
static void compare(const psc_tensors *saved, const char *set, const char *name, const char *key) {
    char full[64];
    snprintf(full, sizeof full, "fit/%s/%s", set, key);
    const psc_tensor *tensor = psc_tensors_find(saved, name), *want = golden_find(golden, full);
    cr_assert(tensor, "no tensor %s", name);
    const size_t n = want->size / 8;
    float *got = golden_f32(tensor, n);
    double *figures = golden_f64(want, n), most = 0.0;
    for (size_t i = 0; i < n; i++) most = fmax(most, fabs(figures[i]));
    for (size_t i = 0; i < n; i++)
        cr_assert(fabs((double)got[i] - figures[i]) <= 2e-4 * most, "%s %s[%zu]: %g, not %g", set,
            name, i, (double)got[i], figures[i]);
    free(got);
    free(figures);
}

static void check(
    const char *set, const char *prefix, const char *mean, const char *options, int32_t classes) {
    static const char *const keys[] = {
        "mean_difference", "probe", "probe_bias", "means", "components", "explained_variance"};
    char full[600], name[96];
    double accuracy[2];
    snprintf(full, sizeof full, "%s,components=4,save=%s", options, path);
    fit(full, classes, (how){NULL, 2, 0, 3});
    psc_tensors *saved = golden_open(path);
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        snprintf(name, sizeof name, "%s%s", prefix, keys[k]);
        compare(saved, set, name, keys[k]);
    }
    compare(saved, set, mean, "mean");
    psc_tensors_close(&saved);
    snprintf(name, sizeof name, "fit/%s/accuracy", set);
    memcpy(accuracy, golden_find(golden, name)->data, sizeof accuracy);
    cr_assert_float_eq(array_of("directions.accuracy")[0], accuracy[0], 1e-12);
    cr_assert_float_eq(array_of("directions.accuracy_means")[0], accuracy[1], 1e-12);
}

Test(directions, two_classes) {
    check("two", "", "blocks.1.hook_resid_post", "at=blocks.1.hook_resid_post", 2);
}

Test(directions, three_classes_means) {
    check("three", "", "L0H1", "at=L0H1,rows=all,of=mean", 3);
}

Test(directions, all_rows_of_two_places) {
    check("all", "blocks.1.hook_resid_post.", "blocks.1.hook_resid_post",
        "at=blocks.1.hook_resid_post+0_mlp_out,rows=all", 3);
}

/* Batches, threads, chunks and the instruction set change no bit of sums and figures. */
Test(directions, same_bits) {
    static const how ways[] = {
        {NULL, 1, 0, 1}, {NULL, 3, 2, 5}, {"reference", 2, 3, 14}, {NULL, 2, 1, 2}};
    double first[64], again[64];
    for (int w = 0; w < 4; w++) {
        double *to = w ? again : first;
        fit("at=blocks.*.hook_resid_post,rows=all,components=4", 3, ways[w]);
        memcpy(to, array_of("directions.explained"), 8 * sizeof *to);
        memcpy(to + 8, array_of("directions.difference_norm"), 6 * sizeof *to);
        memcpy(to + 14, array_of("directions.probe_cosine"), 6 * sizeof *to);
        memcpy(to + 20, array_of("directions.accuracy"), 2 * sizeof *to);
        if (w) cr_assert_eq(memcmp(first, again, 22 * sizeof *to), 0, "way %d", w);
        psc_session_close(&session);
    }
}

/* Rows that are all equal: no component, and the most frequent class is the guess. */
Test(directions, equal_rows) {
    fit("at=embed,rows=0", 2, (how){NULL, 1, 0, 4});
    psc_session_close(&session);
    for (int32_t i = 0; i < N_ALL; i++) tokens[i][0].id = 7;
    fit("at=embed,rows=0", 2, (how){NULL, 1, 0, 4});
    cr_assert(isnan(array_of("directions.explained")[0]));
    cr_assert_eq(array_of("directions.difference_norm")[0], 0.0);
}

/* --- the file ------------------------------------------------------------------------------ */

static psc_status load_direction(psc_model *of, const char *format) {
    char options[256];
    psc_session *one = must_session(of, NULL, 1, 0);
    snprintf(options, sizeof options, format, path);
    const psc_status status = psc_session_plugin(one, "direction", options, &error);
    psc_session_close(&one);
    return status;
}

#define READS(format)                                                                              \
    cr_assert_eq(load_direction(model, format), PSC_OK, "%s: %s", format, error.message)
#define REFUSES(of, format, words)                                                                 \
    do {                                                                                           \
        cr_assert_neq(load_direction(of, format), PSC_OK);                                         \
        cr_assert(strstr(error.message, words), "'%s' is not in: %s", words, error.message);       \
    } while (0)

static void save(const char *at) {
    char options[160];
    snprintf(options, sizeof options, "at=%s,save=%s", at, path);
    fit(options, 2, (how){NULL, 1, 0, 4});
}

Test(directions, read_by_direction) {
    psc_model *other = must_model(golden_path("sequential_f32", NULL));
    save("blocks.1.hook_resid_post");
    READS("at=blocks.*.hook_resid_pre,file=%s");
    READS("at=embed,file=%s,tensor=probe");
    READS("at=embed,file=%s,tensor=components,index=0-3");
    READS("at=blocks.1.hook_resid_post,file=%s,do=set,value=mean");
    REFUSES(model, "at=L0H1,file=%s", "takes vectors of 8 numbers");
    REFUSES(model, "at=embed,file=%s,do=set,value=mean", "has no tensor \"hook_embed\"");
    REFUSES(other, "at=embed,file=%s", "was made with the model");
    psc_model_close(&other);
}

/* The notes of the file. */
Test(directions, notes) {
    static const char *const want[][2] = {{"plugin", "directions"},
        {"point", "blocks.*.hook_resid_post"}, {"places", "2"}, {"rows", "last"}, {"of", "each"},
        {"labels", "no, yes"}, {"train_prompts", "27"}, {"held_out_prompts", "11"},
        {"ridge", "0.01"}, {"prompts", ""}};
    save("blocks.*.hook_resid_post");
    psc_tensors *saved = golden_open(path);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        const char *note = psc_tensors_note(saved, want[i][0]);
        cr_assert(note && strcmp(note, want[i][1]) == 0, "%s: %s", want[i][0], note ? note : "-");
    }
    cr_assert_str_eq(psc_tensors_note(saved, "model_hash"), psc_model_get_info(model)->hash);
    psc_tensors_close(&saved);
}

Test(directions, read_by_direction_of_places) {
    save("blocks.*.hook_resid_post+L0H1");
    READS("at=blocks.*.hook_resid_post,file=%s");
    READS("at=L0H1,file=%s,do=set,value=mean");
    READS("at=embed,file=%s,tensor=blocks.0.hook_resid_post.probe");
    REFUSES(model, "at=embed,file=%s", "has no tensor \"hook_embed.mean_difference\"");
}

/* --- refusals -------------------------------------------------------------------------------- */

static void refuse(const char *options, const char *label_lines, const char *words) {
    cr_assert_neq(open_session(options, label_lines, (how){NULL, 1, 0, 4}), PSC_OK, "%s", words);
    cr_assert(strstr(error.message, words), "'%s' is not in: %s", words, error.message);
    psc_session_close(&session);
}

Test(directions, refusals) {
    refuse("at=embed", "", "labels= names 0");
    refuse("at=embed", "a", "labels= names 1");
    refuse("at=embed", "a\nb\na", "names 'a' twice");
    refuse("at=", "a\nb", "at= is missing");
    refuse("at=L0N3", "a\nb", "is one number");
    refuse("at=blocks.0.attn.hook_pattern", "a\nb", "the number of keys");
    refuse("at=embed+L0H1+embed", "a\nb", "at= names hook_embed twice");
    refuse("at=embed,save=" PSC_SOURCE_DIR "/docs", "a\nb", "is not a regular file");
}

Test(directions, too_many) {
    static char lines[2000];
    char *to = lines;
    for (int c = 0; c < 250; c++) to += sprintf(to, "%s%d", c ? "\n" : "", c);
    refuse("at=blocks.*.mlp.hook_post+blocks.*.mlp.hook_pre,memory=1", lines,
        "need more than memory=1 MiB");
    for (int c = 250; c < 257; c++) to += sprintf(to, "\n%d", c);
    refuse("at=embed", lines, "more than 256 classes");
}

Test(directions, refused_runs) {
    psc_input input = {0, lengths[0], tokens[0]};
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    cr_assert_eq(open_session("at=embed", "no\nyes", (how){NULL, 1, 0, 4}), PSC_OK);
    cr_assert_neq(psc_session_run(session, &input, 1, &run, &error), PSC_OK);
    cr_assert(strstr(error.message, "PSC_PHASE_SOURCE"), "%s", error.message);
    cr_assert_eq(run_class(0, 0, 4), PSC_OK, "%s", error.message);
    cr_assert_neq(run_class(0, 1, 4), PSC_OK);
    cr_assert(strstr(error.message, "the class 'yes' has no training"), "%s", error.message);
    cr_assert_eq(run_class(1, 0, 4), PSC_OK, "%s", error.message);
    cr_assert_eq(run_class(0, 1, 4), PSC_OK, "%s", error.message);
    cr_assert_neq(run_class(1, 0, 4), PSC_OK);
    cr_assert(strstr(error.message, "must come before"), "%s", error.message);
}

Test(directions, alone) {
    session = must_session(model, NULL, 1, 0);
    cr_assert_neq(psc_session_plugin(session, "directions", "at=embed", &error), PSC_OK);
    cr_assert(strstr(error.message, "use the verb directions"), "%s", error.message);
}
