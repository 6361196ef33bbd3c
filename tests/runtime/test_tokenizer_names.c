/* What the files beside tokenizer.json say about tokens: flags, names, extra ones, a space in
 * front; and each flaw in them by its whole sentence. */
#include "tokenizer_fixture.h"

#include <sys/stat.h>

static psc_error error;

/* One token in each set: "<r>" (259) before normalization, "<n>" (260) after it. */
static void make_folder(void) {
    json_t *root = base();
    set_member(root, "added_tokens",
        json_loads("[{\"id\":259,\"content\":\"<r>\",\"single_word\":false,\"lstrip\":false,"
                   "\"rstrip\":false,\"normalized\":false,\"special\":false},"
                   "{\"id\":260,\"content\":\"<n>\",\"single_word\":false,\"lstrip\":false,"
                   "\"rstrip\":false,\"normalized\":true,\"special\":false}]",
            0, NULL));
    make_tokenizer_folder(root);
}

/* Opens the folder with up to two files beside tokenizer.json. */
static psc_tokenizer *open_beside(
    const char *name, const char *content, const char *other_name, const char *other_content) {
    psc_tokenizer *t;
    make_folder();
    write_beside(name, content);
    if (other_name) write_beside(other_name, other_content);
    psc_status status = psc_tokenizer_open_folder(&t, tokenizer_folder, &error);
    remove_tokenizer_folder();
    cr_assert_eq(status, PSC_OK, "%s: %s", content, error.message);
    return t;
}

static void check_ids(psc_tokenizer *t, const char *text, const int32_t *ids, size_t n_ids) {
    psc_token_span *spans;
    size_t n;
    cr_assert_eq(psc_tokenizer_encode(&spans, &n, t, text, strlen(text), &error), PSC_OK);
    for (size_t i = 0; i < n && i < n_ids; i++)
        cr_assert_eq(spans[i].id, ids[i], "token %zu of \"%s\" is %d", i, text, spans[i].id);
    cr_assert_eq(n, n_ids, "\"%s\" has %zu tokens", text, n);
    psc_tokenizer_free_spans(spans);
}

#define CHECK_IDS(t, text, ...)                                                                    \
    check_ids(t, text, (int32_t[]){__VA_ARGS__}, sizeof((int32_t[]){__VA_ARGS__}) / sizeof(int32_t))

/* --- the list -------------------------------------------------------------------------------- */

Test(tokenizer_names, the_list_replaces_flags) {
    psc_tokenizer *t = open_beside("tokenizer_config.json",
        "{\"added_tokens_decoder\":{"
        "\"260\":{\"content\":\"<n>\",\"special\":true,\"lstrip\":true,\"rstrip\":null},"
        "\"259\":{\"content\":\"<r>\",\"normalized\":true,\"rstrip\":true},"
        "\"12\":{\"content\":\"\"},\"261\":{\"content\":\"<x>\",\"single_word\":false}}}",
        NULL, NULL);
    CHECK_IDS(t, "a <n> b", 'a', 260, ' ', 'b');
    CHECK_IDS(t, "a <r> b", 'a', ' ', 259, 'b');
    CHECK_IDS(t, "<x>", 261);
    cr_assert(psc_tokenizer_is_special(t, 260));
    cr_assert_not(psc_tokenizer_is_special(t, 259));
    cr_assert_not(psc_tokenizer_is_special(t, 261));
    cr_assert_eq(psc_tokenizer_size(t), 262);
    psc_tokenizer_close(&t);
}

/* Without the list a name in the config makes a token of added_tokens.json special. */
Test(tokenizer_names, a_named_token_is_special) {
    static const char *const configs[] = {"{\"additional_special_tokens\":[\"<o>\",\"<x>\"]}",
        "{\"extra_special_tokens\":[{\"content\":\"<x>\"}]}", "{\"mask_token\":\"<x>\"}",
        "{\"eos_token\":{\"content\":\"<x>\"},\"extra_special_tokens\":[]}"};
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        psc_tokenizer *t = open_beside(
            "tokenizer_config.json", configs[i], "added_tokens.json", "{\"<y>\":262,\"<x>\":261}");
        cr_assert(psc_tokenizer_is_special(t, 261), "%s", configs[i]);
        cr_assert_not(psc_tokenizer_is_special(t, 262), "%s", configs[i]);
        CHECK_IDS(t, "<y><x>", 262, 261);
        psc_tokenizer_close(&t);
    }
}

/* --- names ----------------------------------------------------------------------------------- */

Test(tokenizer_names, names_get_the_next_ids_in_their_order) {
    psc_tokenizer *t = open_beside("tokenizer_config.json",
        "{\"eos_token\":\"<e>\",\"bos_token\":{\"content\":\"<b>\",\"lstrip\":true},"
        "\"pad_token\":null,\"unk_token\":\"\",\"token\":\"<no>\",\"my_token\":\"<m>\","
        "\"other_token\":7,\"extra_special_tokens\":{\"image_token\":\"<i>\",\"a\":\"<a>\"}}",
        NULL, NULL);
    CHECK_IDS(t, "a <b>", 'a', 261);
    CHECK_IDS(t, "<e><m><i><a>", 262, 263, 264, 265);
    CHECK_IDS(t, "<no>", '<', 'n', 'o', '>');
    cr_assert(psc_tokenizer_names_bos(t) && psc_tokenizer_bos(t) == 261);
    cr_assert_eq(psc_tokenizer_bos_of(t, 259), 261);
    psc_tokenizer_close(&t);
}

Test(tokenizer_names, the_map_of_special_tokens_wins) {
    psc_tokenizer *t = open_beside("tokenizer_config.json",
        "{\"bos_token\":\"<r>\",\"sep_token\":\"<s>\"}", "special_tokens_map.json",
        "{\"bos_token\":{\"content\":\"<n>\",\"special\":false},"
        "\"extra_special_tokens\":{\"x\":\"<x>\"},\"cls_token\":\"<c>\"}");
    cr_assert_eq(psc_tokenizer_bos(t), 260);
    cr_assert(psc_tokenizer_is_special(t, 260) && !psc_tokenizer_is_special(t, 259));
    CHECK_IDS(t, "<s><c><x>", 261, 262, 263);
    psc_tokenizer_close(&t);
}

Test(tokenizer_names, an_empty_name_names_nothing) {
    psc_tokenizer *t = open_beside("tokenizer_config.json", "{\"bos_token\":\"\"}", NULL, NULL);
    cr_assert_not(psc_tokenizer_names_bos(t));
    cr_assert_eq(psc_tokenizer_bos(t), -1);
    cr_assert_eq(psc_tokenizer_bos_of(t, 259), 259, "an added token");
    cr_assert_eq(psc_tokenizer_bos_of(t, 3), 3, "there is no other token");
    cr_assert_eq(psc_tokenizer_bos_of(t, 1000), 1000);
    psc_tokenizer_close(&t);
}

Test(tokenizer_names, a_space_in_front) {
    static const struct {
        const char *config;
        bool has_space;
    } cases[] = {{"{\"add_prefix_space\":true,\"tokenizer_class\":\"GPTNeoXTokenizerFast\"}", true},
        {"{\"add_prefix_space\":true,\"tokenizer_class\":\"GPTNeoXTokenizer\"}", true},
        {"{\"add_prefix_space\":false,\"tokenizer_class\":\"GPTNeoXTokenizer\"}", false},
        {"{\"add_prefix_space\":1,\"tokenizer_class\":\"GPTNeoXTokenizer\"}", false},
        {"{\"add_prefix_space\":true,\"tokenizer_class\":\"PreTrainedTokenizerFast\"}", false},
        {"{\"add_prefix_space\":true,\"tokenizer_class\":5}", false},
        {"{\"add_prefix_space\":true}", false}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_tokenizer *t = open_beside("tokenizer_config.json", cases[i].config, NULL, NULL);
        if (cases[i].has_space)
            CHECK_IDS(t, "bc", ' ', 258);
        else
            CHECK_IDS(t, "bc", 258);
        CHECK_IDS(t, " bc", ' ', 258);
        psc_tokenizer_close(&t);
    }
}

/* --- flaws ----------------------------------------------------------------------------------- */

static const struct {
    const char *file, *text, *message; /* %s: the folder */
} flaws[] = {
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"\":{\"content\":\"a\"}}}",
        "tokenizer_config.json's added_tokens_decoder: \"\" is not a token with its id"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"261x\":{\"content\":\"a\"}}}",
        "tokenizer_config.json's added_tokens_decoder: \"261x\" is not a token with its id"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"261\":\"a\"}}",
        "tokenizer_config.json's added_tokens_decoder: \"261\" is not a token with its id"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"261\":{\"content\":5}}}",
        "tokenizer_config.json's added_tokens_decoder: \"261\" is not a token with its id"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"300\":{\"content\":\"<x>\"}}}",
        "tokenizer_config.json's added_tokens_decoder: the id of \"<x>\" is 300, but the next free "
        "id is 261"},
    {"tokenizer_config.json", "{\"added_tokens_decoder\":{\"261\":{\"content\":\"<r>\"}}}",
        "tokenizer_config.json's added_tokens_decoder: the id of \"<r>\" is 261, but tokenizer.json "
        "gives its content the id 259"},
    {"tokenizer_config.json",
        "{\"added_tokens_decoder\":{\"261\":{\"content\":\"<x>\",\"special\":\"yes\"}}}",
        "tokenizer_config.json's added_tokens_decoder: the id of \"<x>\": special must be true or "
        "false"},
    {"tokenizer_config.json", "{\"bos_token\":{\"lstrip\":true}}",
        "tokenizer_config.json: bos_token is neither a text nor a token"},
    {"tokenizer_config.json", "{\"bos_token\":{\"content\":\"<b>\",\"rstrip\":7}}",
        "tokenizer_config.json: bos_token: rstrip must be true or false"},
    {"tokenizer_config.json", "{\"extra_special_tokens\":{\"image\":[]}}",
        "tokenizer_config.json: extra_special_tokens is neither a text nor a token"},
    {"tokenizer_config.json", "{\"additional_special_tokens\":[\"<x>\",{}]}",
        "tokenizer_config.json: additional_special_tokens is neither a text nor a token"},
    {"added_tokens.json", "{\"<x>\":261.0}",
        "added_tokens.json: \"<x>\" is not a token with its id"},
    {"added_tokens.json", "{\"<x>\":-1}",
        "added_tokens.json: the id of \"<x>\" is -1, but the next free id is 261"},
    {"added_tokens.json", "{\"<x>\":5}",
        "added_tokens.json: the id of \"<x>\" is 5, which is already another token's id"},
    {"added_tokens.json", "[1]", "%s/added_tokens.json is not a JSON object"},
    {"special_tokens_map.json", "[]", "%s/special_tokens_map.json is not a JSON object"},
};

Test(tokenizer_names, each_flaw_has_its_sentence) {
    for (size_t i = 0; i < sizeof flaws / sizeof *flaws; i++) {
        psc_tokenizer *t;
        char expected[320];
        make_folder();
        write_beside(flaws[i].file, flaws[i].text);
        psc_status status = psc_tokenizer_open_folder(&t, tokenizer_folder, &error);
        const char *name = strstr(flaws[i].message, "%s");
        snprintf(expected, sizeof expected, "%s%s", name ? tokenizer_folder : "",
            name ? name + 2 : flaws[i].message);
        remove_tokenizer_folder();
        cr_assert_eq(status, PSC_ERROR_INPUT, "%s", flaws[i].text);
        cr_assert_str_eq(error.message, expected, "%s", error.message);
        cr_assert_null(t);
    }
}

Test(tokenizer_names, a_folder_in_the_place_of_a_file) {
    static const char *const names[] = {
        "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"};
    for (int i = 0; i < 3; i++) {
        char path[200];
        psc_tokenizer *t;
        make_folder();
        snprintf(path, sizeof path, "%s/%s", tokenizer_folder, names[i]);
        cr_assert_eq(mkdir(path, 0777), 0);
        psc_status status = psc_tokenizer_open_folder(&t, tokenizer_folder, &error);
        remove_tokenizer_folder();
        cr_assert_eq(status, PSC_ERROR_INPUT);
        cr_assert(strstr(error.message, path) && strstr(error.message, "is a directory"), "%s",
            error.message);
        cr_assert_null(t);
    }
}
