/* The plugin probe: its figures against a float64 brute force over sentences of our own, bits, and
 * refusals. test_probe_parts.c has its parts. */
#include "golden.h"
#include "probe.h"

#include <criterion/criterion.h>
#include <lapacke.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- sentences of our own -------------------------------------------------------------------- */

/* Words "ab " of three bytes each. A token has three bytes, but word 2 of 5 has two tokens, and
 * words 3 and 4 share one. */
enum { N_SENTENCES = 40, N_TRAIN = 28, MOST_WORDS = 14, MOST_TOKENS = 32, MOST_ROWS = 800 };

typedef struct made {
    psc_word words[MOST_WORDS];
    psc_sentence sentence;
    psc_token tokens[MOST_TOKENS];
    int32_t n_tokens;
    char text[3 * MOST_WORDS + 8];
} made;

static made sentences[N_SENTENCES];

/* A unit as the test sees it. */
typedef struct seen {
    int32_t sentence, position; /* of its last token */
    int upos, tense, question;  /* classes; -1: none */
} seen;

static seen units[MOST_ROWS];
static int32_t n_units;

static const char *const upos[] = {"ADJ", "NOUN", "VERB", "PUNCT"};
static const char *const feats[] = {
    "Number=Sing|Tense=Past|VerbForm=Fin", "VerbForm=Inf", "Number=Plur"};

static uint32_t random_state = 7;

static uint32_t random_below(uint32_t n) {
    random_state = random_state * 1664525u + 1013904223u;
    return (random_state >> 8) % n;
}

static psc_word make_word(const made *m, int32_t w, uint32_t id) {
    const uint32_t at = 3 * (uint32_t)w;
    const uint32_t tag = w + 1 == m->sentence.n ? 3 : id % 3;
    (void)m;
    return (psc_word){.start = at,
        .end = at + 2,
        .head = w % 5 == 3   ? w + 1
                : w % 5 == 4 ? w - 4
                             : w - 1,
        .form = "ab",
        .lemma = "ab",
        .upos = upos[tag],
        .xpos = "",
        .feats = tag == 2 ? feats[id % 2] : feats[2],
        .deprel = "dep",
        .misc = ""};
}

/* The token's id decides the labels of its word, so the embedding tells them. */
static void make_sentence(made *m, int32_t number) {
    const int32_t n = 6 + (int32_t)random_below(MOST_WORDS - 6);
    m->sentence = (psc_sentence){
        .id = "", .text = m->text, .bytes = 3 * (uint32_t)n, .n = n, .words = m->words};
    m->tokens[m->n_tokens++] = (psc_token){0, 0, 0};
    for (int32_t w = 0; w < n; w++) {
        const uint32_t id = 1 + random_below(40), at = 3 * (uint32_t)w;
        memcpy(m->text + at, "ab ", 4);
        m->words[w] = make_word(m, w, id);
        if (w % 5 == 2)
            m->tokens[m->n_tokens++] = (psc_token){(int32_t)random_below(80), at, at + 1};
        const uint32_t from = w % 5 == 2 ? at + 1 : at;
        if (w % 5 == 4) { /* the token of the word before reaches over this one */
            m->tokens[m->n_tokens - 1].end = at + 3;
            m->words[w - 1].upos = "PUNCT";
            continue;
        }
        m->tokens[m->n_tokens++] = (psc_token){(int32_t)id, from, at + 3};
    }
    if (number % 3 == 0) m->text[3 * n - 1] = '?';
}

static int index_of(const char *const *list, int n, const char *text) {
    for (int i = 0; i < n; i++)
        if (strcmp(list[i], text) == 0) return i;
    return -1;
}

/* The label of a unit is that of word w: of the pair 3, 4 the second, whose head is outside. */
static void note_unit(int32_t number, int32_t w, int32_t position) {
    const made *m = &sentences[number];
    const int32_t label = w % 5 == 3 && w + 1 < m->sentence.n ? w + 1 : w;
    const psc_word *word = &m->words[label];
    if (strcmp(m->words[w].upos, "PUNCT") == 0 && strcmp(word->upos, "PUNCT") == 0) return;
    units[n_units++] = (seen){.sentence = number,
        .position = position,
        .upos = index_of(upos, 4, word->upos),
        .tense = strncmp(word->feats, "Number=Sing", 11) == 0 ? 1
                 : word->feats[0] == 'V'                      ? 0
                                                              : -1,
        .question = number % 3 == 0};
}

static void make_all(void) {
    memset(sentences, 0, sizeof sentences);
    n_units = 0;
    random_state = 7;
    for (int32_t i = 0; i < N_SENTENCES; i++) {
        made *m = &sentences[i];
        int32_t position = 1;
        make_sentence(m, i);
        m->words[0].head = -1;
        for (int32_t w = 0; w < m->sentence.n; w++) {
            if (w % 5 == 4) continue;
            if (w % 5 == 2) position++;
            if (m->words[w].head >= m->sentence.n) m->words[w].head = w - 1;
            note_unit(i, w, position++);
        }
    }
}

/* --- runs ------------------------------------------------------------------------------------ */

static psc_model *model;
static psc_error error;
static double *residuals; /* [units, levels, N] */
static int32_t first_sentence, n_levels, n_dims;

static int keep(const psc_event *event, void *payload) {
    const int32_t level = payload ? n_levels - 1 : event->layer;
    for (int32_t r = 0; r < event->n_rows; r++)
        for (int32_t u = 0; u < n_units; u++) {
            if (units[u].sentence != first_sentence + event->rows[r].sequence ||
                units[u].position != event->rows[r].position)
                continue;
            const float *x = event->tensor.data + r * event->tensor.stride[0];
            double *to = residuals + ((int64_t)u * n_levels + level) * n_dims;
            for (int32_t i = 0; i < n_dims; i++) to[i] = (double)x[i];
        }
    return 0;
}

/* Sentences begin..begin+n-1 as one run; labels: only <|endoftext|> and all labels. */
static psc_status run_some(
    psc_session *session, int32_t begin, int32_t n, int32_t phase, int32_t source, bool labels) {
    static psc_sentence list[N_SENTENCES];
    static psc_token tokens[N_SENTENCES][MOST_TOKENS];
    static char text[N_SENTENCES * sizeof sentences[0].text];
    psc_input inputs[N_SENTENCES];
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    uint32_t at = 0;
    for (int32_t i = 0; i < n; i++) {
        const made *m = &sentences[begin + i];
        list[i] = m->sentence;
        list[i].start = at;
        memcpy(text + at, m->text, m->sentence.bytes);
        for (int32_t t = 0; t < m->n_tokens; t++) {
            tokens[i][t] = m->tokens[t];
            tokens[i][t].start += at;
            tokens[i][t].end += at;
        }
        inputs[i] = (psc_input){i, labels ? 1 : m->n_tokens, tokens[i]};
        at += m->sentence.bytes;
        psc_session_truncate(session, i, 0);
    }
    run.text = text;
    run.text_bytes = at;
    run.sentences = list;
    run.n_sentences = n;
    run.phase = phase;
    run.source = source;
    run.no_logits = 1;
    first_sentence = begin;
    return psc_session_run(session, inputs, labels ? 1 : n, &run, &error);
}

typedef struct way {
    const char *isa, *options;
    int32_t threads, chunk, batch;
} way;

static psc_session *open_session(const way *how) {
    psc_session *session = NULL;
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.isa = how->isa;
    options.threads = how->threads;
    options.chunk = how->chunk;
    options.n_sequences = N_SENTENCES;
    options.capacity = MOST_TOKENS;
    options.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
    return session;
}

static void run_range(psc_session *session, int32_t begin, int32_t end, int32_t batch, int train) {
    for (int32_t i = begin; i < end; i += batch)
        cr_assert_eq(run_some(session, i, end - i < batch ? end - i : batch,
                         train ? PSC_PHASE_SOURCE : PSC_PHASE_ONLY, train, false),
            PSC_OK, "%s", error.message);
}

static psc_session *probed(const way *how, bool record) {
    psc_session *session = open_session(how);
    const int32_t last = n_levels - 2;
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = &last;
    filter.n_layers = 1;
    cr_assert_eq(
        psc_session_plugin(session, "probe", how->options, &error), PSC_OK, "%s", error.message);
    if (record) {
        psc_session_observe(session, PSC_HOOK_RESID_PRE, NULL, keep, NULL, &error);
        psc_session_observe(session, PSC_HOOK_RESID_POST, &filter, keep, &residuals, &error);
    }
    cr_assert_eq(
        run_some(session, 0, N_TRAIN, PSC_PHASE_SOURCE, 0, true), PSC_OK, "%s", error.message);
    run_range(session, 0, N_TRAIN, how->batch, 1);
    run_range(session, N_TRAIN, N_SENTENCES, how->batch, 0);
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
    return session;
}

static void setup(void) {
    model = must_model(golden_path("parallel_f32", NULL));
    n_levels = psc_model_get_info(model)->n_layers + 1;
    n_dims = psc_model_get_info(model)->d_model;
    make_all();
    residuals = calloc((size_t)n_units * (size_t)n_levels * (size_t)n_dims, sizeof *residuals);
}

static void teardown(void) {
    free(residuals);
    psc_model_close(&model);
}

TestSuite(probe, .init = setup, .fini = teardown);

static double value_at(const psc_session *session, const char *name, int64_t i) {
    psc_array array;
    cr_assert_eq(psc_session_array(session, name, &array, &error), PSC_OK, "%s", error.message);
    return array.element == PSC_F64 ? ((const double *)array.data)[i]
                                    : ((const int32_t *)array.data)[i];
}

/* --- brute force ----------------------------------------------------------------------------- */

static int class_of(const seen *unit, int task) {
    return task == 0 ? unit->upos : task == 1 ? unit->tense : unit->question;
}

/* One task at one level, fitted by explicitly scaled rows and LU. */
typedef struct fit {
    int task, classes;
    int32_t level;
    int rows;
    double mean[64], scale, y[4]; /* y: training rows of each class */
    double w[64 * 4];             /* [N, classes] */
} fit;

static double x_of(const fit *f, int32_t u, int32_t i) {
    return residuals[((int64_t)u * n_levels + f->level) * n_dims + i];
}

static bool trains(const fit *f, int32_t u) {
    return units[u].sentence < N_TRAIN && class_of(&units[u], f->task) >= 0;
}

static double z_of(const fit *f, int32_t u, int32_t i) {
    return (x_of(f, u, i) - f->mean[i]) / f->scale;
}

static void scale_rows(fit *f) {
    for (int32_t u = 0; u < n_units; u++) {
        if (!trains(f, u)) continue;
        for (int32_t i = 0; i < n_dims; i++) f->mean[i] += x_of(f, u, i);
        f->y[class_of(&units[u], f->task)]++;
        f->rows++;
    }
    for (int32_t i = 0; i < n_dims; i++) f->mean[i] /= f->rows;
    for (int32_t i = 0; i < n_dims; i++) {
        double square = 0.0;
        for (int32_t u = 0; u < n_units; u++)
            if (trains(f, u)) square += pow(x_of(f, u, i) - f->mean[i], 2);
        f->scale += sqrt(square / f->rows) / n_dims;
    }
}

static void solve(fit *f) {
    static double a[64 * 64];
    const int32_t n = n_dims, classes = f->classes;
    lapack_int pivots[64];
    memset(a, 0, sizeof a);
    for (int32_t u = 0; u < n_units; u++) {
        if (!trains(f, u)) continue;
        const int c = class_of(&units[u], f->task);
        for (int32_t i = 0; i < n; i++) {
            const double z = z_of(f, u, i);
            for (int32_t j = 0; j < n; j++) a[i * n + j] += z * z_of(f, u, j);
            for (int k = 0; k < classes; k++)
                f->w[i * classes + k] += z * ((k == c) - f->y[k] / f->rows);
        }
    }
    for (int32_t i = 0; i < n; i++) a[i * n + i] += 0.01 * f->rows;
    cr_assert_eq(LAPACKE_dgesv(LAPACK_ROW_MAJOR, n, classes, a, n, pivots, f->w, classes), 0);
}

static double score_of(const fit *f, int32_t u, int k) {
    double score = f->y[k] / f->rows;
    for (int32_t i = 0; i < n_dims; i++) score += f->w[i * f->classes + k] * z_of(f, u, i);
    return score;
}

/* The fraction of pairs of test units in the right order, equal scores half. */
static double area(const fit *f) {
    double scores[MOST_ROWS], better = 0.0;
    int pairs = 0;
    for (int32_t u = 0; u < n_units; u++) scores[u] = score_of(f, u, 1);
    for (int32_t u = 0; u < n_units; u++)
        for (int32_t v = 0; v < n_units; v++) {
            if (units[u].sentence < N_TRAIN || units[v].sentence < N_TRAIN) continue;
            if (class_of(&units[u], f->task) != 1 || class_of(&units[v], f->task) != 0) continue;
            better += scores[u] > scores[v] ? 1.0 : scores[u] == scores[v] ? 0.5 : 0.0;
            pairs++;
        }
    return better / pairs;
}

static void check_level(const psc_session *session, int task, int classes, int32_t level) {
    fit f = {.task = task, .classes = classes, .level = level};
    int right = 0, tested = 0;
    scale_rows(&f);
    solve(&f);
    for (int32_t u = 0; u < n_units; u++) {
        const int c = class_of(&units[u], task);
        int best = -1;
        if (units[u].sentence < N_TRAIN || c < 0 || f.y[c] == 0) continue;
        for (int k = 0; k < classes; k++)
            if (f.y[k] > 0 && (best < 0 || score_of(&f, u, k) > score_of(&f, u, best))) best = k;
        right += best == c;
        tested++;
    }
    const int64_t at = (int64_t)task * n_levels + level;
    cr_assert_eq(value_at(session, "probe.train_rows", task), f.rows);
    cr_assert_eq(value_at(session, "probe.test_rows", task), tested);
    cr_assert_float_eq(value_at(session, "probe.accuracy", at), (double)right / tested, 1e-12,
        "task %d level %d", task, level);
    if (classes == 2) cr_assert_float_eq(value_at(session, "probe.auroc", at), area(&f), 1e-12);
}

Test(probe, figures_are_float64s) {
    const way how = {NULL, "tasks=upos+tense+question", 2, 0, 5};
    cr_assert_leq(n_dims, 64);
    psc_session *session = probed(&how, true);
    for (int32_t level = 0; level < n_levels; level++) {
        check_level(session, 0, 4, level);
        check_level(session, 1, 2, level);
        check_level(session, 2, 2, level);
    }
    cr_assert_gt(value_at(session, "probe.accuracy", 0),
        value_at(session, "probe.majority", 0) + 0.1, "an embedding tells its own tag");
    psc_session_close(&session);
}

/* Results do not depend on batches, chunks, threads and instruction sets. */
Test(probe, bits_do_not_depend_on_the_run) {
    static const way ways[] = {
        {NULL, "", 1, 0, 40}, {NULL, "", 2, 3, 1}, {NULL, "", 3, 0, 7}, {"reference", "", 1, 0, 3}};
    static const char *const names[] = {"probe.accuracy", "probe.auroc", "probe.recall",
        "probe.best_level", "probe.class_train_rows", "probe.class_test_rows"};
    psc_session *one = probed(&ways[0], false);
    for (size_t w = 1; w < sizeof ways / sizeof *ways; w++) {
        psc_session *other = probed(&ways[w], false);
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            psc_array a, b;
            cr_assert_eq(psc_session_array(one, names[i], &a, &error), PSC_OK);
            cr_assert_eq(psc_session_array(other, names[i], &b, &error), PSC_OK);
            size_t bytes = a.element == PSC_F64 ? 8 : 4;
            for (int axis = 0; axis < a.n_axes; axis++) bytes *= (size_t)a.shape[axis];
            cr_assert_eq(memcmp(a.data, b.data, bytes), 0, "%s, way %zu", names[i], w);
        }
        psc_session_close(&other);
    }
    psc_session_close(&one);
}

/* classes=2 keeps the two most frequent tags; rows of the third are counted as unseen. */
Test(probe, rare_classes_are_left_out) {
    const way how = {NULL, "tasks=upos,classes=2", 1, 0, 40};
    psc_session *session = probed(&how, false);
    int counts[4] = {0}, test[4] = {0}, rarest = 0;
    for (int32_t u = 0; u < n_units; u++)
        (units[u].sentence < N_TRAIN ? counts : test)[units[u].upos]++;
    for (int c = 1; c < 3; c++)
        if (counts[c] < counts[rarest]) rarest = c;
    cr_assert_eq(counts[3], 0, "punctuation is no unit");
    cr_assert_eq(value_at(session, "probe.unseen_rows", 0), test[rarest]);
    cr_assert_eq(
        value_at(session, "probe.test_rows", 0), test[0] + test[1] + test[2] - test[rarest]);
    psc_session_close(&session);
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(probe, bad_input_is_one_sentence) {
    static const char *const bad[] = {"tasks=upos+nose", "tasks=", "tasks=upos+upos", "classes=1",
        "units=tokens", "ridge=0", "least=0", "memory=0",
        "tasks=feat:a+feat:b+feat:c+feat:d+feat:e+feat:f+feat:g+feat:h+feat:i+feat:j+feat:k+feat:l+"
        "feat:m+feat:n+feat:o+feat:p+feat:q"};
    const way how = {NULL, "", 1, 0, 40};
    psc_session *session = open_session(&how);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_neq(psc_session_plugin(session, "probe", bad[i], &error), PSC_OK, "%s", bad[i]);
        cr_assert(strchr(error.message, '='), "%s", error.message);
    }
    psc_session_close(&session);
    cr_assert_eq(psc_session_open(&session, model, NULL, &error), PSC_OK);
    cr_assert_neq(psc_session_plugin(session, "probe", NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "use the verb probe"), "%s", error.message);
    psc_session_close(&session);
}

Test(probe, steps_out_of_order_are_refused) {
    const way how = {NULL, "tasks=upos", 1, 0, 40};
    psc_session *session = open_session(&how);
    cr_assert_eq(psc_session_plugin(session, "probe", "tasks=upos", &error), PSC_OK);
    cr_assert_neq(run_some(session, 0, 4, PSC_PHASE_ONLY, 0, false), PSC_OK);
    cr_assert(strstr(error.message, "no training labels"), "%s", error.message);
    cr_assert_eq(run_some(session, 0, 4, PSC_PHASE_SOURCE, 0, true), PSC_OK);
    cr_assert_neq(psc_session_report(session, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "no test sentences"), "%s", error.message);
    cr_assert_neq(run_some(session, 0, 4, PSC_PHASE_SOURCE, 0, true), PSC_OK);
    cr_assert(strstr(error.message, "counted already"), "%s", error.message);
    cr_assert_eq(run_some(session, 0, 4, PSC_PHASE_SOURCE, 1, false), PSC_OK);
    cr_assert_eq(run_some(session, 4, 4, PSC_PHASE_ONLY, 0, false), PSC_OK);
    cr_assert_neq(run_some(session, 0, 4, PSC_PHASE_SOURCE, 1, false), PSC_OK);
    cr_assert(strstr(error.message, "before the test"), "%s", error.message);
    psc_token alone = {0, 0, 0};
    const psc_input input = {0, 1, &alone};
    psc_session_truncate(session, 0, 0);
    cr_assert_neq(psc_session_run(session, &input, 1, NULL, &error), PSC_OK);
    cr_assert(strstr(error.message, "labelled sentences are missing"), "%s", error.message);
    psc_session_close(&session);
}
