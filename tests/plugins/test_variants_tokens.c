/* Variants that need the logits of some tokens only: those of all tokens at their ids, to the bit; and
 * refusals. */
#include "plugin_fixture.h"

TestSuite(variants_tokens, .init = fixture_open, .fini = fixture_close);

enum { VARIANTS = 6, IDS = 4, ROWS = 10, MOST_VOCABULARY = 4096 };

static psc_change changes[VARIANTS];
static psc_variant variants[VARIANTS];
static int32_t ids[VARIANTS][IDS];
static float whole[VARIANTS][ROWS][MOST_VOCABULARY], picked[VARIANTS][ROWS][IDS];
static int32_t n_rows[VARIANTS], logit_rows;
static bool picks, mixed;

static int on_variant(int32_t v, const psc_event *logits, void *payload) {
    const bool own = picks && !(mixed && v == 2);
    (void)payload;
    n_rows[v] = logits->n_rows;
    cr_assert_eq(logits->tensor.shape[1], own ? IDS : psc_model_get_info(model)->d_vocab);
    for (int32_t r = 0; r < logits->n_rows; r++)
        memcpy(own ? picked[v][r] : whole[v][r], logits->tensor.data + r * logits->tensor.stride[0],
            (size_t)logits->tensor.shape[1] * sizeof(float));
    return 0;
}

static int on_open(psc_context *context, const psc_host *given, void **state) {
    host = given;
    *state = context;
    return 0;
}

static int on_begin(psc_context *context, void *state) {
    (void)state;
    return host->prepare_variants(context);
}

static int on_end(psc_context *context, void *state, int status) {
    (void)state;
    return status ? 0 : host->variants(context, VARIANTS, variants, logit_rows, on_variant, NULL);
}

/* Changes of z, of the residual and of the last layer, of one row or several. */
static void load(void) {
    static const psc_point points[] = {PSC_HOOK_Z, PSC_HOOK_RESID_PRE, PSC_HOOK_MLP_OUT};
    const int32_t n_vocab = psc_model_get_info(model)->d_vocab;
    cr_assert_leq(n_vocab, MOST_VOCABULARY);
    bridge->open = on_open;
    bridge->run_begin = on_begin;
    bridge->run_end = on_end;
    must_load(PLUGIN("bridge"), NULL);
    for (int v = 0; v < VARIANTS; v++) {
        changes[v] = (psc_change){.struct_size = sizeof changes[v],
            .kind = PSC_CHANGE_SCALE,
            .point = points[v % 3],
            .layer = v / 3,
            .row_begin = v,
            .row_end = v % 2 ? ROWS : v + 1,
            .head = -1,
            .key = -1};
        variants[v] = (psc_variant){
            .struct_size = sizeof variants[v], .n_changes = 1, .changes = &changes[v]};
        for (int i = 0; i < IDS; i++) ids[v][i] = i == 2 ? n_vocab - 1 : (17 * v + 5 * i) % n_vocab;
    }
}

static void run_with_ids(bool with) {
    picks = with;
    for (int v = 0; v < VARIANTS; v++) {
        variants[v].n_token_ids = with && !(mixed && v == 2) ? IDS : 0;
        variants[v].token_ids = with ? ids[v] : NULL;
    }
    must_run_ten();
}

static void check_picks(void) {
    run_with_ids(false);
    run_with_ids(true);
    for (int v = 0; v < VARIANTS; v++)
        for (int32_t r = 0; r < n_rows[v] && !(mixed && v == 2); r++)
            for (int i = 0; i < IDS; i++)
                cr_assert(memcmp(&picked[v][r][i], &whole[v][r][ids[v][i]], sizeof(float)) == 0,
                    "variant %d, row %d, id %d", v, (int)r, i);
}

Test(variants_tokens, have_the_logits_of_all_tokens) {
    load();
    for (int k = 0; k < 4; k++) {
        logit_rows = k % 2 ? PSC_ROWS_ALL : PSC_ROWS_LAST;
        mixed = k > 1; /* with a variant that needs all logits in the batch */
        check_picks();
    }
}

Test(variants_tokens, refusals) {
    load();
    logit_rows = PSC_ROWS_LAST;
    variants[1].n_token_ids = 2;
    cr_assert_eq(run_ten(), PSC_ERROR_INPUT);
    cr_assert(strstr(error.message, "variant 1: its token_ids"), "%s", error.message);
    variants[1].token_ids = ids[1];
    ids[1][1] = psc_model_get_info(model)->d_vocab;
    cr_assert_eq(run_ten(), PSC_ERROR_INPUT);
    ids[1][1] = -1;
    cr_assert_eq(run_ten(), PSC_ERROR_INPUT);
    variants[1].n_token_ids = -1;
    cr_assert_eq(run_ten(), PSC_ERROR_INPUT);
    variants[1].n_token_ids = 0;
    must_run_ten();
}
