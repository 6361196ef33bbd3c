/* Dictionaries against the libraries that publish them: latents and reconstructions of every kind
 * and layout (tests/tools/make_sae_golden.py), the same bits for any tile, stride, ISA and count
 * of threads, and ties. What is refused: test_dictionary_refusals. */
#include "coder.h"
#include "golden.h"
#include "kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOLDER PSC_SOURCE_DIR "/tests/golden/sae/"

static psc_error error;

static const char *const folders[] = {"standard", "standard_mlp", "layer_norm", "constant_norm",
    "average_in", "hook_z", "jumprelu", "topk", "topk_rescaled", "gated", "transcoder",
    "skip_transcoder", "jumprelu_transcoder", "old_hook_point", "old_hook_name", "learned_relu",
    "learned_new", "learned_topk", "learned_batch_topk", "learned_matryoshka", "learned_gated",
    "learned_jumprelu", "sparsify_topk/layers.1", "sparsify_topk/layers.0.mlp",
    "sparsify_groupmax/layers.0.attention", "sparsify_transcoder/layers.0.mlp",
    "sparsify_skip/layers.1.mlp", "sparsify_old/layers.1", "abstopk", "jumprelu_skip_transcoder",
    "centered", "sparsify_skip_old/layers.1.mlp", "files/layer_0.safetensors",
    "files/layer_1.safetensors"};
enum { N_FOLDERS = sizeof folders / sizeof *folders, ROWS = 9, WIDTH = 32 };

/* What the library has of the folder: NAME.safetensors beside it, "/" as ".". */
typedef struct golden {
    float *x, *acts, *out;
} golden;

static golden read_golden(const char *name, size_t n_latents) {
    char path[600];
    const size_t n = (size_t)snprintf(path, sizeof path, FOLDER "%s.safetensors", name);
    for (char *c = path + sizeof FOLDER - 1; c < path + n; c++) *c = *c == '/' ? '.' : *c;
    psc_tensors *file = golden_open(path);
    golden g = {golden_f32(golden_find(file, "x"), ROWS * WIDTH),
        golden_f32(golden_find(file, "acts"), ROWS * n_latents),
        golden_f32(golden_find(file, "out"), ROWS * WIDTH)};
    psc_tensors_close(&file);
    return g;
}

static void free_golden(golden *g) {
    free(g->x);
    free(g->acts);
    free(g->out);
}

static psc_coder *must_open(const psc_model *model, const char *name, const psc_kernels *kernels) {
    char path[600];
    psc_coder *coder = NULL;
    snprintf(path, sizeof path, FOLDER "%s", name);
    cr_assert_eq(
        psc_coder_open(&coder, path, NULL, model, kernels, &error), PSC_OK, "%s", error.message);
    return coder;
}

static const psc_kernels *best(void) {
    return psc_kernels_for(psc_isa_best(psc_isa_mask()));
}

/* --- latents and rows of a run --------------------------------------------------------------- */

typedef struct taken {
    psc_coder *coder;
    psc_team *team;
    const float *x;
    size_t stride;
    float *acts, *out; /* [rows, F], [rows, d_out] */
    int32_t calls;
    int64_t rows;
} taken;

static int take(const psc_latents *l, void *payload) {
    taken *t = payload;
    const size_t n = (size_t)t->coder->info.n_latents, width = (size_t)t->coder->info.d_out;
    cr_assert_eq(l->first, t->rows);
    for (int32_t r = 0; r < l->n_rows; r++) {
        float *acts = t->acts + (size_t)(l->first + r) * n;
        memset(acts, 0, n * sizeof *acts);
        for (int64_t e = l->begin[r]; e < l->begin[r + 1]; e++) {
            cr_assert(e == l->begin[r] || l->ids[e - 1] < l->ids[e]);
            cr_assert(l->ids[e] >= 0 && (size_t)l->ids[e] < n && l->values[e] != 0);
            acts[l->ids[e]] = l->values[e];
        }
    }
    t->calls++;
    t->rows += l->n_rows;
    const psc_status status = psc_coder_decode(
        t->coder, t->team, l, t->x, t->stride, t->out + (size_t)l->first * width, &error);
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    return 0;
}

/* The caller frees acts and out. */
static taken run(psc_coder *coder, psc_team *team, const float *x, size_t stride, int64_t rows) {
    int stopped = 0;
    taken t = {.coder = coder, .team = team, .x = x, .stride = stride};
    t.acts = malloc((size_t)rows * (size_t)coder->info.n_latents * sizeof *t.acts + 1);
    t.out = malloc((size_t)rows * (size_t)coder->info.d_out * sizeof *t.out + 1);
    const psc_status status =
        psc_coder_encode(coder, team, x, stride, rows, take, &t, &stopped, &error);
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    cr_assert_eq(t.rows, rows);
    return t;
}

static void free_taken(taken *t) {
    free(t->acts);
    free(t->out);
}

/* Within 1e-5 of the largest. */
static void assert_close(const float *got, const float *want, size_t n, const char *what) {
    float largest = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmaxf(largest, fabsf(want[i]));
        worst = fmaxf(worst, fabsf(got[i] - want[i]));
    }
    cr_assert(largest > 0 && worst <= 1e-5f * largest, "%s: %g beside %g", what, worst, largest);
}

Test(dictionary, every_layout_gives_its_librarys_latents_and_rows) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int i = 0; i < N_FOLDERS; i++) {
        psc_coder *coder = must_open(model, folders[i], best());
        const size_t n = (size_t)coder->info.n_latents;
        golden g = read_golden(folders[i], n);
        coder->gamma = NULL; /* x of the file has gamma and beta */
        taken t = run(coder, NULL, g.x, WIDTH, ROWS);
        assert_close(t.acts, g.acts, ROWS * n, folders[i]);
        for (size_t j = 0; j < ROWS * n; j++)
            cr_assert_eq(t.acts[j] != 0, g.acts[j] != 0, "%s: latent %zu", folders[i], j);
        assert_close(t.out, g.out, ROWS * WIDTH, folders[i]);
        free_taken(&t);
        free_golden(&g);
        psc_coder_close(&coder);
    }
    psc_model_close(&model);
}

Test(dictionary, a_module_and_a_hook_are_the_same_point) {
    static const struct {
        const char *folder, *in, *out;
    } cases[] = {
        {"standard", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_pre"},
        {"old_hook_point", "blocks.1.hook_resid_pre", "blocks.1.hook_resid_pre"},
        {"hook_z", "blocks.1.attn.hook_z", "blocks.1.attn.hook_z"},
        {"sparsify_topk/layers.1", "blocks.1.hook_resid_post", "blocks.1.hook_resid_post"},
        {"sparsify_topk/layers.0.mlp", "blocks.0.hook_mlp_out", "blocks.0.hook_mlp_out"},
        {"sparsify_groupmax/layers.0.attention", "blocks.0.hook_attn_out",
            "blocks.0.hook_attn_out"},
        {"sparsify_skip/layers.1.mlp", "blocks.1.mlp.hook_in", "blocks.1.hook_mlp_out"},
        {"transcoder", "blocks.0.mlp.hook_in", "blocks.0.hook_mlp_out"},
    };
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_coder *coder = must_open(model, cases[i].folder, best());
        cr_assert_str_eq(coder->info.in_name, cases[i].in, "%s", cases[i].folder);
        cr_assert_str_eq(coder->info.out_name, cases[i].out, "%s", cases[i].folder);
        cr_assert_eq(coder->info.in_affine, strstr(cases[i].in, "hook_in") != NULL);
        psc_coder_close(&coder);
    }
    psc_model_close(&model);
}

/* --- bits ------------------------------------------------------------------------------------ */

static uint64_t enter_fp(void) {
    return psc_fp_enter().saved;
}

static void leave_fp(uint64_t saved) {
    psc_fp_leave((psc_fp_state){saved});
}

/* Rows that no tile holds, with a gap between them. */
enum { MANY = 601, STRIDE = 37 };

static float *many_rows(void) {
    float *x = malloc(sizeof(float) * MANY * STRIDE);
    uint32_t state = 1;
    for (size_t i = 0; i < (size_t)MANY * STRIDE; i++) {
        state = state * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)state * 1e-9f;
    }
    return x;
}

Test(dictionary, bits_do_not_depend_on_tiles_threads_or_isa) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    float *x = many_rows(), one[WIDTH];
    psc_team *team = NULL;
    cr_assert_eq(psc_team_open(&team, 3, enter_fp, leave_fp, &error), PSC_OK);
    for (int i = 0; i < N_FOLDERS; i++) {
        psc_coder *coder = must_open(model, folders[i], psc_kernels_for(PSC_ISA_REFERENCE));
        const size_t n = (size_t)coder->info.n_latents;
        taken want = run(coder, NULL, x, STRIDE, MANY);
        psc_coder *other = must_open(model, folders[i], best());
        taken got = run(other, team, x, STRIDE, MANY);
        cr_assert(want.calls > 1 && want.calls == got.calls);
        cr_assert_arr_eq(got.acts, want.acts, MANY * n * sizeof(float), "%s", folders[i]);
        cr_assert_arr_eq(got.out, want.out, MANY * WIDTH * sizeof(float), "%s", folders[i]);
        for (int64_t r = 0; r < MANY; r += 60) {
            memcpy(one, x + r * STRIDE, sizeof one);
            taken alone = run(other, team, one, WIDTH, 1);
            cr_assert_arr_eq(alone.acts, want.acts + (size_t)r * n, n * sizeof(float));
            cr_assert_arr_eq(alone.out, want.out + r * WIDTH, sizeof one);
            free_taken(&alone);
        }
        free_taken(&want);
        free_taken(&got);
        psc_coder_close(&coder);
        psc_coder_close(&other);
    }
    free(x);
    psc_team_close(&team);
    psc_model_close(&model);
}

/* --- selection ------------------------------------------------------------------------------- */

/* A coder without weights, whose products the test gives. */
static psc_coder plain_coder(int32_t kind, int32_t n, int32_t k) {
    return (psc_coder){.config = {.kind = kind, .n_latents = n, .k = k}, .kernels = best()};
}

/* Compares with a search that counts who is before whom. */
static void check_top(int32_t kind, const float *h, int32_t n, int32_t k, int32_t piece) {
    psc_coder coder = plain_coder(kind, n, k);
    psc_coder_entries list = {0};
    int32_t kept = 0;
    for (int32_t from = 0; from < n; from += piece)
        cr_assert(psc_coder_offer(
            &coder, &list, h + from, from, (size_t)(n - from < piece ? n - from : piece)));
    list.n = psc_coder_keep(&coder, list.at, list.n, list.cut);
    for (int32_t i = 0; i < n; i++) {
        const float size = kind == PSC_DICTIONARY_ABSTOPK ? fabsf(h[i]) : h[i];
        int32_t before = 0;
        for (int32_t j = 0; j < n; j++) {
            const float other = kind == PSC_DICTIONARY_ABSTOPK ? fabsf(h[j]) : h[j];
            before += other > size || (other == size && j < i);
        }
        if (!(size > 0) || before >= k) continue;
        cr_assert((size_t)kept < list.n && list.at[kept].id == i && list.at[kept].value == h[i],
            "kind %d, k %d: latent %d", (int)kind, (int)k, (int)i);
        kept++;
    }
    cr_assert_eq((size_t)kept, list.n);
    free(list.at);
}

Test(dictionary, top_k_is_exact_and_ties_go_to_the_lower_id) {
    static const int32_t ks[] = {1, 2, 5, 32, 300, 700}, pieces[] = {1, 16, 192, 700};
    float h[700];
    uint32_t state = 7;
    for (int round = 0; round < 6; round++) {
        for (int32_t i = 0; i < 700; i++) {
            state = state * 1664525u + 1013904223u;
            /* few values, so that most are ties; rising, falling and equal rows are worst cases */
            h[i] = round == 0   ? (float)(i + 1)
                   : round == 1 ? (float)(700 - i)
                   : round == 2 ? 1.0f
                                : (float)((int32_t)(state >> 16) % (round * 40) - round * 10);
        }
        for (size_t k = 0; k < sizeof ks / sizeof *ks; k++)
            for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
                check_top(PSC_DICTIONARY_TOPK, h, 700, ks[k], pieces[p]);
                check_top(PSC_DICTIONARY_ABSTOPK, h, 700, ks[k], pieces[p]);
            }
    }
}

Test(dictionary, a_limit_itself_and_a_nan_are_not_active) {
    float limits[] = {0.5f, 0.0f, 1.0f, 2.0f}, h[] = {0.5f, -1.0f, NAN, 2.5f};
    psc_coder coder = plain_coder(PSC_DICTIONARY_JUMPRELU, 4, 0);
    psc_coder_entries list = {0};
    coder.limits = limits;
    cr_assert(psc_coder_offer(&coder, &list, h, 0, 4));
    cr_assert(list.n == 1 && list.at[0].id == 3 && list.at[0].value == 2.5f);
    coder.config.kind = PSC_DICTIONARY_RELU;
    coder.limits = NULL;
    h[1] = 0;
    list.n = 0;
    cr_assert(psc_coder_offer(&coder, &list, h, 0, 4));
    cr_assert(list.n == 2 && list.at[0].id == 0 && list.at[1].id == 3);
    free(list.at);
}

Test(dictionary, a_groups_first_largest_is_kept) {
    const float h[] = {1, 3, 3, 0, -1, -2, 5, 4, 6};
    psc_coder coder = plain_coder(PSC_DICTIONARY_GROUPMAX, 9, 3);
    psc_coder_entries list = {0};
    cr_assert(psc_coder_offer(&coder, &list, h, 0, 9));
    list.n = psc_coder_keep(&coder, list.at, list.n, list.cut);
    cr_assert(list.n == 2 && list.at[0].id == 1 && list.at[0].value == 3);
    cr_assert(list.at[1].id == 8 && list.at[1].value == 6);
    free(list.at);
}
