/* Reads, prefix sums and closure (analysis/kit/reads.c) and the levels they follow, against float64
 * from recorded patterns and values; the same bits however a run is cut; rows appended by later
 * runs; refusals. */
#include "golden.h"
#include "plugin_fixture.h"
#include "reads.h"

enum { LONG = 24, MOST_LEVELS = 8 };

static psc_context *context;
static psc_reads reads;
static psc_levels levels;
static const char *text;
static int plain, closure, mebibytes;
static recording record;
static int checked; /* rows compared with the recording */

/* The rows of every sequence, kept for a comparison: [3 sequences][levels][LONG][LONG]. */
static double kept[3][MOST_LEVELS][LONG][LONG], kept_closure[3][MOST_LEVELS][LONG];

static psc_token token_at(int32_t sequence, int32_t position) {
    return (psc_token){.id = (7 * sequence + 11 * position + position * position % 5) % 80};
}

/* |W_O,h v| by the map itself. */
static double write_norm(int32_t layer, int32_t head, const float *v) {
    float in[1024] = {0}, out[1024];
    const psc_model_info *info = &record.info;
    double sum = 0.0;
    memcpy(in + head * info->d_head, v, (size_t)info->d_head * sizeof *in);
    cr_assert_eq(host->apply(context, PSC_W_O, layer, out, in, 1), 0);
    for (int32_t i = 0; i < info->d_model; i++) sum += (double)out[i] * out[i];
    return sqrt(sum);
}

/* One cell of R, and the sum of A over the level's heads. */
static double direct(int32_t level, int32_t sequence, int32_t k, int32_t j, int norms) {
    const psc_level *of = &levels.at[level];
    const int32_t n_heads = record.info.n_heads, size = record.info.d_head;
    double sum = 0.0;
    for (int32_t p = 0; p < of->n; p++)
        for (int32_t h = 0; h < n_heads; h++) {
            const int32_t layer = of->parts[p].layer;
            if (of->parts[p].head >= 0 && of->parts[p].head != h) continue;
            const float *a = recording_row(&record, PSC_HOOK_PATTERN, layer, sequence, k);
            const float *v = recording_row(&record, PSC_HOOK_V, layer, sequence, j);
            sum += (double)a[h * record.length + j] *
                   (norms ? write_norm(layer, h, v + h * size) : 1.0);
        }
    return sum;
}

static void check_sequence(int32_t s) {
    const psc_reads_sequence *of = &reads.sequences[s];
    for (int32_t level = 0; level < levels.n; level++) {
        const double *sums = psc_reads_sums(&reads, s, level);
        for (int32_t k = 0; k < of->n; k++, checked++) {
            const double *row = psc_reads_row(&reads, s, level, k);
            cr_assert_eq(of->tokens[k], token_at(of->sequence, k).id);
            for (int32_t j = 0; j <= k; j++) {
                const double want = direct(level, of->sequence, k, j, !plain);
                cr_assert(fabs(row[j] - want) < 1e-5 * (1e-3 + want),
                    "level %s, sequence %d, R[%d][%d] = %g, should be %g", levels.names[level],
                    of->sequence, k, j, row[j], want);
            }
        }
        for (int32_t s1 = 1; s1 + 1 < of->n; s1++) {
            double want = 0.0;
            for (int32_t k = s1 + 1; k < of->n; k++)
                for (int32_t j = 1; j <= s1; j++) want += psc_reads_row(&reads, s, level, k)[j];
            cr_assert(fabs(psc_cut_sum(sums, 1, s1, of->n - 1) - want) < 1e-12 * (1.0 + want));
        }
        for (int32_t t = 2; t < of->n && (closure || plain); t++) {
            double want = 0.0;
            for (int32_t k = t + 1; k < of->n; k++)
                want -= direct(level, of->sequence, k, t - 1, 0) /
                        (levels.at[level].n_heads * (of->n - 1 - t));
            cr_assert(fabs(psc_reads_closure(&reads, s, level, t) - want) < 1e-12);
        }
    }
}

static void keep_sequence(int32_t s) {
    const psc_reads_sequence *of = &reads.sequences[s];
    for (int32_t level = 0; level < levels.n; level++)
        for (int32_t k = 0; k < of->n; k++) {
            memcpy(kept[of->sequence][level][k], psc_reads_row(&reads, s, level, k),
                (size_t)(k + 1) * sizeof(double));
            if (closure && k > 1)
                kept_closure[of->sequence][level][k] = psc_reads_closure(&reads, s, level, k);
        }
}

static int reads_open(psc_context *c, const psc_host *h, void **state) {
    (void)state;
    context = c;
    host = h;
    return psc_levels_parse(c, h, "levels", text, &levels) ||
           psc_reads_open(&reads, c, h, &levels, plain, closure, mebibytes);
}

static int reads_run_begin(psc_context *c, void *state) {
    (void)c, (void)state;
    return psc_reads_begin(&reads);
}

static int reads_run_end(psc_context *c, void *state, int status) {
    (void)c, (void)state;
    if (status) return 0;
    if (psc_reads_end(&reads)) return -1;
    for (int32_t s = 0; s < reads.n; s++) {
        if (record.info.n_layers) check_sequence(s);
        keep_sequence(s);
    }
    return 0;
}

static psc_status open_reads(const char *isa, int32_t threads, int32_t chunk) {
    find_bridge();
    bridge->open = reads_open;
    bridge->run_begin = reads_run_begin;
    bridge->run_end = reads_run_end;
    session = must_session(model, isa, threads, chunk);
    if (record.info.n_layers) recording_attach(&record, session);
    return psc_session_plugin(session, PLUGIN("bridge"), NULL, &error);
}

static psc_status run_rows(const int32_t *from, const int32_t *n, int32_t n_sequences) {
    psc_token tokens[3][LONG];
    psc_input inputs[3];
    for (int32_t s = 0; s < n_sequences; s++) {
        for (int32_t i = 0; i < n[s]; i++) tokens[s][i] = token_at(s, from[s] + i);
        inputs[s] = (psc_input){s, n[s], tokens[s]};
    }
    return psc_session_run(session, inputs, n_sequences, NULL, &error);
}

static void must_run_rows(const int32_t *from, const int32_t *n, int32_t n_sequences) {
    cr_assert_eq(run_rows(from, n, n_sequences), PSC_OK, "%s", error.message);
}

static void set(const char *levels_text, int use_plain, int use_closure) {
    text = levels_text;
    plain = use_plain;
    closure = use_closure;
    mebibytes = 64;
}

static const int32_t zeros[3] = {0, 0, 0}, lengths[3] = {19, LONG, 2};

static void check_model(const char *name, const char *levels_text, int32_t n_levels) {
    for (int variant = 0; variant < 4; variant++) {
        model = must_model(golden_path(name, NULL));
        recording_open(&record, psc_model_get_info(model), 3, LONG);
        set(levels_text, variant & 1, variant >> 1);
        cr_assert_eq(open_reads(NULL, 2, 5), PSC_OK, "%s", error.message);
        cr_assert_eq(levels.n, n_levels);
        checked = 0;
        must_run_rows(zeros, lengths, 3);
        cr_assert_eq(checked, n_levels * (19 + LONG + 2));
        psc_session_close(&session);
        psc_model_close(&model);
        recording_close(&record);
    }
}

Test(reads, against_recorded_patterns) {
    check_model("parallel_f32", "each", 2);
    check_model("parallel_f32", "0+1,1/L1H2+L0H1", 3);
    check_model("sequential_f32", "L1,L0H1", 2);
    check_model("odd_sizes", "each", 2);
}

/* The same bits for every ISA, threads, chunks, alone or in a batch, at once or row by row. */
Test(reads, bits) {
    static double first[3][MOST_LEVELS][LONG][LONG], first_closure[3][MOST_LEVELS][LONG];
    static const struct {
        const char *isa;
        int32_t threads, chunk, n, step;
    } ways[] = {{NULL, 1, 0, 3, LONG}, {"reference", 2, 3, 3, LONG}, {NULL, 3, 1, 3, LONG},
        {NULL, 2, 7, 1, LONG}, {NULL, 2, 0, 3, 1}, {NULL, 1, 4, 3, 7}};
    model = must_model(golden_path("odd_sizes", NULL));
    for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
        int32_t from[3] = {0, 0, 0}, n[3] = {LONG, LONG, LONG};
        memset(kept, 0, sizeof kept);
        memset(kept_closure, 0, sizeof kept_closure);
        set("0+1,L1H0", 0, 1);
        cr_assert_eq(open_reads(ways[w].isa, ways[w].threads, ways[w].chunk), PSC_OK);
        for (int32_t at = 0; at < LONG; at += ways[w].step) {
            for (int s = 0; s < 3; s++) {
                from[s] = at;
                n[s] = LONG - at < ways[w].step ? LONG - at : ways[w].step;
            }
            must_run_rows(from, n, ways[w].n);
        }
        psc_session_close(&session);
        if (w == 0) memcpy(first, kept, sizeof kept);
        if (w == 0) memcpy(first_closure, kept_closure, sizeof kept_closure);
        for (int s = 0; s < ways[w].n; s++) {
            cr_assert_eq(memcmp(first[s], kept[s], sizeof kept[s]), 0, "way %d", (int)w);
            cr_assert_eq(memcmp(first_closure[s], kept_closure[s], sizeof kept_closure[s]), 0);
        }
    }
    psc_model_close(&model);
}

/* A truncated sequence goes on from its new end, a failed run leaves no rows behind. */
Test(reads, truncated_sequences) {
    static double whole[MOST_LEVELS][LONG][LONG];
    const int32_t ten_rows[3] = {10, 10, 10}, six[3] = {6, 6, 6}, rest[3] = {LONG - 6, 0, 0};
    model = must_model(golden_path("parallel_f32", NULL));
    set("each", 0, 1);
    cr_assert_eq(open_reads(NULL, 2, 4), PSC_OK, "%s", error.message);
    must_run_rows(zeros, lengths + 1, 1);
    memcpy(whole, kept[0], sizeof whole);
    memset(kept, 0, sizeof kept);
    psc_session_truncate(session, 0, 0);
    must_run_rows(zeros, ten_rows, 1);
    psc_session_truncate(session, 0, 6);
    must_run_rows(six, rest, 1);
    cr_assert_eq(memcmp(whole, kept[0], sizeof whole), 0);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* --- refusals -------------------------------------------------------------------------------- */

Test(reads, levels_that_are_refused) {
    static const char *const bad[] = {"", "2", "0,2", "x", "each,0", "0+0", "0+L0H1", "L0H0+L0H0",
        "L0H4", "0,0", "0+", "+0", "0,,1", "L", "L0H", "0 1", "-1", "99999999999999999999"};
    model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        set(bad[i], 0, 0);
        REFUSED(open_reads(NULL, 1, 0), PSC_ERROR_PLUGIN, "levels=", bad[i]);
        psc_session_close(&session);
    }
    psc_model_close(&model);
}

/* Tables beyond the cap are announced with their size; rows that were not seen are refused. */
Test(reads, runs_that_are_refused) {
    const int32_t at[3] = {4, 0, 0}, n[3] = {5, 0, 0};
    model = must_model(golden_path("parallel_f32", NULL));
    set("each", 0, 0);
    mebibytes = 0;
    cr_assert_eq(open_reads(NULL, 1, 0), PSC_OK, "%s", error.message);
    REFUSED(
        run_rows(zeros, lengths, 1), PSC_ERROR_PLUGIN, "19 positions", "2 levels", "memory=0 MiB");
    psc_session_close(&session);
    set("each", 0, 0);
    session = must_session(model, NULL, 1, 0);
    must_run_rows(zeros, at, 1); /* without the plugin */
    cr_assert_eq(psc_session_plugin(session, PLUGIN("bridge"), NULL, &error), PSC_OK);
    REFUSED(run_rows(at, n, 1), PSC_ERROR_PLUGIN, "begins at position 4", "from position 0");
    psc_session_close(&session);
    psc_model_close(&model);
}
