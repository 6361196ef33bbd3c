/* The plugin forms: cosines, ranks and controls of a small list against float64 by brute force; the
 * same bits in one run or many, for any threads and chunks; what it refuses. */
#include "golden.h"
#include "plugin_fixture.h"

enum { N = 14, LONGEST = 4 };

/* Group, tag, frequency and number of tokens; forms are "f0", "f1", ... Each pair of a form and its
 * mate has at most one control. */
static const struct {
    const char *group, *tag, *frequency;
    int32_t tokens;
} list[N] = {{"give", "VB", "Freq=10", 1}, {"give", "VBD", "Freq=6", 2}, {"give", "VBG", "", 2},
    {"walk", "VB", "Freq=12", 1}, {"walk", "VBD", "x=1|Freq=7", 2}, {"walk", "VBG", "Freq=1", 3},
    {"see", "VB", "Freq=90", 2}, {"see", "VBD", "Freq=4", 1}, {"dog", "NN", "Freq=3", 1},
    {"dog", "NNS", "Freq=3", 2}, {"cat", "NN", "Freq=5", 1}, {"cat", "NNS", "Freq=2", 2},
    {"cat", "NNS", "Freq=2", 3}, {"sun", "NN", "Freq=100", 1}};

static char text[256];
static psc_word labelled[N];
static psc_sentence labels[N];
static char forms[N][8];
static psc_token tokens[N][LONGEST];
static psc_input inputs[N];

/* Form i is "f<i>" behind a space; forms 9 and 11 end in the same token. */
static void make_list(void) {
    uint32_t at = 0;
    text[0] = 0;
    for (int i = 0; i < N; i++) {
        snprintf(forms[i], sizeof forms[i], "f%d", i);
        snprintf(text + at, sizeof text - at, " %s", forms[i]);
        const uint32_t bytes = (uint32_t)strlen(forms[i]) + 1;
        labelled[i] = (psc_word){.start = 1,
            .end = bytes,
            .head = -1,
            .form = forms[i],
            .lemma = list[i].group,
            .upos = list[i].tag,
            .xpos = "",
            .feats = "",
            .deprel = "",
            .misc = list[i].frequency};
        labels[i] = (psc_sentence){.id = "",
            .text = text + at,
            .bytes = bytes,
            .start = at,
            .n = 1,
            .words = &labelled[i]};
        for (int32_t t = 0; t <= list[i].tokens; t++)
            tokens[i][t] = (psc_token){
                t == 0 ? 0 : (7 * i + 13 * t) % 79 + 1, t == 0 ? 0 : at, t == 0 ? 0 : at + bytes};
        inputs[i] = (psc_input){i, list[i].tokens + 1, tokens[i]};
        at += bytes;
    }
    tokens[11][2].id = tokens[9][2].id;
}

static void open_list(const char *folder, int32_t accumulate, int32_t threads, int32_t chunk) {
    char path[512];
    snprintf(path, sizeof path, MODELS "%s", folder);
    make_list();
    cr_assert_eq(psc_model_open(&model, path, &error), PSC_OK, "%s", error.message);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.accumulate = accumulate;
    options.threads = threads;
    options.chunk = chunk;
    options.n_sequences = N;
    options.capacity = LONGEST;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

/* Forms first..first+n-1 as one run. */
static psc_status run_list(int first, int n) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.text = text;
    options.text_bytes = strlen(text);
    options.sentences = labels + first;
    options.n_sentences = n;
    for (int i = 0; i < N; i++) psc_session_truncate(session, i, 0);
    return psc_session_run(session, inputs + first, n, &options, &error);
}

static const double *values_of(const char *name) {
    return must_array(name).data;
}

/* --- brute force ------------------------------------------------------------------------------ */

enum { WIDEST = 256 };
static recording record;
static double y[N][WIDEST];

static double frequency(int i) {
    const char *at = strstr(list[i].frequency, "Freq=");
    return at ? atof(at + 5) : 1.0;
}

static double dot(const double *a, const double *b) {
    double sum = 0.0;
    for (int32_t k = 0; k < record.info.d_model; k++) sum += a[k] * b[k];
    return sum;
}

static double cosine(const double *a, const double *b) {
    return dot(a, b) / sqrt(dot(a, a) * dot(b, b));
}

static void center(int32_t level) {
    const psc_point point = level ? PSC_HOOK_RESID_POST : PSC_HOOK_RESID_PRE;
    double mean[WIDEST] = {0};
    for (int i = 0; i < N; i++)
        for (int32_t k = 0; k < record.info.d_model; k++) {
            y[i][k] =
                (double)recording_row(&record, point, level ? level - 1 : 0, i, list[i].tokens)[k];
            mean[k] += y[i][k] / N;
        }
    for (int i = 0; i < N; i++)
        for (int32_t k = 0; k < record.info.d_model; k++) y[i][k] -= mean[k];
}

static int is_pair(int a, int b) {
    return a != b && strcmp(list[a].group, list[b].group) == 0;
}

/* The one control of (a, b), or -1. */
static int control_of(int b) {
    int found = -1;
    for (int c = 0; c < N; c++) {
        if (strcmp(list[c].group, list[b].group) == 0 || strcmp(list[c].tag, list[b].tag) != 0 ||
            list[c].tokens != list[b].tokens || fabs(log(frequency(c) / frequency(b))) >= 0.7)
            continue;
        cr_assert_eq(found, -1, "form %d has two controls", b);
        found = c;
    }
    return found;
}

static double rank_of(const double *query, int b, int but) {
    double rank = 1.0;
    for (int c = 0; c < N; c++)
        if (c != but && c != b && strcmp(list[c].tag, list[b].tag) == 0)
            rank += cosine(query, y[c]) > cosine(query, y[b]) + 1e-12;
    return rank;
}

/* The form moved by the mean offset of the other pairs of its two tags. */
static void move(double *out, int a, int b) {
    double sum[WIDEST] = {0};
    int others = 0;
    for (int c = 0; c < N; c++)
        for (int d = 0; d < N; d++) {
            if (!is_pair(c, d) || strcmp(list[c].tag, list[a].tag) != 0 ||
                strcmp(list[d].tag, list[b].tag) != 0 || (c == a && d == b))
                continue;
            others++;
            for (int32_t k = 0; k < record.info.d_model; k++) sum[k] += y[d][k] - y[c][k];
        }
    for (int32_t k = 0; k < record.info.d_model; k++)
        out[k] = y[a][k] + (others ? sum[k] / others : 0.0);
}

static int is_in(int class, int a, int b) {
    const int n = list[a].tokens > list[b].tokens ? list[a].tokens : list[b].tokens;
    const int classes[] = {1, n == 1, n > 1, n == 2, n == 3, n > 3};
    return classes[class];
}

static void check_class(int32_t level, int class) {
    static const char *const names[] = {"forms.closer", "forms.mate_cosine", "forms.control_cosine",
        "forms.rank", "forms.rank_offset"};
    double sums[5] = {0};
    int n = 0, controlled = 0;
    for (int a = 0; a < N; a++)
        for (int b = 0; b < N; b++) {
            double query[WIDEST];
            if (!is_pair(a, b) || !is_in(class, a, b)) continue;
            const int c = control_of(b);
            move(query, a, b);
            n++;
            controlled += c >= 0;
            const double over = c >= 0 ? cosine(y[a], y[b]) - cosine(y[a], y[c]) : 0.0;
            if (c >= 0) sums[0] += fabs(over) <= 1e-12 ? 0.5 : over > 0.0;
            sums[1] += cosine(y[a], y[b]);
            if (c >= 0) sums[2] += cosine(y[a], y[c]);
            sums[3] += 1.0 / rank_of(y[a], b, a);
            sums[4] += 1.0 / rank_of(query, b, -1);
        }
    cr_assert_eq(((const int32_t *)must_array("forms.pairs_counted").data)[class], n);
    cr_assert_eq(((const int32_t *)must_array("forms.pairs_with_control").data)[class], controlled);
    for (int m = 0; m < 5; m++) {
        const double got = values_of(names[m])[level * 6 + class];
        const int of = m == 0 || m == 2 ? controlled : n;
        cr_assert(of ? fabs(got - sums[m] / of) < 1e-12 : isnan(got),
            "%s, level %d, class %d: %g, "
            "should be %g",
            names[m], level, class, got, sums[m] / of);
    }
}

Test(forms, figures_against_float64) {
    open_list("parallel_f32", 0, 2, 3);
    recording_open(&record, psc_model_get_info(model), N, LONGEST);
    recording_attach(&record, session);
    must_load("forms", "draws=3");
    cr_assert_eq(run_list(0, N), PSC_OK, "%s", error.message);
    for (int32_t level = 0; level <= record.info.n_layers; level++) {
        center(level);
        for (int class = 0; class < 6; class ++) check_class(level, class);
    }
    cr_assert_eq(((const int32_t *)must_array("forms.tokens").data)[5], 3);
    cr_assert(isnan(values_of("forms.closer")[5]), "there is no pair of four tokens");
    recording_close(&record);
    fixture_close();
}

/* --- bits ------------------------------------------------------------------------------------- */

static double first[5][6][6];

static void compare(int keep) {
    static const char *const names[] = {"forms.closer", "forms.mate_cosine", "forms.control_cosine",
        "forms.rank", "forms.rank_offset"};
    for (int m = 0; m < 5; m++) {
        const psc_array array = must_array(names[m]);
        const size_t bytes = (size_t)(array.shape[0] * array.shape[1]) * sizeof(double);
        cr_assert_leq(bytes, sizeof first[m]);
        if (keep) memcpy(first[m], array.data, bytes);
        cr_assert_eq(memcmp(first[m], array.data, bytes), 0, "%s has other bits", names[m]);
    }
}

Test(forms, one_run_or_many_same_bits) {
    static const int32_t ways[][3] = {{14, 1, 0}, {14, 3, 1}, {5, 2, 2}, {1, 1, 3}};
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        open_list("sequential_f32", 1, ways[w][1], ways[w][2]);
        must_load("forms", NULL);
        for (int at = 0; at < N; at += ways[w][0]) {
            const int n = N - at < ways[w][0] ? N - at : ways[w][0];
            cr_assert_eq(run_list(at, n), PSC_OK, "%s", error.message);
        }
        cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
        compare(w == 0);
        fixture_close();
    }
}

Test(forms, a_list_without_pairs_or_forms) {
    open_list("parallel_f32", 1, 1, 0);
    must_load("forms", NULL);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(must_section(0).n_arrays, 0);
    cr_assert_eq(run_list(13, 1), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert(isnan(values_of("forms.rank")[0]));
    fixture_close();
}

/* --- refusals --------------------------------------------------------------------------------- */

Test(forms, refusals) {
    open_list("parallel_f32", 0, 1, 0);
    must_load("forms", NULL);
    REFUSED(psc_session_run(session, inputs, 1, NULL, &error), PSC_ERROR_PLUGIN, "plugin forms",
        "use the verb forms");
    labelled[3].misc = "Freq=nonsense"; /* counts as 1 */
    const psc_word two[] = {labelled[3], labelled[3]};
    psc_word changed[2];
    memcpy(changed, two, sizeof changed);
    changed[1].head = 0;
    labels[3].words = changed;
    labels[3].n = 2;
    REFUSED(run_list(3, 1), PSC_ERROR_PLUGIN, "label 0 has 2 words instead of one form");
    labels[3].words = &labelled[3];
    labels[3].n = 1;
    cr_assert_eq(run_list(3, 1), PSC_OK, "%s", error.message);
    inputs[2].n = 1;
    REFUSED(run_list(2, 1), PSC_ERROR_PLUGIN, "a form must be a whole sequence");
    inputs[2].n = 3;
    REFUSED((psc_session_truncate(session, 0, 0),
                psc_session_run(session, inputs, 1,
                    &(psc_run_options){.struct_size = sizeof(psc_run_options),
                        .text = text,
                        .text_bytes = strlen(text),
                        .sentences = labels,
                        .n_sentences = 2},
                    &error)),
        PSC_ERROR_PLUGIN, "one per sequence");
    fixture_close();
}

/* A block of 256 forms of the embedded model has 1.25 MiB of vectors. */
Test(forms, memory_is_capped) {
    if (!golden_embedded()) cr_skip_test("no weights");
    make_list();
    model = must_model(golden_embedded());
    session = must_session(model, NULL, 1, 0);
    must_load("forms", "memory=1");
    psc_input input = inputs[0];
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.text = text;
    options.text_bytes = strlen(text);
    options.sentences = labels;
    options.n_sentences = 1;
    REFUSED(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_PLUGIN,
        "1 forms need 2 MiB, more than memory=1; shorten the list or raise memory=");
    fixture_close();
}
