/* Heads and links (analysis/kit/heads.c, links.c, links_frozen.c) by brute force: runs of the
 * plugin knockout one at a time, the frozen network in float64 from the weights; the arrays of
 * `spans` from these, their bits, refusals. */
#include "golden.h"
#include "heads.h"
#include "links.h"
#include "plugin_fixture.h"

enum { N_TOKENS = 14, N_UNITS = 8, MOST_LINKS = N_TOKENS * N_TOKENS };

/* Units of one to three tokens. */
static int32_t edges[N_UNITS + 1] = {1, 2, 4, 5, 8, 9, 10, 12, 14};
static psc_units units = {.n = N_UNITS, .begin = edges};
static psc_token text[N_TOKENS];
static int n_vocab;
static float *base;

/* --- runs of the plugin knockout ------------------------------------------------------------- */

/* Logits of all rows when rows begin..end-1 may not read the keys of two ranges. */
static float *run_without(int begin, int end, const int from[2], const int to[2]) {
    psc_session *other = must_session(model, NULL, 1, 0);
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.logits = PSC_ROWS_ALL;
    const psc_input input = {0, N_TOKENS, text};
    for (int i = 0; from && i < 2; i++) {
        char options[128];
        if (from[i] >= to[i]) continue;
        snprintf(options, sizeof options, "at=L*H*,keys=%d-%d,rows=%d-%d", from[i], to[i] - 1,
            begin, end - 1);
        cr_assert_eq(psc_session_plugin(other, "knockout", options, &error), PSC_OK, "%s: %s",
            options, error.message);
    }
    cr_assert_eq(psc_session_run(other, &input, 1, &run, &error), PSC_OK, "%s", error.message);
    float *logits = malloc((size_t)N_TOKENS * (size_t)n_vocab * sizeof *logits);
    for (int r = 0; r < N_TOKENS; r++)
        memcpy(logits + r * n_vocab, psc_session_logits(other, r), (size_t)n_vocab * sizeof(float));
    psc_session_close(&other);
    return logits;
}

static double log_sum(const float *z) {
    long double most = -INFINITY, sum = 0;
    for (int t = 0; t < n_vocab; t++) most = fmaxl(most, z[t]);
    for (int t = 0; t < n_vocab; t++) sum += expl(z[t] - most);
    return (double)(most + logl(sum));
}

static double kl_of(const float *z, const float *y) {
    const double a = log_sum(z), b = log_sum(y);
    double kl = 0;
    for (int t = 0; t < n_vocab; t++) kl += exp(z[t] - a) * ((z[t] - a) - (y[t] - b));
    return kl;
}

/* Sum of KL over the rows after position b, at most `rows` of them. */
static double later_kl(int b, int rows, const int from[2], const int to[2]) {
    const int end = rows > 0 && b + 1 + rows < N_TOKENS ? b + 1 + rows : N_TOKENS;
    float *changed = run_without(b + 1, end, from, to);
    double sum = 0;
    for (int r = b + 1; r < end; r++) sum += kl_of(base + r * n_vocab, changed + r * n_vocab);
    free(changed);
    return sum;
}

static double necessity_of(int b, int rows, int unit) {
    const int from[2] = {edges[unit], 0}, to[2] = {edges[unit + 1], 0};
    return later_kl(edges[b + 1] - 1, rows, from, to);
}

static double sufficiency_of(int a, int b, int rows, int unit) {
    const int from[2] = {edges[a], edges[unit + 1]}, to[2] = {edges[unit], edges[b + 1]};
    return -later_kl(edges[b + 1] - 1, rows, from, to);
}

/* --- the kit, in the bridge ------------------------------------------------------------------ */

static psc_knockouts knockouts;
static psc_frozen_links frozen;
static psc_context *context;
static int rows_after, distance;
static psc_head heads[] = {{.begin = 2, .end = 5}, {.begin = 0, .end = 1}, {.begin = 3, .end = 5},
    {.begin = 2, .end = 5}, {.begin = 6, .end = 6}, {.begin = 4, .end = 7}};
enum { N_HEADS = sizeof heads / sizeof *heads };
static double necessity[N_UNITS * N_UNITS], sufficiency[N_UNITS];
static psc_link links[MOST_LINKS];

static int keep_context(psc_context *given_context, const psc_host *given, void **state) {
    (void)state;
    host = given;
    context = given_context;
    return 0;
}

static int on_begin(psc_context *c, void *state) {
    (void)state;
    return psc_knockouts_begin(c, host, &knockouts) ||
           psc_frozen_links_begin(&frozen, &knockouts.base);
}

static int on_end(psc_context *c, void *state, int status) {
    (void)state, (void)c;
    if (status) return 0;
    for (int i = 0; i < N_UNITS * N_UNITS; i++) necessity[i] = -1;
    psc_links_list(N_UNITS, distance, links);
    for (knockouts.counting = 1; knockouts.counting >= 0; knockouts.counting--)
        if (psc_knockouts_open(&knockouts, 0, N_TOKENS) ||
            psc_heads_find(
                &knockouts, &units, rows_after, N_HEADS, heads, necessity, sufficiency) ||
            psc_links_causal(&knockouts, &units, psc_links_count(N_UNITS, distance), links))
            return -1;
    return psc_frozen_links_find(&frozen, &units, distance, links);
}

static void open_model(const char *folder) {
    model = must_model(folder);
    n_vocab = psc_model_get_info(model)->d_vocab;
    for (int i = 0; i < N_TOKENS; i++) text[i].id = i ? (i * 37 + 11) % n_vocab : 0;
    base = run_without(0, 0, NULL, NULL);
}

static void run_kit(void) {
    session = must_session(model, NULL, 2, 5);
    find_bridge();
    bridge->open = keep_context;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    must_load(PLUGIN("bridge"), NULL);
    must_run_one(session, text, N_TOKENS);
    cr_assert_eq(knockouts.done, knockouts.all, "%g rows, but %g were counted", knockouts.done,
        knockouts.all);
    psc_session_close(&session);
}

/* --- heads ----------------------------------------------------------------------------------- */

static void check_head(int i) {
    const psc_head *h = &heads[i];
    int best = h->begin, sufficient = h->begin;
    double need[N_UNITS], enough[N_UNITS];
    if (edges[h->end + 1] == N_TOKENS) {
        cr_assert(h->necessary == -1 && h->sufficient == -1 && isnan(h->necessity));
        return;
    }
    for (int j = h->begin; j <= h->end; j++) {
        need[j] = necessity_of(h->end, rows_after, j);
        enough[j] = h->begin == h->end ? 0 : sufficiency_of(h->begin, h->end, rows_after, j);
        if (need[j] > need[best]) best = j;
        if (enough[j] > enough[sufficient]) sufficient = j;
        cr_assert_float_eq(necessity[h->end * N_UNITS + j], need[j], 1e-9, "head %d unit %d", i, j);
        if (i == 0) cr_assert_float_eq(sufficiency[j - h->begin], enough[j], 1e-9, "unit %d", j);
    }
    cr_assert_eq(h->necessary, best, "head %d", i);
    cr_assert_eq(h->sufficient, sufficient, "head %d", i);
    cr_assert_float_eq(h->necessity, need[best], 1e-9);
    cr_assert_float_eq(h->sufficiency, enough[best], 1e-9);
}

/* --- links ----------------------------------------------------------------------------------- */

static double dlogp_of(const float *z, const float *y, int row) {
    if (row + 1 == N_TOKENS) return NAN;
    return (y[text[row + 1].id] - log_sum(y)) - (z[text[row + 1].id] - log_sum(z));
}

static void check_links(void) {
    const int64_t n = psc_links_count(N_UNITS, distance);
    int64_t i = 0;
    for (int to = 1; to < N_UNITS; to++)
        for (int from = 0; from < to; from++) {
            if (distance > 0 && to - from > distance) continue;
            const psc_link *link = &links[i++];
            const int row = edges[to + 1] - 1, a[2] = {edges[from], 0}, b[2] = {edges[from + 1], 0};
            float *changed = run_without(edges[to], edges[to + 1], a, b);
            const float *z = base + row * n_vocab, *y = changed + row * n_vocab;
            cr_assert(link->from == from && link->to == to);
            cr_assert_float_eq(link->kl, kl_of(z, y), 1e-9, "%d -> %d", from, to);
            const double dlogp = dlogp_of(z, y, row);
            if (isnan(dlogp))
                cr_assert(isnan(link->dlogp));
            else
                cr_assert_float_eq(link->dlogp, dlogp, 1e-9, "%d -> %d", from, to);
            free(changed);
        }
    cr_assert_eq(i, n);
}

static void check_causal(const char *folder, int after, int most) {
    rows_after = after;
    distance = most;
    open_model(folder);
    run_kit();
    for (int i = 0; i < N_HEADS; i++) check_head(i);
    cr_assert_eq(necessity[0 * N_UNITS], -1, "a right edge of no span was computed");
    check_links();
    free(base);
    psc_model_close(&model);
}

Test(spans_effects, causal_parallel) {
    check_causal(golden_path("parallel_f32", NULL), 0, 0);
}

Test(spans_effects, causal_sequential) {
    check_causal(golden_path("sequential_f32", NULL), 0, 3);
}

Test(spans_effects, causal_odd_sizes) {
    check_causal(golden_path("odd_sizes", NULL), 2, 1);
}

Test(spans_effects, causal_embedded) {
    if (golden_embedded()) check_causal(golden_embedded(), 0, 0);
}

/* --- the frozen network in float64 ----------------------------------------------------------- */

static double *weights_of(const psc_tensors *file, const char *name, size_t n) {
    float *values = golden_f32(golden_find(file, name), n);
    double *out = malloc(n * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = (double)values[i];
    free(values);
    return out;
}

/* x of a row minus what unit `from` writes to it. */
static void take_out(const psc_tensors *file, const recording *r, int from, int row, double *x) {
    const psc_model_info *m = &r->info;
    const int wide = m->d_model, size = m->d_head;
    for (int i = 0; i < wide; i++)
        x[i] = (double)recording_row(r, PSC_HOOK_RESID_POST, m->n_layers - 1, 0, row)[i];
    for (int l = 0; l < m->n_layers; l++) {
        char name[80];
        snprintf(name, sizeof name, "gpt_neox.layers.%d.attention.dense.weight", l);
        double *w = weights_of(file, name, (size_t)(wide * wide));
        const float *pattern = recording_row(r, PSC_HOOK_PATTERN, l, 0, row);
        for (int t = edges[from]; t < edges[from + 1]; t++) {
            const float *v = recording_row(r, PSC_HOOK_V, l, 0, t);
            for (int i = 0; i < wide; i++)
                for (int c = 0; c < wide; c++)
                    x[i] -=
                        (double)pattern[c / size * r->length + t] * w[i * wide + c] * (double)v[c];
        }
        free(w);
    }
}

static void check_frozen_link(const psc_tensors *file, const recording *r, const psc_link *link) {
    const int wide = r->info.d_model, row = edges[link->to + 1] - 1;
    double *gamma = weights_of(file, "gpt_neox.final_layer_norm.weight", (size_t)wide);
    double *beta = weights_of(file, "gpt_neox.final_layer_norm.bias", (size_t)wide);
    double *unembed = weights_of(file, "embed_out.weight", (size_t)(n_vocab * wide));
    double x[64], mean = 0, squares = 0;
    float y[256];
    take_out(file, r, link->from, row, x);
    for (int i = 0; i < wide; i++) mean += x[i] / wide;
    for (int i = 0; i < wide; i++) squares += (x[i] - mean) * (x[i] - mean);
    const double sigma = sqrt(squares / wide + (double)r->info.layer_norm_eps);
    for (int t = 0; t < n_vocab; t++) {
        double sum = 0;
        for (int i = 0; i < wide; i++)
            sum += unembed[t * wide + i] * ((x[i] - mean) / sigma * gamma[i] + beta[i]);
        y[t] = (float)sum;
    }
    const float *z = base + row * n_vocab;
    cr_assert_float_eq(link->frozen, kl_of(z, y), 2e-6, "%d -> %d: %g, should be %g", link->from,
        link->to, link->frozen, kl_of(z, y));
    if (row + 1 < N_TOKENS) cr_assert_float_eq(link->dfrozen, dlogp_of(z, y, row), 2e-5);
    cr_assert(link->frozen > 0);
    free(gamma);
    free(beta);
    free(unembed);
}

static void check_frozen(const char *name) {
    recording r;
    distance = 0;
    open_model(golden_path(name, NULL));
    run_kit();
    psc_tensors *file = golden_open(golden_path(name, "model.safetensors"));
    psc_session *watched = must_session(model, NULL, 1, 0);
    recording_open(&r, psc_model_get_info(model), 1, N_TOKENS);
    recording_attach(&r, watched);
    must_run_one(watched, text, N_TOKENS);
    for (int i = 0; i < psc_links_count(N_UNITS, 0); i++) check_frozen_link(file, &r, &links[i]);
    psc_session_close(&watched);
    recording_close(&r);
    psc_tensors_close(&file);
    free(base);
    psc_model_close(&model);
}

Test(spans_effects, frozen_parallel) {
    check_frozen("parallel_f32");
}

Test(spans_effects, frozen_sequential) {
    check_frozen("sequential_f32");
}

/* --- the plugin ------------------------------------------------------------------------------ */

#define ALL_OPTIONS "heads=causal,links=frozen+causal,of=2-5,levels=0/1/0+1,power=1"

static const double *doubles(const char *name) {
    return must_array(name).data;
}

static const int32_t *integers(const char *name) {
    return must_array(name).data;
}

static void open_spans(const char *options, const char *isa, int32_t threads, int32_t chunk) {
    session = must_session(model, isa, threads, chunk);
    must_load("spans", options);
}

/* The arrays say of each bracket what the kit says of its units. */
Test(spans_effects, arrays) {
    open_model(golden_path("parallel_f32", NULL));
    open_spans(ALL_OPTIONS, NULL, 2, 0);
    must_run_one(session, text, N_TOKENS);
    const psc_array shape = must_array("spans.head");
    const int32_t *brackets = integers("spans.brackets"), *head = integers("spans.head");
    const double *figure = doubles("spans.necessity"), *of = doubles("spans.necessity_of");
    const int n = N_TOKENS - 1;
    int inner = 0;
    cr_assert(shape.n_axes == 2 && shape.shape[0] == 3 && shape.shape[1] == n - 1);
    for (int i = 0; i < 3 * (n - 1); i++) {
        const int a = brackets[2 * i], b = brackets[2 * i + 1];
        const double *row = of + (b - 1) * n;
        if (b == n) {
            cr_assert(head[i] == -1 && isnan(figure[i]));
            continue;
        }
        int best = a;
        for (int j = a; j <= b; j++) {
            const int from[2] = {j, 0}, to[2] = {j + 1, 0};
            cr_assert_float_eq(row[j - 1], later_kl(b, 0, from, to), 1e-9);
            if (row[j - 1] > row[best - 1]) best = j;
        }
        inner++;
        cr_assert(head[i] == best && figure[i] == row[best - 1]);
    }
    cr_assert(inner > 3);
    for (int j = 2; j <= 5; j++)
        cr_assert_eq(doubles("spans.of_necessity")[j - 2], of[(5 - 1) * n + j - 1]);
    const int32_t *from = integers("spans.from"), *to = integers("spans.to");
    const int64_t n_links = must_array("spans.kl").shape[0];
    cr_assert_eq(n_links, n * (n - 1) / 2);
    cr_assert(from[n_links - 1] == n - 1 && to[n_links - 1] == n);
    psc_session_close(&session);
    free(base);
    psc_model_close(&model);
}

Test(spans_effects, bits) {
    static const struct {
        const char *options, *arrays[8];
    } cases[] = {{ALL_OPTIONS, {"head", "necessity", "sufficiency", "most_sufficient",
                                   "head_by_reads", "kl", "frozen_kl", "dlogp_next"}},
        {"heads=reads,of=1-4,links=frozen,distance=2,after=3",
            {"head", "reads", "of_reads", "frozen_kl", "dlogp_next"}},
        {"heads=residual,of=1-4", {"head", "cosine", "of_cosine"}}};
    static const struct {
        const char *isa;
        int32_t threads, chunk;
    } ways[] = {{"reference", 1, 0}, {"reference", 2, 3}, {NULL, 3, 1}, {NULL, 2, 4}};
    open_model(golden_path("odd_sizes", NULL));
    for (int c = 0; c < 3; c++) {
        psc_session *first, *other;
        open_spans(cases[c].options, NULL, 1, 0);
        first = session;
        must_run_one(first, text, N_TOKENS);
        for (int w = 0; w < 4; w++) {
            open_spans(cases[c].options, ways[w].isa, ways[w].threads, ways[w].chunk);
            other = session;
            must_run_one(other, text, N_TOKENS);
            for (int a = 0; a < 8 && cases[c].arrays[a]; a++) {
                char name[64];
                snprintf(name, sizeof name, "spans.%s", cases[c].arrays[a]);
                session = first;
                const psc_array x = must_array(name);
                session = other;
                const psc_array y = must_array(name);
                const int64_t n = x.shape[0] * (x.n_axes > 1 ? x.shape[1] : 1);
                const size_t bytes = (size_t)n * (x.element == PSC_F64 ? 8 : 4);
                cr_assert_eq(memcmp(x.data, y.data, bytes), 0, "%s, way %d", name, w);
            }
            psc_session_close(&other);
        }
        psc_session_close(&first);
    }
    free(base);
    psc_model_close(&model);
}

/* Two sequences in one run have the figures of each alone. */
Test(spans_effects, batch) {
    open_model(golden_path("parallel_f32", NULL));
    open_spans("heads=causal,links=frozen+causal,levels=1", NULL, 2, 0);
    must_run_one(session, text, N_TOKENS);
    const int n = N_TOKENS - 2, n_links = (n + 1) * n / 2;
    double figures[N_TOKENS], kl[MOST_LINKS], frozen_kl[MOST_LINKS];
    memcpy(figures, doubles("spans.sufficiency"), (size_t)n * sizeof *figures);
    memcpy(kl, doubles("spans.kl"), (size_t)n_links * sizeof *kl);
    memcpy(frozen_kl, doubles("spans.frozen_kl"), (size_t)n_links * sizeof *kl);
    psc_session_truncate(session, 0, 0);
    const psc_token start[3] = {{0}, {9, 0, 0}, {4, 0, 0}};
    const psc_input inputs[2] = {{0, 3, start}, {1, N_TOKENS, text}};
    must_run(session, inputs, 2);
    cr_assert_eq(memcmp(figures, doubles("spans.sufficiency") + 1, (size_t)n * 8), 0);
    cr_assert_eq(memcmp(kl, doubles("spans.kl") + 1, (size_t)n_links * 8), 0);
    cr_assert_eq(memcmp(frozen_kl, doubles("spans.frozen_kl") + 1, (size_t)n_links * 8), 0);
    psc_session_close(&session);
    free(base);
    psc_model_close(&model);
}

static void refused(const char *options, const char *word) {
    session = must_session(model, NULL, 1, 0);
    psc_status status = psc_session_plugin(session, "spans", options, &error);
    const psc_input input = {0, N_TOKENS, text};
    if (status == PSC_OK) status = psc_session_run(session, &input, 1, NULL, &error);
    cr_assert_neq(status, PSC_OK, "%s", options);
    cr_assert(strstr(error.message, word), "'%s' is not in: %s", word, error.message);
    psc_session_close(&session);
}

Test(spans_effects, refusals) {
    open_model(golden_path("parallel_f32", NULL));
    refused("links=none+causal", "stands alone");
    refused("of=2-3", "needs heads=");
    refused("of=2-99,heads=reads", "positions 1-13");
    refused("of=x,heads=reads", "of=x");
    refused("heads=last", "heads");
    refused("after=3", "after= needs heads=causal or reads");
    refused("after=3,heads=residual", "after= needs heads=causal or reads");
    refused("distance=3,heads=reads", "distance= needs links=causal or frozen");
    open_spans("heads=causal", NULL, 1, 0);
    psc_input input = {0, 5, text};
    must_run(session, &input, 1);
    input = (psc_input){0, 3, text + 5};
    REFUSED(psc_session_run(session, &input, 1, NULL, &error), PSC_ERROR_PLUGIN, "heads=causal",
        "one run");
    psc_session_close(&session);
    free(base);
    psc_model_close(&model);
}
