/* Every way to run, multiplied: logits, every hook point and every array of the built-in plugins
 * are equal to the bit over
 *
 *   {each ISA of this machine} x {1, 2, 3 threads} x {chunks of 1, 7, 128, all} x {alone, the
 *   middle one of three} x {observed by none, by plugins, by all} x {freshly packed, mapped from
 *   the cache}
 *
 * bits_product/full covers the whole product on two models (parallel blocks in f32, sequential in
 * bf16). bits_product/pairs covers a subset in which every pair of settings occurs, on all variants
 * of model, and bits_product/long_pairs on a longer text; pairs runs under an emulator too. Tensors
 * are hashed, not kept. Runs of one sequence are compared with the first run, arrays of three
 * sequences with those of the first run of three (test_bits.c compares rows in a batch with rows
 * alone). A new built-in plugin is loaded without options; one that needs options to show all its
 * arrays needs a line in `loads`. */
#include "golden.h"
#include "kernels.h"
#include "loader_fixture.h"
#include "results.h"

#include <math.h>
#include <xxhash.h>

enum { MAX_ARRAYS = 320, MAX_WAYS = 512, MAX_ROWS = 160, N_AXES = 6 };
enum { AXIS_ISA, AXIS_THREADS, AXIS_CHUNK, AXIS_BATCH, AXIS_SEEN, AXIS_CACHE };
enum { SEEN_BY_NONE, SEEN_BY_PLUGINS, SEEN_BY_ALL };

/* A setting on each axis, as an index. */
typedef struct way {
    int at[N_AXES];
} way;

static const int32_t chunks[] = {0, 7, 128, 1};
static const char *isas[PSC_ISA_COUNT];
static int extent[N_AXES] = {0, 3, 4, 2, 3, 2};

typedef struct digest {
    uint64_t logits;
    uint64_t points[PSC_POINT_COUNT]; /* the sum of the rows' hashes */
    int64_t rows[PSC_POINT_COUNT];
    int n_arrays;
    struct {
        char name[96];
        uint64_t hash;
    } arrays[MAX_ARRAYS];
} digest;

/* --- plugins --------------------------------------------------------------------------------- */

/* Options under which a plugin gives all its arrays. ALONE: plugins that need one text, not in a
 * batch. SHORT: of those, the ones that run the text again for each of its rows. NEVER: editors, plugins that compare two runs (test_interventions.c, test_circuit.c), and
 * plugins that need a corpus or labels (tests/analysis/test_forms.c). */
enum { ANYWHERE, ALONE, SHORT, NEVER };
enum { MOST_SHORT = 20 }; /* rows */
static const struct {
    const char *name, *options;
    int where;
} loads[] = {
    {"logits", "rows=all,level=layer+head+source+neuron", ANYWHERE},
    {"logits", "rows=all,centered=yes,level=head", ANYWHERE},
    {"ln", "rows=all,target_rows=all", ANYWHERE},
    {"mlp", "rows=all,target_rows=all,arrays=all", ANYWHERE}, {"lens", "rows=all", ANYWHERE},
    {"sampling", "rows=all", ANYWHERE}, {"partition", "rows=all,level=layer+head", ANYWHERE},
    {"partition", "perturbations=ablation,alphas=0+0.5", ALONE},
    {"attention", "reader=L1H0", ALONE}, {"attention", "reader=L0H0,key=1", ALONE},
    {"edges", "rows=all,carry=yes", ALONE},
    {"spans", "levels=0/0+1/L1H0,prefixes=yes,closure=yes", ANYWHERE},
    {"spans", "reads=weight,power=1,units=words,range=2-9", ANYWHERE},
    {"words", "levels=0/0+1/L1H0,top=2", ANYWHERE}, {"sweep", "over=heads,metric=kl", ALONE},
    {"sweep", "over=resid_pre,do=mean", SHORT}, {"gradient", "target_rows=all,steps=8", SHORT},
    {"attribution", "over=heads_by_pos,do=mean", SHORT}, {"ablate", NULL, NEVER},
    {"scale", NULL, NEVER}, {"steer", NULL, NEVER}, {"knockout", NULL, NEVER},
    {"patch", NULL, NEVER}, {"direction", NULL, NEVER},
    {"directions", NULL, NEVER}, /* tests/analysis/test_direction*.c */
    {"circuit", NULL, NEVER},    /* tests/analysis/test_circuit.c */
    {"effects", NULL, NEVER}, {"means", NULL, NEVER}, {"activations", NULL, NEVER},
    {"treebank", NULL, NEVER}, {"probe", NULL, NEVER},
    {"sae", NULL, NEVER},   /* needs a dictionary: tests/analysis/test_sae.c */
    {"forms", NULL, NEVER}, /* needs labels: tests/analysis/test_forms.c */
};
#define N_LOADS (sizeof loads / sizeof *loads)

static void load(psc_session *session, const char *name, const char *options) {
    psc_error error = {0};
    cr_assert_eq(psc_session_plugin(session, name, options, &error), PSC_OK, "%s %s: %s", name,
        options ? options : "", error.message);
}

static void load_plugins(psc_session *session, bool alone, int32_t n) {
    psc_error error = {0};
    cr_assert_eq(psc_session_target(session, "#3", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_target(session, "top:2", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_session_contrast(session, "#5", "#7", &error), PSC_OK, "%s", error.message);
    for (size_t i = 0; i < N_LOADS; i++)
        if (loads[i].where == ANYWHERE || (alone && loads[i].where == ALONE) ||
            (alone && n <= MOST_SHORT && loads[i].where == SHORT))
            load(session, loads[i].name, loads[i].options);
    for (int32_t p = 0; alone && p < psc_builtin_count(); p++) {
        bool known = false;
        for (size_t i = 0; i < N_LOADS; i++)
            known |= strcmp(psc_builtin(p)->name, loads[i].name) == 0;
        if (!known) load(session, psc_builtin(p)->name, NULL);
    }
}

/* --- a run ----------------------------------------------------------------------------------- */

/* The payload of the observer of every point. */
typedef struct watch {
    digest *to;
    int32_t sequence; /* the sequence whose rows are hashed */
} watch;

/* A row's numbers; of scores and patterns only the keys up to its position, as the others are
 * undefined. */
static int hash_rows(const psc_event *event, void *payload) {
    const watch *w = payload;
    const psc_view *t = &event->tensor;
    const bool keys = event->point == PSC_HOOK_PATTERN || event->point == PSC_HOOK_ATTN_SCORES;
    const int64_t outer = t->n_axes == 3 ? t->shape[1] : 1, inner = t->shape[t->n_axes - 1];
    for (int32_t r = 0; r < event->n_rows; r++) {
        const psc_row *row = &event->rows[r];
        if (row->sequence != w->sequence) continue;
        const int32_t place[2] = {event->layer, row->position};
        uint64_t hash = XXH3_64bits(place, sizeof place);
        for (int64_t i = 0; i < outer; i++) {
            const float *x = t->data + r * t->stride[0] + (t->n_axes == 3 ? i * t->stride[1] : 0);
            const int64_t n = keys ? row->position + 1 : inner;
            hash = XXH3_64bits_withSeed(x, (size_t)n * sizeof *x, hash);
            for (int64_t j = n; j < inner; j++)
                cr_assert_eq(x[j], event->point == PSC_HOOK_PATTERN ? 0.0f : -INFINITY);
        }
        w->to->points[event->point] += hash;
        w->to->rows[event->point]++;
    }
    return 0;
}

static void observe_all(psc_session *session, const psc_model_info *info, watch *w) {
    psc_error error = {0};
    for (int p = 0; p < PSC_POINT_COUNT; p++)
        if (p != PSC_HOOK_RESID_MID || !info->parallel_residual)
            cr_assert_eq(psc_session_observe(session, (psc_point)p, NULL, hash_rows, w, &error),
                PSC_OK, "%s", error.message);
}

static void hash_arrays(digest *out, const psc_results *results) {
    for (int i = 0; results && i < results->n_arrays; i++) {
        const psc_stored_array *a = &results->arrays[i];
        cr_assert_lt(out->n_arrays, MAX_ARRAYS);
        snprintf(out->arrays[out->n_arrays].name, sizeof out->arrays[0].name, "%s", a->view.name);
        out->arrays[out->n_arrays++].hash = XXH3_64bits(a->view.data, a->bytes);
    }
}

static void run(
    digest *out, psc_model *const models[2], const way *w, const psc_token *tokens, int32_t n) {
    psc_model *model = models[w->at[AXIS_CACHE]];
    const psc_model_info *info = psc_model_get_info(model);
    const bool alone = w->at[AXIS_BATCH] == 0;
    const int32_t before = alone ? 0 : n - 2, after = alone ? 0 : 3;
    psc_token others[MAX_ROWS];
    watch eyes = {out, alone ? 0 : 1};
    for (int32_t i = 0; i < n; i++) others[i] = (psc_token){.id = tokens[i ? n - 1 - i : 0].id};
    memset(out, 0, sizeof *out);
    psc_session *session = must_session(
        model, isas[w->at[AXIS_ISA]], w->at[AXIS_THREADS] + 1, chunks[w->at[AXIS_CHUNK]]);
    if (w->at[AXIS_SEEN] != SEEN_BY_NONE) load_plugins(session, alone, n);
    if (w->at[AXIS_SEEN] == SEEN_BY_ALL) observe_all(session, info, &eyes);
    if (alone)
        must_run_one(session, tokens, n);
    else
        must_run(
            session, (psc_input[]){{0, before, others}, {1, n, tokens}, {2, after, others}}, 3);
    hash_arrays(out, psc_session_results(session));
    for (int32_t i = 0; i < n; i++)
        out->logits = XXH3_64bits_withSeed(psc_session_logits(session, before + i),
            (size_t)info->d_vocab * sizeof(float), out->logits);
    psc_session_close(&session);
}

/* --- the product and its pairs --------------------------------------------------------------- */

static int whole_product(way *out) {
    int n = 1;
    extent[AXIS_ISA] = 0;
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++)
        if (psc_isa_mask() >> isa & 1) isas[extent[AXIS_ISA]++] = psc_isa_name((psc_isa)isa);
    for (int axis = 0; axis < N_AXES; axis++) n *= extent[axis];
    cr_assert_leq(n, MAX_WAYS);
    for (int i = 0; i < n; i++)
        for (int axis = 0, rest = i; axis < N_AXES; rest /= extent[axis++])
            out[i].at[axis] = rest % extent[axis];
    return n;
}

typedef bool pair_table[N_AXES][N_AXES][4][4];

/* How many pairs of settings of w are new; marks them if asked. */
static int new_pairs(const way *w, pair_table seen, bool mark) {
    int n = 0;
    for (int a = 0; a < N_AXES; a++)
        for (int b = 0; b < a; b++) {
            bool *is_seen = &seen[a][b][w->at[a]][w->at[b]];
            n += !*is_seen;
            if (mark) *is_seen = true;
        }
    return n;
}

/* Always picks the way with the most new pairs, until none is left. */
static int covering_pairs(way *out) {
    static way all[MAX_WAYS];
    static pair_table seen;
    const int n_all = whole_product(all);
    int n = 0;
    memset(seen, 0, sizeof seen);
    for (;;) {
        int best = 0;
        for (int i = 1; i < n_all; i++)
            if (new_pairs(&all[i], seen, false) > new_pairs(&all[best], seen, false)) best = i;
        if (new_pairs(&all[best], seen, false) == 0) return n;
        new_pairs(&all[best], seen, true);
        out[n++] = all[best];
    }
}

/* --- comparison ------------------------------------------------------------------------------ */

static void same_digest(const digest *x, const digest *alone, const digest *kind, const way *w,
    int32_t n, const char *variant) {
    char what[160], point[64];
    snprintf(what, sizeof what, "%s, %s, %d threads, chunk %d, %s, seen by %s, %s", variant,
        isas[w->at[AXIS_ISA]], w->at[AXIS_THREADS] + 1, (int)chunks[w->at[AXIS_CHUNK]],
        w->at[AXIS_BATCH] ? "in a batch" : "alone",
        w->at[AXIS_SEEN] == SEEN_BY_NONE  ? "none"
        : w->at[AXIS_SEEN] == SEEN_BY_ALL ? "all"
                                          : "plugins",
        w->at[AXIS_CACHE] ? "mapped" : "packed");
    cr_assert_eq(x->logits, alone->logits, "%s: logits differ", what);
    for (int p = 0; p < PSC_POINT_COUNT && w->at[AXIS_SEEN] == SEEN_BY_ALL; p++) {
        psc_point_name(point, sizeof point, (psc_point)p, -1);
        cr_assert(x->rows[p] == alone->rows[p] && x->rows[p] % n == 0, "%s: %s rows", what, point);
        cr_assert_eq(x->points[p], alone->points[p], "%s: %s differs", what, point);
    }
    if (w->at[AXIS_SEEN] == SEEN_BY_NONE) return;
    cr_assert_eq(x->n_arrays, kind->n_arrays, "%s: other arrays", what);
    for (int i = 0; i < x->n_arrays; i++) {
        cr_assert_str_eq(x->arrays[i].name, kind->arrays[i].name);
        cr_assert_eq(
            x->arrays[i].hash, kind->arrays[i].hash, "%s: %s differs", what, x->arrays[i].name);
    }
}

/* The model packed from its file, and mapped from the cache file of a third opening. */
static void open_both(psc_model *models[2], const char *variant) {
    psc_error error = {0};
    psc_model_options options = PSC_MODEL_OPTIONS_INIT;
    options.cache_dir = at("kept");
    options.cache_least = 1;
    models[0] = must_model(golden_path(variant, NULL));
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(psc_model_open_with(&models[1], golden_path(variant, NULL), &options, &error),
            PSC_OK, "%s", error.message);
        if (i == 0) psc_model_close(&models[1]);
    }
    const char *text = psc_model_weights_text(models[1]);
    cr_assert_eq(strncmp(text, "mapped", 6), 0, "%s: %s", variant, text);
}

static void walk(const char *variant, const way *ways, int n_ways, int32_t n) {
    static digest base[2], other;
    psc_model *models[2];
    psc_token tokens[MAX_ROWS];
    open_both(models, variant);
    for (int32_t i = 0; i < n; i++) tokens[i] = (psc_token){.id = (i * i + 3 * i) % 80};
    for (int batch = 0; batch < 2; batch++)
        run(&base[batch], models, &(way){{0, 0, 0, batch, SEEN_BY_ALL, 0}}, tokens, n);
    cr_assert_geq(base[0].n_arrays, 60, "only %d arrays", base[0].n_arrays);
    cr_assert_geq(base[1].n_arrays, 40, "only %d arrays", base[1].n_arrays);
    for (int i = 0; i < n_ways; i++) {
        run(&other, models, &ways[i], tokens, n);
        same_digest(&other, &base[0], &base[ways[i].at[AXIS_BATCH]], &ways[i], n, variant);
    }
    psc_model_close(&models[0]);
    psc_model_close(&models[1]);
}

/* Sanitizers take ten times as long, and see in `pairs` what they can find. */
#ifdef __SANITIZE_ADDRESS__
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif

Test(bits_product, full) {
    static way ways[MAX_WAYS];
    if (SANITIZED) return;
    const int n = whole_product(ways);
    fixture_open();
    walk("odd_sizes", ways, n, 11);
    walk("sequential_bf16_v5", ways, n, 11);
    fixture_close();
}

Test(bits_product, pairs) {
    static way ways[MAX_WAYS];
    const int n = covering_pairs(ways);
    fixture_open();
    for (const char *const *v = golden_variants; *v; v++) walk(*v, ways, n, 13);
    fixture_close();
}

/* With a chunk of 128 that is not the whole text. */
Test(bits_product, long_pairs) {
    static way ways[MAX_WAYS];
    const int n = covering_pairs(ways);
    fixture_open();
    walk("parallel_f32", ways, n, 140);
    fixture_close();
}
