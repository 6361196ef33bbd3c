/* What a session refuses, each with its sentence, and what it takes at the border: options, inputs,
 * sequences, captures, targets, strategies of sampling, labelled sentences. */
#include "golden.h"
#include "psc_treebank.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static psc_model *model;
static psc_session *session;
static psc_error error;
static psc_token tokens[64];

static void open_with(psc_session_options options) {
    cr_assert_eq(psc_session_open(&session, model, &options, &error), PSC_OK, "%s", error.message);
}

static psc_session_options small(void) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    options.threads = 1;
    options.n_sequences = 2;
    options.capacity = 8;
    return options;
}

static void begin(void) {
    model = must_model(golden_path("parallel_f32", NULL));
    open_with(small());
    for (int i = 0; i < 64; i++) tokens[i].id = i;
}

static void end(void) {
    psc_session_close(&session);
    psc_model_close(&model);
}

TestSuite(session_edges, .init = begin, .fini = end);

static void said(psc_status got, psc_status expected, const char *sentence) {
    cr_assert_eq(got, expected, "%d: %s", got, error.message);
    cr_assert_str_eq(error.message, sentence, "%s", error.message);
}

/* --- options --------------------------------------------------------------------------------- */

Test(session_edges, options_out_of_range) {
    static const struct {
        size_t at;
        int32_t most;
        const char *name;
    } members[] = {{offsetof(psc_session_options, threads), 1024, "threads"},
        {offsetof(psc_session_options, chunk), 65536, "chunk"},
        {offsetof(psc_session_options, n_sequences), 65536, "n_sequences"},
        {offsetof(psc_session_options, capacity), 0, "capacity"}};
    char sentence[100];
    psc_session *other = NULL;
    for (int i = 0; i < 4; i++) {
        const int32_t most = members[i].most ? members[i].most : psc_model_get_info(model)->n_ctx;
        const int32_t values[] = {-1, most + 1, INT32_MIN};
        for (int k = 0; k < 3; k++) {
            psc_session_options options = small();
            memcpy((char *)&options + members[i].at, &values[k], sizeof values[k]);
            snprintf(sentence, sizeof sentence, "%s must be from 1 to %d, not %d", members[i].name,
                (int)most, (int)values[k]);
            said(psc_session_open(&other, model, &options, &error), PSC_ERROR_INPUT, sentence);
            cr_assert_null(other);
        }
    }
    psc_session_options options = small();
    options.isa = "mmx";
    cr_assert_eq(psc_session_open(&other, model, &options, &error), PSC_ERROR_SUPPORT);
    cr_assert(strstr(error.message, "instruction set 'mmx' is not available here: this machine and "
                                    "build have reference"),
        "%s", error.message);
}

Test(session_edges, defaults) {
    psc_session *other = NULL;
    cr_assert_eq(psc_session_open(&other, model, NULL, &error), PSC_OK, "%s", error.message);
    cr_assert(psc_session_threads(other) >= 1 && psc_session_threads(other) <= 1024);
    cr_assert_eq(psc_session_length(other, 0), 0);
    psc_session_close(&other);
    psc_session_close(&other);
    psc_session_options options = small();
    options.struct_size = offsetof(psc_session_options, capacity); /* of an earlier version */
    options.capacity = -7;
    cr_assert_eq(psc_session_open(&other, model, &options, &error), PSC_OK, "%s", error.message);
    psc_session_close(&other);
}

/* --- inputs ---------------------------------------------------------------------------------- */

static psc_status run(const psc_input *inputs, int32_t n) {
    return psc_session_run(session, inputs, n, NULL, &error);
}

Test(session_edges, inputs_that_are_refused) {
    const psc_input none = {0, 0, tokens}, far = {2, 1, tokens}, below = {-1, 1, tokens};
    const psc_input twice[] = {{0, 1, tokens}, {0, 1, tokens}};
    const psc_input down[] = {{1, 1, tokens}, {0, 1, tokens}};
    const char *order =
        "sequence %d: inputs must name sequences 0 to 1 in ascending order, each once";
    char sentence[200];
    said(run(&none, 1), PSC_ERROR_INPUT, "the prompt has no tokens");
    said(run(&none, 0), PSC_ERROR_INPUT, "the prompt has no tokens");
    snprintf(sentence, sizeof sentence, order, 2);
    said(run(&far, 1), PSC_ERROR_INPUT, sentence);
    snprintf(sentence, sizeof sentence, order, -1);
    said(run(&below, 1), PSC_ERROR_INPUT, sentence);
    snprintf(sentence, sizeof sentence, order, 0);
    said(run(twice, 2), PSC_ERROR_INPUT, sentence);
    said(run(down, 2), PSC_ERROR_INPUT, sentence);
    const int32_t bad[] = {-1, psc_model_get_info(model)->d_vocab, INT32_MIN, INT32_MAX};
    for (int i = 0; i < 4; i++) {
        const psc_token wrong[] = {{1, 0, 0}, {bad[i], 0, 0}};
        const psc_input input = {1, 2, wrong};
        snprintf(sentence, sizeof sentence,
            "token id %d (token 1 of sequence 1) is out of range; the model's ids are 0 to %d",
            (int)bad[i], (int)psc_model_get_info(model)->d_vocab - 1);
        said(run(&input, 1), PSC_ERROR_INPUT, sentence);
    }
    cr_assert_eq(psc_session_length(session, 1), 0, "nothing was kept");
}

Test(session_edges, sequences_up_to_their_capacity) {
    const psc_input eight = {1, 8, tokens}, nine = {0, 9, tokens}, one = {1, 1, tokens};
    const int32_t n_ctx = psc_model_get_info(model)->n_ctx;
    char sentence[200];
    cr_assert_eq(run(&eight, 1), PSC_OK, "%s", error.message);
    said(run(&nine, 1), PSC_ERROR_INPUT,
        "sequence 0 would have 9 tokens, but the session's capacity is 8");
    said(run(&one, 1), PSC_ERROR_INPUT,
        "sequence 1 would have 9 tokens, but the session's capacity is 8");
    const psc_input context = {0, n_ctx + 1, tokens};
    snprintf(sentence, sizeof sentence, "the prompt has %d tokens, but the model's context is %d",
        (int)n_ctx + 1, (int)n_ctx);
    said(run(&context, 1), PSC_ERROR_INPUT, sentence);
    cr_assert_eq(psc_session_length(session, 1), 8);
    cr_assert_eq(psc_session_length(session, -1), 0);
    cr_assert_eq(psc_session_length(session, 2), 0);
    psc_session_truncate(session, -1, 0);
    psc_session_truncate(session, 2, 0);
    psc_session_truncate(session, 1, -1);
    psc_session_truncate(session, 1, 9);
    cr_assert_eq(psc_session_length(session, 1), 8, "none of these drops anything");
    psc_session_truncate(session, 1, 7);
    cr_assert_eq(run(&one, 1), PSC_OK, "%s", error.message);
}

/* --- captures -------------------------------------------------------------------------------- */

static void captured(const char *request, psc_status status, const char *sentence) {
    error = (psc_error){PSC_OK, ""};
    said(psc_session_capture(session, request, &error), status, sentence);
}

Test(session_edges, captures_that_are_refused) {
    static const char fits_none[] =
        "capture '%s' fits no hook point; names are like hook_embed, blocks.0.attn.hook_z or "
        "blocks.*.hook_resid_post";
    static const char *const patterns[] = {"*.nothing", "blocks.*.mlp", "hook_*x*"};
    static const char *const rows[] = {
        "", "-0", "5-2", "12345678", "1+", "+1", "1++2", "a", "1-", "-", "1 "};
    char sentence[300];
    captured(NULL, PSC_ERROR_INPUT, "a capture needs the name of a hook point");
    for (int i = 0; i < 3; i++) {
        snprintf(sentence, sizeof sentence, fits_none, patterns[i]);
        captured(patterns[i], PSC_ERROR_INPUT, sentence);
    }
    captured("blocks.0.hook_resid_mid", PSC_ERROR_INPUT,
        "this model has no hook_resid_mid: its attention and MLP read the same residual");
    captured("blocks.9.hook_resid_post", PSC_ERROR_INPUT,
        "hook point 'blocks.9.hook_resid_post': layer 9 does not exist; the model has layers 0 to 1");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char request[64];
        const char *item =
            strcmp(rows[i], "1+") == 0 || strcmp(rows[i], "1++2") == 0 ? "" : rows[i];
        snprintf(request, sizeof request, "hook_embed:rows=%s", rows[i]);
        snprintf(sentence, sizeof sentence,
            "capture hook_embed: rows '%.*s' must be a row such as 4 or -1, or a range such as 2-5; "
            "join several by +",
            (int)strcspn(item, "+"), item);
        captured(request, PSC_ERROR_INPUT, sentence);
    }
    captured(
        "hook_embed:rows=0-9999999", PSC_ERROR_INPUT, "capture hook_embed: more than 65536 rows");
    int32_t n = -1;
    cr_assert_eq(psc_session_capture_bytes(session, 8, &n), 0);
    cr_assert_eq(n, 0, "nothing was added");
}

Test(session_edges, captures_that_are_joined) {
    const uint64_t row = (uint64_t)psc_model_get_info(model)->d_model * sizeof(float);
    int32_t n;
    captured("hook_embed:rows=1+4", PSC_OK, "");
    cr_assert_eq(psc_session_capture_bytes(session, 8, &n), 2 * row);
    cr_assert_eq(psc_session_capture_bytes(session, -3, NULL), 2 * row);
    captured("hook_embed:rows=4-5+-1", PSC_OK, "");
    cr_assert_eq(psc_session_capture_bytes(session, 8, &n), 4 * row, "1, 4, 5, 7");
    cr_assert_eq(
        psc_session_capture_bytes(session, 2, &n), 5 * row, "rows that are not there count");
    captured(
        "hook_embed:rows=0-65535", PSC_ERROR_INPUT, "capture hook_embed: more than 65536 rows");
    captured("hook_embed:rows=all", PSC_OK, "");
    cr_assert_eq(psc_session_capture_bytes(session, 8, &n), 8 * row);
    captured("hook_embed:rows=1", PSC_OK, "");
    cr_assert_eq(psc_session_capture_bytes(session, 8, &n), 8 * row);
    cr_assert_eq(n, 1);
    captured("hook_em*d**", PSC_OK, "");
    cr_assert_eq(psc_session_capture_bytes(session, 8, &n), 8 * row);
    captured("all", PSC_OK, "");
    cr_assert_gt(
        psc_session_capture_bytes(session, INT32_MAX, &n), UINT64_C(1) << 62, "no overflow");
    cr_assert_gt(n, 20);
}

/* --- targets --------------------------------------------------------------------------------- */

Test(session_edges, targets_that_are_refused) {
    said(psc_session_target(session, NULL, &error), PSC_ERROR_INPUT, "the target is null");
    said(psc_session_contrast(session, NULL, "#1", &error), PSC_ERROR_INPUT,
        "a contrast needs two tokens");
    said(psc_session_contrast(session, "#1", NULL, &error), PSC_ERROR_INPUT,
        "a contrast needs two tokens");
    static const char *const bad[] = {
        "top:0", "top:-1", "top:x", "top:", "top:1x", "#", "#x", "#80", "#-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(psc_session_target(session, bad[i], &error), PSC_ERROR_INPUT, "%s", bad[i]);
        cr_assert_eq(
            psc_session_contrast(session, "#1", bad[i], &error), PSC_ERROR_INPUT, "%s", bad[i]);
        cr_assert(*error.message);
    }
    cr_assert_eq(psc_session_contrast(session, "#1", "#1", &error), PSC_ERROR_INPUT);
}

/* --- sampling -------------------------------------------------------------------------------- */

Test(session_edges, strategies_that_are_refused) {
    static const float logits[80] = {0};
    const double bad[] = {-1, NAN, INFINITY};
    int32_t id;
    for (int i = 0; i < 3; i++) {
        psc_sampler sampler = PSC_SAMPLER_INIT;
        sampler.strategy.temperature = bad[i];
        cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT);
        sampler = (psc_sampler)PSC_SAMPLER_INIT;
        sampler.strategy.top_p = i == 2 ? 1.5 : bad[i];
        cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT);
        sampler = (psc_sampler)PSC_SAMPLER_INIT;
        sampler.strategy.min_p = i == 2 ? 1.5 : bad[i];
        cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT);
    }
    psc_sampler sampler = PSC_SAMPLER_INIT;
    sampler.strategy.top_k = -1;
    cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_ERROR_INPUT);
    cr_assert(*error.message);
}

/* Logits of which none is a number; and those whose tokens have no weight but the first. */
Test(session_edges, logits_without_a_number) {
    float logits[80];
    int32_t id = -7;
    psc_sampler sampler = PSC_SAMPLER_INIT;
    for (int i = 0; i < 80; i++) logits[i] = NAN;
    cr_assert_neq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_OK);
    cr_assert(*error.message);
    for (int i = 0; i < 80; i++) logits[i] = i == 3 ? 0 : -INFINITY;
    sampler.strategy.temperature = 1;
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(psc_session_sample(&id, session, &sampler, logits, &error), PSC_OK);
        cr_assert_eq(id, 3);
    }
}

/* --- labelled sentences ---------------------------------------------------------------------- */

static const psc_word good[] = {
    {0, 1, -1, "a", "a", "X", "", "", "root", ""}, {2, 3, 0, "b", "b", "X", "", "", "dep", ""}};

static void labelled(const psc_sentence *s, const char *text, psc_status status, const char *why) {
    const psc_input input = {0, 3, tokens};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    char sentence[200];
    options.text = text;
    options.text_bytes = text ? strlen(text) : 0;
    options.sentences = s;
    options.n_sentences = 1;
    psc_session_truncate(session, 0, 0);
    error.message[0] = 0;
    const psc_status got = psc_session_run(session, &input, 1, &options, &error);
    cr_assert_eq(got, status, "%s: %s", why, error.message);
    snprintf(sentence, sizeof sentence, "sentence 0 ('%s'): %s", s && s->id ? s->id : "", why);
    if (status) cr_assert_str_eq(error.message, sentence);
}

Test(session_edges, sentences_that_are_refused) {
    const psc_sentence fine = {.id = "s", .text = "a b", .bytes = 3, .n = 2, .words = good};
    psc_sentence s = fine;
    labelled(&s, "a b", PSC_OK, "fine");
    s.id = NULL;
    labelled(&s, "a b", PSC_ERROR_INPUT, "its id or text is null; use \"\" for none");
    s = fine, s.text = NULL;
    labelled(&s, "a b", PSC_ERROR_INPUT, "its id or text is null; use \"\" for none");
    s = fine, s.n = 0;
    labelled(&s, "a b", PSC_ERROR_INPUT, "it has no words");
    s = fine, s.words = NULL;
    labelled(&s, "a b", PSC_ERROR_INPUT, "it has no words");
    labelled(&fine, "a ", PSC_ERROR_INPUT, "it ends after the run's text");
    labelled(&fine, "a c", PSC_ERROR_INPUT, "its text is not what the run's text has at its start");
    for (int member = 0; member < 7; member++) {
        psc_word words[2] = {good[0], good[1]};
        const char **texts[] = {&words[1].form, &words[1].lemma, &words[1].upos, &words[1].xpos,
            &words[1].feats, &words[1].deprel, &words[1].misc};
        *texts[member] = NULL;
        s = fine, s.words = words;
        labelled(&s, "a b", PSC_ERROR_INPUT, "a word's label is null; use \"\" for none");
    }
    static const struct {
        uint32_t start, end;
        int32_t head;
        const char *why;
    } second[] = {{2, 2, 0, "a word is empty, out of order or outside its text"},
        {2, 4, 0, "a word is empty, out of order or outside its text"},
        {3, 2, 0, "a word is empty, out of order or outside its text"},
        {2, 3, 2, "its heads are not one tree"}, {2, 3, -2, "its heads are not one tree"},
        {2, 3, -1, "its heads are not one tree"}, {2, 3, 1, "its heads are not one tree"}};
    for (size_t i = 0; i < sizeof second / sizeof *second; i++) {
        psc_word words[2] = {good[0], good[1]};
        words[1].start = second[i].start;
        words[1].end = second[i].end;
        words[1].head = second[i].head;
        s = fine, s.words = words;
        labelled(&s, "a b", PSC_ERROR_INPUT, second[i].why);
    }
}

Test(session_edges, sentences_without_a_text_or_a_list) {
    const psc_input input = {0, 3, tokens};
    const psc_sentence fine = {.id = "s", .text = "a b", .bytes = 3, .n = 2, .words = good};
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    static const char sentence[] =
        "%d sentences: labels need a text, a list and a number of at least 0";
    char expected[100];
    for (int i = 0; i < 3; i++) {
        options.n_sentences = i == 0 ? -1 : 1;
        options.sentences = i == 1 ? NULL : &fine;
        options.text = i == 2 ? NULL : "a b";
        options.text_bytes = 3;
        snprintf(expected, sizeof expected, sentence, (int)options.n_sentences);
        said(psc_session_run(session, &input, 1, &options, &error), PSC_ERROR_INPUT, expected);
    }
}
