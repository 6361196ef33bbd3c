/* Targets, captures, the head of the results, sampling. */
#include "plugin_fixture.h"

#include <jansson.h>

#include "session_inside.h"

static void words_open(void) {
    cr_assert_eq(psc_model_open(&model, PSC_SOURCE_DIR "/models/books-5m", &error), PSC_OK, "%s",
        error.message);
    cr_assert_eq(psc_session_open(&session, model, NULL, &error), PSC_OK, "%s", error.message);
}

TestSuite(targets, .init = words_open, .fini = fixture_close);
TestSuite(numbers, .init = fixture_open, .fini = fixture_close);

static psc_status target(const char *text) {
    return psc_session_target(session, text, &error);
}

static int32_t id_of(const char *text) {
    psc_token *tokens;
    int32_t n;
    cr_assert_eq(psc_model_encode(&tokens, &n, model, text, strlen(text), false, &error), PSC_OK);
    cr_assert_eq(n, 1, "'%s' is %d tokens", text, (int)n);
    int32_t id = tokens[0].id;
    psc_free(tokens);
    return id;
}

static const psc_target *last_target(void) {
    return &session->targets.targets[session->targets.n - 1];
}

/* --- targets with a tokenizer ---------------------------------------------------------------- */

Test(targets, kinds_and_labels) {
    cr_assert_eq(target(" the"), PSC_OK, "%s", error.message);
    cr_assert(last_target()->kind == PSC_TARGET_TOKEN && last_target()->a == id_of(" the"));
    cr_assert_str_eq(last_target()->label, "' the'");
    cr_assert_eq(target("\n"), PSC_OK, "%s", error.message);
    cr_assert_str_eq(last_target()->label, "'\\n'");
    cr_assert_eq(target("'"), PSC_OK, "%s", error.message);
    cr_assert_str_eq(last_target()->label, "'\\''");
    cr_assert_eq(target("text:t"), PSC_OK, "%s", error.message);
    cr_assert_eq(last_target()->a, id_of("t"));
    cr_assert_eq(target("#0"), PSC_OK);
    cr_assert(last_target()->a == 0 && last_target()->b == -1);
    cr_assert_eq(target("text:#"), PSC_OK, "%s", error.message);
    cr_assert_eq(last_target()->a, id_of("#"));
    cr_assert_eq(target("next"), PSC_OK);
    cr_assert_eq(last_target()->kind, PSC_TARGET_NEXT);
    cr_assert_eq(target("top:3"), PSC_OK);
    cr_assert(last_target()->kind == PSC_TARGET_TOP && last_target()->rank == 2);
    cr_assert_str_eq(last_target()->label, "top:3");
    cr_assert_eq(session->targets.n, 10);
    cr_assert_eq(psc_session_contrast(session, " he", " she", &error), PSC_OK);
    cr_assert(last_target()->a == id_of(" he") && last_target()->b == id_of(" she"));
    cr_assert_str_eq(last_target()->label, "' he' - ' she'");
}

Test(targets, refused) {
    REFUSED(target(""), PSC_ERROR_INPUT, "empty");
    REFUSED(target("text:"), PSC_ERROR_INPUT, "empty");
    REFUSED(target("xqzjw kfpv"), PSC_ERROR_INPUT, "xqzjw", "tokens (", "not one");
    REFUSED(target("a\xff"), PSC_ERROR_INPUT, "target");
    REFUSED(target("#999999"), PSC_ERROR_INPUT, "#999999", "ids are 0 to");
    REFUSED(target("#99999999999999999999"), PSC_ERROR_INPUT, "ids are 0 to");
    REFUSED(target("top:0"), PSC_ERROR_INPUT, "top:0", "from 1 to 1000");
    REFUSED(target("top:1001"), PSC_ERROR_INPUT, "top:1001");
    REFUSED(target("top:x"), PSC_ERROR_INPUT, "top:x");
    REFUSED(target("top:"), PSC_ERROR_INPUT, "top:");
    REFUSED(psc_session_contrast(session, "#5", "#5", &error), PSC_ERROR_INPUT, "itself");
    REFUSED(psc_session_contrast(session, "#5", "top:1", &error), PSC_ERROR_INPUT, "top:1");
    REFUSED(psc_session_contrast(session, NULL, "#5", &error), PSC_ERROR_INPUT, "two");
    cr_assert_eq(session->targets.n, 0);
    for (int i = 0; i < 4; i++) cr_assert_eq(target("top:1000"), PSC_OK);
    REFUSED(target("top:1000"), PSC_ERROR_INPUT, "4096");
}

Test(targets, the_spaced_form_is_suggested) {
    /* A word that is one token only after a space, found in the tokenizer's vocabulary. */
    for (int32_t id = 0; id < psc_model_tokenizer_size(model); id++) {
        size_t n;
        const char *bytes = psc_model_token_bytes(model, id, &n);
        psc_token *tokens;
        int32_t count;
        if (!bytes || n < 5 || n > 20 || bytes[0] != ' ' || bytes[1] == ' ') continue;
        char word[32] = "";
        memcpy(word, bytes + 1, n - 1);
        if (psc_model_encode(&tokens, &count, model, word, n - 1, false, NULL)) continue;
        psc_free(tokens);
        if (count == 1) continue;
        char suggestion[64];
        snprintf(suggestion, sizeof suggestion, "with a leading space, ' %s'", word);
        REFUSED(target(word), PSC_ERROR_INPUT, word, suggestion);
        return;
    }
    cr_assert_fail("the tokenizer has no such word");
}

static void check_label(int32_t id, const char *expected) {
    char label[64];
    psc_token_label(label, sizeof label, model, id);
    cr_assert_str_eq(label, expected);
}

Test(targets, labels_of_tokens) {
    check_label(-1, "#-1");
    check_label(id_of(" the"), "' the'");
    check_label(id_of("\\"), "'\\\\'");
    check_label(psc_model_get_info(model)->d_vocab, "#4096");
    char small[12];
    psc_token_label(small, sizeof small, model, id_of(" the"));
    cr_assert_str_eq(small, "' the'");
    psc_token_label(small, 10, model, id_of(" their"));
    cr_assert_str_eq(small, "' the...'");
    for (int32_t id = 0; id < psc_model_tokenizer_size(model); id++) {
        char label[256];
        psc_token_label(label, sizeof label, model, id);
        json_t *text = json_string(label); /* null unless it is UTF-8 */
        cr_assert(text, "token %d", (int)id);
        json_decref(text);
    }
}

Test(targets, head_of_the_results) {
    const char *text = "The caf\xc3\xa9 \xf0\x9f\x98\x80.";
    psc_token *tokens;
    int32_t n;
    cr_assert_eq(psc_model_encode(&tokens, &n, model, text, strlen(text), false, &error), PSC_OK);
    psc_input input = {0, n, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.text = text;
    options.text_bytes = strlen(text);
    cr_assert_eq(
        psc_session_run(session, &input, 1, &options, &error), PSC_OK, "%s", error.message);
    const psc_results *results = psc_session_results(session);
    psc_result_model described = PSC_RESULT_MODEL_INIT;
    psc_result_run run = PSC_RESULT_RUN_INIT;
    cr_assert_str_eq(psc_results_version(results), psc_version());
    cr_assert_eq(psc_results_get_model(&described, results, &error), PSC_OK);
    cr_assert_eq(psc_results_get_run(&run, results, &error), PSC_OK);
    cr_assert_str_eq(described.hash, psc_model_get_info(model)->hash);
    cr_assert_eq(described.d_vocab, 4096);
    cr_assert(run.n_rows == n && run.sequences == 1 && run.bos == 0 && run.sleef);
    cr_assert_eq(psc_results_token_count(results), n);
    bool fragment = false;
    uint32_t at = 0;
    for (int32_t i = 0; i < n; i++) {
        psc_result_token token;
        cr_assert_eq(psc_results_token_at(&token, results, i, &error), PSC_OK);
        cr_assert(token.id == tokens[i].id && token.start == at && token.position == i);
        cr_assert(token.bytes && token.n_bytes == token.end - token.start);
        cr_assert_eq(memcmp(token.bytes, text + at, token.n_bytes), 0);
        at = token.end;
        fragment = fragment || token.bytes[0] == '\x9f'; /* within the emoji */
    }
    cr_assert_eq(at, strlen(text));
    cr_assert(fragment); /* the emoji is not a token in so small a vocabulary */
    psc_free(tokens);
}

/* --- targets without a tokenizer ------------------------------------------------------------- */

static void check_ids(int32_t i, int32_t row, const float *logits, int32_t a, int32_t b) {
    int32_t ids[2];
    cr_assert_eq(psc_targets_ids(session, i, &session->rows[row], logits, ids, &error), PSC_OK,
        "%s", error.message);
    cr_assert(ids[0] == a && ids[1] == b, "target %d at row %d: %d, %d", (int)i, (int)row, ids[0],
        ids[1]);
}

Test(numbers, ids_at_rows) {
    REFUSED(target(" the"), PSC_ERROR_INPUT, "no tokenizer", "#ID");
    must_run_ten();
    cr_assert(session->targets.implied && session->targets.n == 1);
    cr_assert_str_eq(session->targets.targets[0].label, "top:1");
    cr_assert_eq(target("#17"), PSC_OK);
    cr_assert_eq(target("next"), PSC_OK);
    cr_assert_eq(target("top:80"), PSC_OK);
    cr_assert_eq(psc_session_contrast(session, "#1", "#79", &error), PSC_OK);
    must_run_ten();
    cr_assert(!session->targets.implied && session->targets.n == 83);
    cr_assert_str_eq(session->targets.targets[82].label, "#1 - #79");
    float logits[80];
    for (int i = 0; i < 80; i++) logits[i] = (float)((i * 37) % 80 / 2); /* pairs of ties */
    check_ids(0, 4, NULL, 17, -1);
    check_ids(1, 4, NULL, 41, -1);
    check_ids(1, 9, NULL, -1, -1);
    check_ids(82, 9, NULL, 1, 79);
    int32_t before = -1;
    for (int32_t rank = 0; rank < 80; rank++) {
        int32_t ids[2];
        cr_assert_eq(
            psc_targets_ids(session, 2 + rank, session->rows, logits, ids, &error), PSC_OK);
        if (before >= 0)
            cr_assert(logits[ids[0]] < logits[before] ||
                      (logits[ids[0]] == logits[before] && ids[0] > before));
        before = ids[0];
    }
    int32_t ids[2];
    REFUSED(
        psc_targets_ids(session, 2, session->rows, NULL, ids, &error), PSC_ERROR_INPUT, "top:1");
    REFUSED(psc_targets_ids(session, 83, session->rows, NULL, ids, &error), PSC_ERROR_INPUT, "83");
}

/* --- captures -------------------------------------------------------------------------------- */

static void check_shape(const char *name, int n, int64_t a, int64_t b, int64_t c) {
    psc_array array = must_array(name);
    cr_assert(array.n_axes == n && array.shape[0] == a && array.shape[1] == b, "%s", name);
    cr_assert(n == 2 || array.shape[2] == c, "%s", name);
    const float *x = array.data;
    int64_t count = a * b * (n == 3 ? c : 1);
    for (int64_t i = 0; i < count; i++) cr_assert(!isnan(x[i]), "%s [%lld]", name, (long long)i);
}

Test(numbers, captures_have_transformer_lens_axes) {
    for (int p = 0; p < PSC_POINT_COUNT; p++) {
        char name[64];
        if (p == PSC_HOOK_RESID_MID) continue;
        psc_point_name(name, sizeof name, (psc_point)p, psc_point_has_layer((psc_point)p) ? 1 : -1);
        must_capture(name);
        must_capture(name); /* twice is once */
    }
    must_run_ten();
    check_shape("hook_embed", 2, 10, 32, 0);
    check_shape("blocks.1.ln1.hook_scale", 2, 10, 1, 0);
    check_shape("blocks.1.attn.hook_q", 3, 10, 4, 8);
    check_shape("blocks.1.attn.hook_rot_k", 3, 10, 4, 8);
    check_shape("blocks.1.attn.hook_attn_scores", 3, 4, 10, 10);
    check_shape("blocks.1.attn.hook_pattern", 3, 4, 10, 10);
    check_shape("blocks.1.attn.hook_result", 3, 10, 4, 32);
    check_shape("blocks.1.mlp.hook_pre", 2, 10, 128, 0);
    check_shape("ln_final.hook_scale", 2, 10, 1, 0);
    check_shape("hook_logits", 2, 10, 80, 0);
    const float *scores = must_array("blocks.1.attn.hook_attn_scores").data;
    const float *pattern = must_array("blocks.1.attn.hook_pattern").data;
    for (int64_t i = 0; i < 4 * 10 * 10; i++) {
        bool masked = i % 10 > i / 10 % 10;
        cr_assert(masked ? isinf(scores[i]) && scores[i] < 0 : !isinf(scores[i]));
        cr_assert(masked ? pattern[i] == 0 : pattern[i] > 0);
    }
    cr_assert_arr_eq((const float *)must_array("hook_logits").data + 9 * 80,
        psc_session_logits(session, 9), 320);
}

Test(numbers, captures_of_several_sequences) {
    must_capture("blocks.1.attn.hook_pattern");
    must_capture("hook_embed");
    must_run_ten();
    psc_array alone = must_array("blocks.1.attn.hook_pattern");
    float *whole = malloc(400 * sizeof *whole);
    memcpy(whole, alone.data, 400 * sizeof *whole);
    psc_session_truncate(session, 0, 0);
    psc_input inputs[] = {{0, 4, ten}, {2, 7, ten}};
    cr_assert_eq(psc_session_run(session, inputs, 2, NULL, &error), PSC_OK, "%s", error.message);
    check_shape("blocks.1.attn.hook_pattern@0", 3, 4, 4, 4);
    check_shape("blocks.1.attn.hook_pattern@2", 3, 4, 7, 7);
    check_shape("hook_embed@2", 2, 7, 32, 0);
    const float *part = must_array("blocks.1.attn.hook_pattern@2").data;
    for (int64_t i = 0; i < 4 * 7; i++) /* head i / 7, row i % 7 */
        cr_assert_arr_eq(part + i * 7, whole + (i / 7 * 10 + i % 7) * 10, 7 * sizeof *part);
    /* Three more tokens of sequence 2 also see its first seven. */
    psc_input more = {2, 3, ten + 7};
    cr_assert_eq(psc_session_run(session, &more, 1, NULL, &error), PSC_OK, "%s", error.message);
    check_shape("blocks.1.attn.hook_pattern", 3, 4, 3, 10);
    part = must_array("blocks.1.attn.hook_pattern").data;
    for (int64_t i = 0; i < 4 * 3; i++)
        cr_assert_arr_eq(part + i * 10, whole + (i / 3 * 10 + 7 + i % 3) * 10, 10 * sizeof *part);
    free(whole);
}

Test(numbers, captures_beyond_the_cap) {
    psc_session_close(&session);
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.retained_cap = 9000;
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK);
    must_capture("blocks.*.mlp.hook_pre");
    REFUSED(run_ten(), PSC_ERROR_MEMORY, "blocks.1.mlp.hook_pre", "5120", "9000");
}

Test(numbers, captures_refused) {
    REFUSED(psc_session_capture(session, "blocks.0.attn.hook_nothing", &error), PSC_ERROR_INPUT,
        "hook_nothing", "hook_embed");
    REFUSED(psc_session_capture(session, "blocks.2.hook_mlp_out", &error), PSC_ERROR_INPUT,
        "layer 2 does not exist", "0 to 1");
    REFUSED(psc_session_capture(session, "blocks.0.hook_resid_mid", &error), PSC_ERROR_INPUT,
        "hook_resid_mid");
    REFUSED(psc_session_capture(session, "", &error), PSC_ERROR_INPUT, "unknown");
    cr_assert_eq(session->n_captures, 0);
}

/* --- sampling -------------------------------------------------------------------------------- */

Test(numbers, greedy) {
    float logits[80] = {0};
    psc_sampler sampler = PSC_SAMPLER_INIT;
    int32_t id = -1;
    logits[33] = logits[44] = 2.0f;
    cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_OK);
    cr_assert(id == 33 && sampler.seed == 0);
    for (int i = 0; i < 80; i++) logits[i] = -INFINITY;
    REFUSED(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT, "NaN");
    logits[7] = -3.0f;
    cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_OK);
    cr_assert_eq(id, 7);
    logits[9] = NAN;
    REFUSED(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT, "NaN");
    REFUSED(psc_session_sample(&id, session, &sampler, NULL, &error), PSC_ERROR_INPUT, "logits");
    sampler.strategy.temperature = NAN;
    REFUSED(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT, "temper");
    sampler.strategy.temperature = -1;
    REFUSED(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT, "temper");
}

Test(numbers, temperature_draws_from_the_softmax) {
    float logits[80];
    double p[80], sum = 0;
    int counts[80] = {0};
    for (int i = 0; i < 80; i++) logits[i] = i < 6 ? (float)i * 0.7f : -INFINITY;
    psc_sampler sampler = {sizeof sampler, 42, {sizeof(psc_strategy), 1.3, 0, 0, 0}};
    for (int i = 0; i < 80; i++) sum += p[i] = exp((double)logits[i] / 1.3);
    for (int draw = 0; draw < 20000; draw++) {
        int32_t id = -1;
        cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_OK);
        counts[id]++;
    }
    for (int i = 0; i < 80; i++)
        cr_assert_float_eq(counts[i] / 20000.0, p[i] / sum, 0.015, "id %d", i);
}

Test(numbers, the_same_draws_on_every_isa) {
    must_run_ten();
    const float *logits = psc_session_logits(session, 9);
    int32_t drawn[PSC_ISA_COUNT][64];
    for (int isa = 0; isa < PSC_ISA_COUNT; isa++) {
        const psc_kernels *kernels = psc_kernels_for((psc_isa)isa);
        if (!kernels) continue;
        session->kernels = kernels;
        psc_sampler sampler = {sizeof sampler, 7, {sizeof(psc_strategy), 2.5, 0, 0, 0}};
        for (int i = 0; i < 64; i++)
            cr_assert_eq(
                psc_session_sample(&drawn[isa][i], session, &sampler, logits, &error), PSC_OK);
        cr_assert_arr_eq(drawn[0], drawn[isa], sizeof drawn[0]);
    }
}
