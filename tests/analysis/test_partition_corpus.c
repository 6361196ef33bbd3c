/* partition over documents: the totals against the single runs' arrays, batches, and edge cases of
 * accumulation. test_partition.c tests the single runs' figures against float64. */
#include "ln_mlp_fixture.h"

#define OPTIONS                                                                                    \
    "rows=all,level=layer+head,alphas=0+0.5,"                                                      \
    "perturbations=step+lens+frozen_ln+recomputed_ln+ablation"
enum { TEXTS = 4, LONGEST = 9, BINS = 5 };

static const int32_t texts[TEXTS][LONGEST] = {{3, 41, 7, 19, 60, 2, 11, 70, 5},
    {9, 9, 1, 77, 30, 12, 55, 4, 4}, {60, 3, 41, 41, 8, 23, 0, 0, 0}, {17, 0, 0, 0, 0, 0, 0, 0, 0}};
static const int32_t lengths[TEXTS] = {9, 8, 6, 1};

static psc_session *open_corpus(psc_model *model, int32_t threads, const char *options) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    how.threads = threads;
    how.chunk = 4;
    how.n_sequences = TEXTS;
    how.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(
        psc_session_plugin(session, "partition", options, &error), PSC_OK, "%s", error.message);
    return session;
}

/* Texts first..last as sequences of one run. */
static void add_texts(psc_session *session, int first, int last) {
    psc_token tokens[TEXTS][LONGEST] = {{{0}}};
    psc_input inputs[TEXTS];
    psc_error error = {0};
    for (int i = first; i <= last; i++) {
        for (int j = 0; j < lengths[i]; j++) tokens[i][j].id = texts[i][j];
        inputs[i - first] = (psc_input){i - first, lengths[i], tokens[i]};
        psc_session_truncate(session, i - first, 0);
    }
    cr_assert_eq(psc_session_run(session, inputs, last - first + 1, NULL, &error), PSC_OK, "%s",
        error.message);
}

static void must_report(psc_session *session) {
    psc_error error = {0};
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

/* --- the totals ------------------------------------------------------------------------------ */

/* All cases of one change, gathered from single runs. */
typedef struct cases {
    int n;
    double dlogz[40], shift[3][40], margin[40], r2[40], beta[40];
    double dz[3][6][40], abs_dz[3][6][40]; /* NaN where the group is empty */
    int top[2][40];
} cases;

static double at(const psc_session *session, const char *name, int64_t i) {
    char full[64];
    snprintf(full, sizeof full, "partition.%s", name);
    const psc_array array = must_array(session, full);
    return array_at(&array, i);
}

static void gather_row(const psc_session *one, cases *c, int64_t change, int64_t row) {
    const psc_array dlogz = must_array(one, "partition.dlogz");
    const int64_t changes = dlogz.shape[0], rows = dlogz.shape[1], cell = change * rows + row;
    const int k = c->n++;
    c->dlogz[k] = at(one, "dlogz", cell);
    c->shift[1][k] = at(one, "mean_dz", cell);
    c->shift[2][k] = at(one, "expected_dz", cell);
    c->r2[k] = at(one, "fit_r2", cell);
    c->beta[k] = at(one, "fit_beta", cell);
    /* steps 0 and 1 start from lenses 0 and 1; everything else from the final logits */
    c->margin[k] = at(one, "margin", (change < 2 ? change : 2) * rows + row);
    for (int i = 0; i < 2; i++) c->top[i][k] = (int)at(one, "reordered", 2 * cell + i);
    for (int64_t g = 0; g < 3; g++) {
        for (int64_t bin = 0; bin < BINS; bin++) {
            const int64_t place = ((g * changes + change) * rows + row) * BINS + bin;
            c->dz[g][bin][k] = at(one, "bin_dz", place);
            c->abs_dz[g][bin][k] = at(one, "bin_abs_dz", place);
        }
        c->dz[g][BINS][k] = at(one, "dz", (g * changes + change) * rows + row);
        c->abs_dz[g][BINS][k] = fabs(c->dz[g][BINS][k]);
    }
}

static double mean_of(const double *x, int n, int *used) {
    double sum = 0.0;
    *used = 0;
    for (int i = 0; i < n; i++) {
        if (isnan(x[i])) continue;
        sum += x[i];
        ++*used;
    }
    return *used ? sum / *used : NAN;
}

static double correlation_of(const double *d, const double *e, int n) {
    double md = 0.0, me = 0.0, de = 0.0, dd = 0.0, ee = 0.0, used = 0.0;
    for (int i = 0; i < n; i++)
        if (!isnan(d[i])) md += d[i], me += e[i], used += 1.0;
    md /= used, me /= used;
    for (int i = 0; i < n; i++)
        if (!isnan(d[i])) {
            de += (d[i] - md) * (e[i] - me);
            dd += (d[i] - md) * (d[i] - md);
            ee += (e[i] - me) * (e[i] - me);
        }
    return de / sqrt(dd * ee);
}

static void same(double got, double want, const char *what, int64_t change) {
    if (isnan(want) && isnan(got)) return;
    cr_assert(fabs(got - want) <= 1e-7 * (1.0 + fabs(want)), "%s of change %ld: %.12g, not %.12g",
        what, (long)change, got, want);
}

/* A histogram's quantile is within a bin's width of an order statistic. */
static void check_quantiles(
    const psc_session *all, const double *r2, int n, int used, int64_t change) {
    static const double quantiles[] = {0.1, 0.5, 0.9};
    for (int64_t q = 0; q < 3 && used > 0; q++) {
        const double got = at(all, "fit_r2_quantiles", 3 * change + q);
        int below = 0, up_to = 0;
        for (int i = 0; i < n; i++) {
            below += r2[i] < got - 0.02;
            up_to += r2[i] <= got + 0.02;
        }
        cr_assert(below <= quantiles[q] * used && up_to >= quantiles[q] * used,
            "R2 quantile %g of change %ld: %g", quantiles[q], (long)change, got);
    }
}

static void check_change(const psc_session *all, const cases *c, int64_t change, int64_t changes) {
    double e[3][40], size[40];
    int used = 0;
    for (int64_t g = 0; g < 3; g++) {
        for (int i = 0; i < c->n; i++) e[g][i] = c->dlogz[i] - c->shift[g][i];
        for (int i = 0; i < c->n; i++) size[i] = fabs(e[g][i]);
        const int64_t place = g * changes + change;
        same(at(all, "mean_abs_dlogz", place), mean_of(size, c->n, &used), "|dlogZ|", change);
        same(at(all, "mean_dlogz", place), mean_of(e[g], c->n, &used), "dlogZ", change);
        for (int64_t k = 0; k <= BINS; k++) {
            same(at(all, "mean_abs_dz", place * 6 + k), mean_of(c->abs_dz[g][k], c->n, &used),
                "|dz|", change);
            const double got = at(all, "correlation", place * 6 + k);
            const double want = correlation_of(c->dz[g][k], e[g], c->n);
            if (!isnan(got)) same(got, want, "correlation", change);
            /* frozen_ln and recomputed_ln of a head correlate */
            if (change == 8 && k < 3) cr_assert_not(isnan(got));
        }
        double far[5] = {0}, count[5] = {0};
        for (int i = 0; i < c->n; i++) {
            const double m = c->margin[i];
            const int which = m < 0.1 ? 0 : m < 0.3 ? 1 : m < 0.7 ? 2 : 3;
            count[which] += 1.0, count[4] += 1.0;
            far[which] += size[i] > 0.1, far[4] += size[i] > 0.1;
        }
        for (int64_t m = 0; m < 5; m++) {
            same(at(all, "far", place * 5 + m), far[m] / count[m], "far", change);
            same(at(all, "cases", change * 5 + m), count[m], "cases", change);
        }
    }
    double top[2] = {0};
    for (int i = 0; i < c->n; i++) top[0] += c->top[0][i], top[1] += c->top[1][i];
    for (int64_t i = 0; i < 2; i++)
        same(at(all, "reordered", (i * changes + change) * 5 + 4), top[i] / c->n, "reordered",
            change);
    double beta[40];
    for (int i = 0; i < c->n; i++) beta[i] = isnan(c->r2[i]) ? NAN : c->beta[i];
    same(at(all, "mean_fit_beta", change), mean_of(beta, c->n, &used), "beta", change);
    same(at(all, "mean_fit_r2", change), mean_of(c->r2, c->n, &used), "R2", change);
    same(at(all, "fits", change), used, "fits", change);
    check_quantiles(all, c->r2, c->n, used, change);
}

Test(partition_corpus, totals_are_those_of_the_single_runs) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *all = open_corpus(model, 2, OPTIONS), *one[TEXTS];
    psc_error error = {0};
    add_texts(all, 0, TEXTS - 1);
    must_report(all);
    for (int i = 0; i < TEXTS; i++) {
        psc_token tokens[LONGEST] = {{0}};
        for (int j = 0; j < lengths[i]; j++) tokens[j].id = texts[i][j];
        one[i] = must_session(model, NULL, 1, 0);
        cr_assert_eq(psc_session_plugin(one[i], "partition", OPTIONS, &error), PSC_OK);
        cr_assert_eq(psc_session_target(one[i], "next", &error), PSC_OK);
        must_run_one(one[i], tokens, lengths[i]);
    }
    const int64_t changes = must_array(one[0], "partition.dlogz").shape[0];
    cr_assert_eq(must_array(all, "partition.cases").shape[0], changes);
    for (int64_t change = 0; change < changes; change++) {
        cases c = {0};
        for (int i = 0; i < TEXTS; i++)
            for (int64_t row = 0; row < lengths[i]; row++) gather_row(one[i], &c, change, row);
        check_change(all, &c, change, changes);
    }
    double sum = 0.0;
    for (int i = 0; i < TEXTS; i++) {
        for (int64_t row = 0; row < lengths[i]; row++)
            sum += at(one[i], "log_z", 2 * lengths[i] + row);
        psc_session_close(&one[i]);
    }
    same(at(all, "mean_log_z", 2), sum / 24.0, "log Z", -1);
    psc_session_close(&all);
    psc_model_close(&model);
}

/* --- batches --------------------------------------------------------------------------------- */

static const char *const totals[] = {"partition.mean_abs_dlogz", "partition.mean_dlogz",
    "partition.mean_abs_dz", "partition.correlation", "partition.far", "partition.cases",
    "partition.reordered", "partition.mean_half_variance", "partition.mean_fit_alpha",
    "partition.mean_fit_beta", "partition.mean_fit_r2", "partition.fits",
    "partition.fit_beta_quantiles", "partition.fit_r2_quantiles", "partition.fit_beta_histogram",
    "partition.fit_r2_histogram", "partition.mean_log_z", "partition.sd_log_z",
    "partition.mean_log_z_gap", "partition.sd_log_z_gap", "partition.mean_margin",
    "partition.mean_top_share", "partition.mean_mass", NULL};

Test(partition_corpus, batches_and_order_do_not_show) {
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    psc_session *together = open_corpus(model, 1, OPTIONS), *apart = open_corpus(model, 3, OPTIONS);
    add_texts(together, 0, TEXTS - 1);
    for (int i = TEXTS; i-- > 0;) add_texts(apart, i, i);
    must_report(together);
    must_report(apart);
    assert_same_arrays(together, apart, totals, "texts one by one, backwards, three threads");
    must_report(apart); /* a report changes no total */
    assert_same_arrays(together, apart, totals, "reported twice");
    psc_session_close(&together);
    psc_session_close(&apart);
    psc_model_close(&model);
}

/* rows=1-8 excludes position 0: a window of one token adds nothing. */
Test(partition_corpus, short_windows_without_a_chosen_row) {
    psc_model *model = must_model(golden_path("tied_f32", NULL));
    psc_session *session = open_corpus(model, 1, "rows=1-8");
    add_texts(session, 3, 3);
    add_texts(session, 2, 3);
    must_report(session);
    cr_assert_eq(at(session, "cases", 4), lengths[2] - 1);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* Equal windows do not vary, and a constant correlates with nothing. */
Test(partition_corpus, equal_windows_do_not_vary) {
    static const char *const names[] = {"parallel_f32", "sequential_f32", "odd_sizes"};
    for (int m = 0; m < 3; m++)
        for (int windows = 1; windows <= 5; windows += 2) {
            psc_model *model = must_model(golden_path(names[m], NULL));
            psc_session *session = open_corpus(model, 1, OPTIONS);
            for (int i = 0; i < windows; i++) add_texts(session, 3, 3); /* one token each */
            must_report(session);
            const psc_array correlation = must_array(session, "partition.correlation");
            for (int64_t i = 0; i < array_count(&correlation); i++)
                cr_assert(isnan(array_at(&correlation, i)), "%s, %d windows: correlation %ld is %g",
                    names[m], windows, (long)i, array_at(&correlation, i));
            const psc_array lenses = must_array(session, "partition.sd_log_z");
            for (int64_t i = 0; i < array_count(&lenses); i++) {
                cr_assert_eq(at(session, "sd_log_z", i), 0.0);
                cr_assert_eq(at(session, "sd_log_z_gap", i), 0.0);
            }
            psc_session_close(&session);
            psc_model_close(&model);
        }
}

/* Without a change or a row the report still succeeds. */
Test(partition_corpus, nothing_to_report) {
    psc_model *model = must_model(golden_path("tied_f32", NULL));
    psc_session *session = open_corpus(model, 1, NULL);
    must_report(session);
    cr_assert_eq(at(session, "cases", 4), 0.0);
    cr_assert(isnan(at(session, "far", 4)));
    psc_session_close(&session);
    psc_model_close(&model);
}
