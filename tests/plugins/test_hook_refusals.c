/* Descriptions of plugins, filters of hooks and names of hook points that are refused, each with
 * its sentence, and those at the border that are taken. */
#include "loader.h"
#include "plugin_fixture.h"
#include "registry.h"

#include <stddef.h>

static void said(psc_status got, psc_status expected, const char *sentence) {
    cr_assert_eq(got, expected, "%d: %s", got, error.message);
    cr_assert_str_eq(error.message, sentence, "%s", error.message);
}

/* --- descriptions ---------------------------------------------------------------------------- */

#define TEN "abcdefghij"
#define SIXTY TEN TEN TEN TEN TEN TEN

static const char *const two_words[] = {"a", "b", NULL};
static psc_option_description options[PSC_MAX_OPTIONS + 2];
static psc_plugin described;

static psc_status check(void) {
    return psc_plugin_check(&described, "x.so", &error);
}

static void describe(void) {
    memset(options, 0, sizeof options);
    described = (psc_plugin){
        .abi = PSC_PLUGIN_ABI, .struct_size = sizeof described, .name = "p", .options = options};
}

Test(hook_refusals, names_of_plugins) {
    static const char *const bad[] = {"", "a b", "a.b", "\xc3\xa4", SIXTY "abcde"};
    char sentence[300];
    describe();
    described.name = SIXTY "abcd";
    cr_assert_eq(check(), PSC_OK, "%s", error.message);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        described.name = bad[i];
        cr_assert_eq(check(), PSC_ERROR_PLUGIN, "%s", bad[i]);
        cr_assert(strstr(error.message, "must have 1 to 64 letters, digits, '_' or '-'"));
    }
    described.name = NULL;
    said(check(), PSC_ERROR_PLUGIN, "plugin 'x.so' has no name");
    said(psc_plugin_check(NULL, "x.so", &error), PSC_ERROR_PLUGIN,
        "plugin 'x.so': psc_plugin_entry returned a null pointer");
    describe();
    described.struct_size = UINT32_MAX;
    snprintf(sentence, sizeof sentence,
        "plugin 'x.so': psc_plugin.struct_size is %u, which is not possible; set it to "
        "sizeof(psc_plugin)",
        (unsigned)UINT32_MAX);
    said(check(), PSC_ERROR_PLUGIN, sentence);
}

Test(hook_refusals, options_of_plugins) {
    static const char *const none[] = {NULL}, *const *const words[] = {NULL, none};
    char sentence[300], keys[PSC_MAX_OPTIONS + 1][8];
    const char *many[40];
    describe();
    options[0] = (psc_option_description){.key = "a b"};
    said(check(), PSC_ERROR_PLUGIN,
        "plugin 'x.so': option key 'a b' must have 1 to 64 letters, digits, '_' or '-'");
    static const int kinds[] = {-1, PSC_OPTION_HEADS + 1};
    for (int i = 0; i < 2; i++) {
        options[0] = (psc_option_description){.key = "k", .kind = kinds[i]};
        snprintf(sentence, sizeof sentence, "plugin 'x.so': option 'k' has the unknown kind %d",
            kinds[i]);
        said(check(), PSC_ERROR_PLUGIN, sentence);
    }
    for (int i = 0; i < 4; i++) {
        options[0] = (psc_option_description){
            .key = "k", .kind = i / 2 ? PSC_OPTION_WORDS : PSC_OPTION_WORD, .words = words[i % 2]};
        said(check(), PSC_ERROR_PLUGIN, "plugin 'x.so': option 'k' needs 1 to 31 words");
    }
    for (int n = 31; n <= 32; n++) {
        for (int i = 0; i < 40; i++) many[i] = i < n ? "w" : NULL;
        options[0] = (psc_option_description){.key = "k", .kind = PSC_OPTION_WORD, .words = many};
        cr_assert_eq(check(), n == 31 ? PSC_OK : PSC_ERROR_PLUGIN, "%d words", n);
    }
    static const double ranges[][2] = {{1, 0}, {NAN, 1}, {0, NAN}};
    for (int i = 0; i < 3; i++) {
        options[0] = (psc_option_description){
            .key = "k", .kind = PSC_OPTION_COUNT, .low = ranges[i][0], .high = ranges[i][1]};
        cr_assert_eq(check(), PSC_ERROR_PLUGIN);
        cr_assert(strstr(error.message, "which holds no value"), "%s", error.message);
    }
    options[0] = (psc_option_description){.key = "k", .kind = PSC_OPTION_TEXT, .offset = 4};
    said(check(), PSC_ERROR_PLUGIN,
        "plugin 'x.so': option 'k' has the offset 4, which is not aligned for its kind");
    options[0] = (psc_option_description){.key = "k", .kind = PSC_OPTION_WORD, .words = two_words};
    options[1] = options[0];
    said(check(), PSC_ERROR_PLUGIN, "plugin 'x.so' describes option 'k' twice");
    for (int i = 0; i <= PSC_MAX_OPTIONS; i++) {
        snprintf(keys[i], sizeof keys[i], "k%d", i);
        options[i] = (psc_option_description){.key = keys[i]};
    }
    snprintf(sentence, sizeof sentence,
        "plugin 'x.so' describes more than %d options, or its list does not end with a null key",
        PSC_MAX_OPTIONS);
    said(check(), PSC_ERROR_PLUGIN, sentence);
    options[PSC_MAX_OPTIONS].key = NULL;
    cr_assert_eq(check(), PSC_OK, "%s", error.message);
}

Test(hook_refusals, what_older_plugins_do_not_say) {
    describe();
    described.needs_bos = 1;
    described.corpus = PSC_CORPUS_NO;
    cr_assert(psc_plugin_needs_bos(&described));
    cr_assert_eq(psc_plugin_over_corpus(&described), PSC_CORPUS_NO);
    static const int unknown[] = {-1, PSC_CORPUS_OVERLAPS + 1};
    for (int i = 0; i < 2; i++) {
        described.corpus = unknown[i];
        cr_assert_eq(psc_plugin_over_corpus(&described), PSC_CORPUS_UNSAID);
    }
    described.corpus = PSC_CORPUS_NO;
    described.struct_size = offsetof(psc_plugin, corpus);
    cr_assert_eq(psc_plugin_over_corpus(&described), PSC_CORPUS_UNSAID);
    described.struct_size = offsetof(psc_plugin, needs_bos);
    cr_assert_not(psc_plugin_needs_bos(&described));
}

/* --- filters --------------------------------------------------------------------------------- */

static int nothing(const psc_event *event, void *payload) {
    (void)event, (void)payload;
    return 0;
}

static psc_status observe(psc_point point, psc_filter filter) {
    return psc_session_observe(session, point, &filter, nothing, NULL, &error);
}

Test(hook_refusals, filters, .init = fixture_open, .fini = fixture_close) {
    static const int32_t zero = 0, two[] = {1, 0}, same[] = {0, 0}, far = 99, below = -1;
    psc_filter f = PSC_FILTER_INIT;
    char sentence[200];
    f.struct_size = 8;
    cr_assert_eq(observe(PSC_HOOK_Z, f), PSC_ERROR_INPUT);
    cr_assert(
        strstr(error.message, "a filter's struct_size is 8, less than "), "%s", error.message);
    static const int modes[] = {PSC_ROWS_ALL - 1, PSC_ROWS_RANGE + 1};
    for (int i = 0; i < 2; i++) {
        f = (psc_filter)PSC_FILTER_INIT;
        f.rows = modes[i];
        snprintf(sentence, sizeof sentence, "a filter has unknown rows mode %d", modes[i]);
        said(observe(PSC_HOOK_Z, f), PSC_ERROR_INPUT, sentence);
    }
    f = (psc_filter)PSC_FILTER_INIT;
    f.layers = &zero, f.n_layers = 1;
    said(observe(PSC_HOOK_EMBED, f), PSC_ERROR_INPUT,
        "hook_embed belongs to no layer, so a filter cannot select layers");
    cr_assert_eq(observe(PSC_HOOK_Z, f), PSC_OK, "%s", error.message);
    f = (psc_filter)PSC_FILTER_INIT;
    f.heads = &zero, f.n_heads = 1;
    said(observe(PSC_HOOK_RESID_POST, f), PSC_ERROR_INPUT,
        "hook_resid_post has no heads, so a filter cannot select heads");
    cr_assert_eq(observe(PSC_HOOK_Z, f), PSC_OK, "%s", error.message);
    for (int i = 0; i < 2; i++) {
        f = (psc_filter)PSC_FILTER_INIT;
        f.heads = i ? same : two, f.n_heads = 2;
        said(observe(PSC_HOOK_Z, f), PSC_ERROR_INPUT,
            "a filter must list its heads in ascending order");
        f.heads = i ? &far : &below, f.n_heads = 1;
        cr_assert_eq(observe(PSC_HOOK_Z, f), PSC_ERROR_INPUT);
        cr_assert(strstr(error.message, "is out of range: the model has "), "%s", error.message);
    }
    f = (psc_filter)PSC_FILTER_INIT;
    f.n_layers = 1;
    cr_assert_eq(observe(PSC_HOOK_Z, f), PSC_ERROR_INPUT, "a number without a list");
    f.n_layers = -1;
    cr_assert_eq(observe(PSC_HOOK_Z, f), PSC_ERROR_INPUT, "a negative number");
}

Test(hook_refusals, points_that_do_not_exist, .init = fixture_open, .fini = fixture_close) {
    static const int points[] = {-1, PSC_POINT_COUNT};
    char sentence[100];
    for (int i = 0; i < 2; i++) {
        snprintf(sentence, sizeof sentence, "unknown hook point number %d", points[i]);
        said(psc_session_edit(session, (psc_point)points[i], NULL, nothing, NULL, &error),
            PSC_ERROR_INPUT, sentence);
    }
    cr_assert_eq(
        psc_session_observe(session, PSC_HOOK_Z, NULL, NULL, NULL, &error), PSC_ERROR_INPUT);
    said(psc_session_edit(session, PSC_HOOK_RESID_MID, NULL, nothing, NULL, &error),
        PSC_ERROR_INPUT, "a model with parallel residual has no hook_resid_mid");
}

/* --- names of points ------------------------------------------------------------------------- */

Test(hook_refusals, names_of_points) {
    static const struct {
        const char *name;
        int point, layer;
    } good[] = {{"hook_embed", PSC_HOOK_EMBED, -1}, {"blocks.0.attn.hook_z", PSC_HOOK_Z, 0},
        {"blocks.*.attn.hook_z", PSC_HOOK_Z, -2}, {"blocks.99999.attn.hook_z", PSC_HOOK_Z, 99999}};
    static const char *const bad[] = {"", "blocks", "blocks.", "blocks.0", "blocks.0.",
        "blocks.x.attn.hook_z", "blocks.attn.hook_z", "blocks.-1.attn.hook_z",
        "blocks.*attn.hook_z", "blocks.**.attn.hook_z", "blocks.1000000.attn.hook_z",
        "blocks.0.hook_embed", "attn.hook_z", "blocks..attn.hook_z", "blocks.0:attn.hook_z",
        "hook_embed.", "blocks.0.attn.hook_zz"};
    psc_point point;
    int32_t layer;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert_eq(
            psc_point_parse(&point, &layer, good[i].name, &error), PSC_OK, "%s", good[i].name);
        cr_assert(point == (psc_point)good[i].point && layer == good[i].layer, "%s", good[i].name);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(
            psc_point_parse(&point, &layer, bad[i], &error), PSC_ERROR_INPUT, "%s", bad[i]);
        cr_assert(strstr(error.message, "unknown hook point '"), "%s", error.message);
    }
    said(psc_point_parse(&point, &layer, "hook_embd", &error), PSC_ERROR_INPUT,
        "unknown hook point 'hook_embd'; did you mean hook_embed? names are like hook_embed, "
        "blocks.0.attn.hook_z or blocks.*.hook_resid_post");
    said(psc_point_parse(&point, &layer, "blocks.3.attn.hook_zz", &error), PSC_ERROR_INPUT,
        "unknown hook point 'blocks.3.attn.hook_zz'; did you mean blocks.3.attn.hook_z? names are like "
        "hook_embed, blocks.0.attn.hook_z or blocks.*.hook_resid_post");
}
