/* The page: its markup is fixed whatever the texts are, its policy admits this script and this
 * style, and its data block reads back. */
#include <unistd.h>

#include "page_assets.h"
#include "page_fixture.h"
#include "results_fixture.h"

/* --- SHA-256 (FIPS 180-4), by another hand than CMake's --------------------------------------- */

static uint32_t turned(uint32_t x, int n) {
    return x >> n | x << (32 - n);
}

/* The first 32 bits of the fractional part of a prime's root. */
static uint32_t fraction_bits(long double root) {
    return (uint32_t)((root - floorl(root)) * 0x1p32L);
}

static void find_constants(uint32_t k[64], uint32_t h[8]) {
    int found = 0;
    for (int p = 2; found < 64; p++) {
        bool prime = true;
        for (int d = 2; d * d <= p; d++) prime = prime && p % d != 0;
        if (!prime) continue;
        if (found < 8) h[found] = fraction_bits(sqrtl(p));
        k[found++] = fraction_bits(cbrtl(p));
    }
}

static void add_block(uint32_t h[8], const uint32_t k[64], const unsigned char *block) {
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++)
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 |
               (uint32_t)block[4 * i + 2] << 8 | block[4 * i + 3];
    for (int i = 16; i < 64; i++)
        w[i] = w[i - 16] + w[i - 7] +
               (turned(w[i - 15], 7) ^ turned(w[i - 15], 18) ^ w[i - 15] >> 3) +
               (turned(w[i - 2], 17) ^ turned(w[i - 2], 19) ^ w[i - 2] >> 10);
    memcpy(s, h, sizeof s);
    for (int i = 0; i < 64; i++) {
        const uint32_t one = s[7] + (turned(s[4], 6) ^ turned(s[4], 11) ^ turned(s[4], 25)) +
                             ((s[4] & s[5]) ^ (~s[4] & s[6])) + k[i] + w[i];
        const uint32_t two = (turned(s[0], 2) ^ turned(s[0], 13) ^ turned(s[0], 22)) +
                             ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof *s);
        s[4] += one;
        s[0] = one + two;
    }
    for (int i = 0; i < 8; i++) h[i] += s[i];
}

static void sha256(unsigned char out[32], const char *data, size_t n) {
    uint32_t k[64], h[8];
    unsigned char last[128] = {0};
    const size_t whole = n / 64 * 64, left = n - whole, padded = left < 56 ? 64 : 128;
    find_constants(k, h);
    for (size_t i = 0; i < whole; i += 64) add_block(h, k, (const unsigned char *)data + i);
    memcpy(last, data + whole, left);
    last[left] = 0x80;
    for (int i = 0; i < 8; i++) last[padded - 1 - (size_t)i] = (unsigned char)(n * 8 >> 8 * i);
    for (size_t i = 0; i < padded; i += 64) add_block(h, k, last + i);
    for (int i = 0; i < 32; i++) out[i] = (unsigned char)(h[i / 4] >> (24 - 8 * (i % 4)));
}

/* The text of the element, which begins after `begin` and ends before `end`. */
static const char *between(const char *page, const char *begin, const char *end, size_t *n) {
    const char *from = strstr(page, begin);
    cr_assert(from, "%s", begin);
    from += strlen(begin);
    const char *to = strstr(from, end);
    cr_assert(to);
    *n = (size_t)(to - from);
    return from;
}

static void check_hash(const char *page, const char *policy, const char *begin, const char *end) {
    unsigned char want[32];
    size_t n, bytes;
    char hash[64];
    const char *text = between(page, begin, end, &n);
    cr_assert_gt(n, 100, "an element with its text");
    sha256(want, text, n);
    const char *given = strstr(page, policy);
    cr_assert(given, "%s", policy);
    given += strlen(policy);
    snprintf(hash, sizeof hash, "%.*s", (int)strcspn(given, "'"), given);
    unsigned char *has = from_base64(hash, &bytes);
    cr_assert(bytes == 32 && memcmp(has, want, 32) == 0, "%s", policy);
    free(has);
}

/* tests/cli/page.sh checks the viewer's, which is the policy's second hash. */
Test(page, the_policy_has_the_hashes_of_script_and_style) {
    unsigned char known[32];
    sha256(known, "abc", 3);
    cr_assert_eq(memcmp(known, "\xba\x78\x16\xbf\x8f\x01\xcf\xea", 8), 0);
    psc_results *results = make_results();
    char *page = page_of(results, NULL, NULL);
    check_hash(page, "script-src 'sha256-", "<script id=\"loader\">", "</script>");
    check_hash(page, "style-src 'sha256-", "<style>", "</style>");
    cr_expect(strstr(page, "content=\"default-src 'none'; script-src 'sha256-"));
    cr_expect(strstr(page, "; img-src data: blob:; base-uri 'none'; form-action 'none'\">"));
    psc_free(page);
    psc_results_close(&results);
}

/* --- hostile texts --------------------------------------------------------------------------- */

#define HOSTILE                                                                                    \
    "</script><script>alert(1)</script><!--]]>\"'`<b onclick=x>&lt;&#60;\xe2\x80\xa8\xe2\x80\xa9"  \
    "\x01\x1b[2J\x7f\xc2\x85\xe2\x80\xae\xef\xbb\xbf\xff\xed\xa0\x80\xf0\x9f\x98\x80</pre></details>\\u003c"

static psc_results *make_hostile(void) {
    static const char *const labels[] = {HOSTILE, "<i>", "</title>"};
    static const double values[] = {1, -2, (double)INFINITY};
    psc_results *results = make_results();
    results->model.path = "a/" HOSTILE;
    results->model.hash = HOSTILE;
    results->model.activation = results->run.isa = HOSTILE;
    results->version = HOSTILE;
    results->tokens[1].bytes = HOSTILE;
    results->tokens[1].n_bytes = sizeof HOSTILE - 1;
    results->tokens[2].bytes = "a\0b<";
    results->tokens[2].n_bytes = 4;
    psc_section *section = psc_results_add_section(results, HOSTILE, HOSTILE);
    cr_assert(section);
    int failed = psc_section_add_option(section, HOSTILE, HOSTILE);
    failed |= psc_section_add_text(section, "text", HOSTILE);
    failed |= psc_section_add_text(section, "<key>", HOSTILE);
    failed |= psc_section_append_text(section, "list", HOSTILE);
    failed |= psc_section_add_labels(results, section, "</script>", 3, labels);
    failed |= psc_section_add_sentence(section, HOSTILE);
    failed |= psc_section_add_bars(section, HOSTILE, HOSTILE, 3, labels, values);
    cr_assert_eq(failed, 0);
    add_array(results, 2, "<!--", PSC_F32, 3, 3, "</script>");
    return results;
}

/* Every tag of the page but the script's and the style's text, one per line. */
static void list_tags(char *out, size_t size, const char *page) {
    size_t used = 0;
    for (const char *at = page; (at = strchr(at, '<'));) {
        const size_t n = strcspn(at, "> ") + 1;
        cr_assert_lt(used + n + 1, size, "more tags than the page has");
        used += (size_t)snprintf(out + used, size - used, "%.*s\n", (int)n - 1, at);
        if (strncmp(at, "<style>", 7) == 0) at += psc_page_style_bytes;
        if (strncmp(at, "<script id=\"loader\">", 20) == 0) at += psc_page_loader_bytes;
        at++;
    }
}

Test(page, hostile_texts_are_never_markup) {
    static const char want[] =
        "<!doctype\n<html\n<head\n<meta\n<meta\n<meta\n<link\n<title\n</title\n"
        "<style\n</style\n</head\n<body\n<details\n<summary\n</summary\n"
        "<pre\n</pre\n</details\n<script\n</script\n<script\n</script\n"
        "<script\n</script\n"
        "</body\n</html\n";
    psc_results *results = make_hostile(), *plain = make_results();
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    options.command = options.label = options.beside_label = HOSTILE;
    for (int pass = 0; pass < 3; pass++) {
        char tags[1024];
        options.beside = pass == 1 ? results : NULL;
        char *page = page_of(pass == 2 ? plain : results, &options, NULL);
        list_tags(tags, sizeof tags, page);
        cr_assert_str_eq(tags, want);
        for (const char *c = page; *c; c++)
            cr_assert(*c == '\n' || (unsigned char)*c >= 0x20, "a control character");
        cr_expect_not(strstr(page, "\xe2\x80\xae"), "no character that reorders text");
        cr_expect_not(strstr(page, "\xe2\x80\xa8"), "no line separator");
        cr_expect_eq(psc_text_clean(NULL, page, strlen(page)), strlen(page), "UTF-8");
        psc_free(page);
    }
    psc_results_close(&results);
    psc_results_close(&plain);
}

static void same_text(const json_t *object, const char *key) {
    char *want = psc_text_cleaned(HOSTILE, sizeof HOSTILE - 1);
    cr_expect_str_eq(text_in(object, key), want, "%s", key);
    free(want);
}

Test(page, hostile_texts_are_read_back) {
    psc_results *results = make_hostile();
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    options.command = options.label = HOSTILE;
    char *page = page_of(results, &options, NULL);
    json_t *data = data_of(page), *section = section_of(data, 0, 2);
    json_t *run = json_array_get(json_object_get(data, "runs"), 0);
    json_t *tokens = json_object_get(run, "tokens");
    same_text(data, "command");
    same_text(run, "label");
    same_text(run, "version");
    same_text(json_object_get(run, "model"), "hash");
    same_text(json_array_get(tokens, 1), "text");
    same_text(section, "name");
    same_text(section, "version");
    same_text(json_object_get(section, "values"), "text");
    same_text(json_object_get(section, "values"), "<key>");
    const json_t *bars = json_array_get(json_object_get(section, "summary"), 1);
    same_text(bars, "title");
    same_text(bars, "unit");
    cr_expect(json_is_null(json_array_get(json_object_get(bars, "values"), 2)), "infinity");
    const json_t *zero = json_object_get(json_array_get(tokens, 2), "text");
    cr_expect_eq(json_string_length(zero), 4);
    const json_t *axis = json_object_get(json_object_get(section, "axes"), "</script>");
    cr_expect_str_eq(
        json_string_value(json_array_get(json_object_get(axis, "labels"), 2)), "</title>");
    cr_expect(json_object_get(json_object_get(section, "arrays"), "<!--"));
    cr_expect_str_eq(
        json_string_value(json_array_get(json_object_get(section, "order"), 0)), "</script>");
    json_decref(data);
    psc_free(page);
    psc_results_close(&results);
}

/* --- the content ----------------------------------------------------------------------------- */

Test(page, has_the_head_the_sections_and_the_text) {
    psc_results *results = make_results();
    char *page = page_of(results, NULL, NULL);
    json_t *data = data_of(page), *run = json_array_get(json_object_get(data, "runs"), 0);
    json_t *logits = section_of(data, 0, 0), *values = json_object_get(logits, "values");
    cr_expect_eq(json_integer_value(json_object_get(data, "format")), 1);
    cr_expect(json_is_null(json_object_get(data, "command")) || !json_object_get(data, "command"));
    cr_expect_eq(json_array_size(json_object_get(data, "notes")), 0, "nothing is cut");
    cr_expect_eq(json_array_size(json_object_get(data, "runs")), 1);
    cr_expect_str_eq(text_in(run, "label"), "");
    cr_expect_str_eq(text_in(json_object_get(run, "model"), "path"), "a/folder");
    cr_expect_str_eq(text_in(json_object_get(run, "model"), "name"), "folder");
    cr_expect_eq(json_array_size(json_object_get(run, "tokens")), 3);
    cr_expect_not(json_object_get(run, "corpus"));
    cr_expect_str_eq(text_in(json_object_get(logits, "options"), "level"), "head");
    cr_expect(json_is_null(json_object_get(values, "nothing")));
    cr_expect_eq(json_real_value(json_array_get(json_object_get(values, "errors"), 2)), 1e300);
    cr_expect_eq(json_array_size(json_object_get(logits, "order")), 7);
    const json_t *rows = json_object_get(json_object_get(logits, "axes"), "rows");
    cr_expect_eq(json_integer_value(json_array_get(json_object_get(rows, "numbers"), 1)), 2);
    cr_expect_eq(json_object_size(json_object_get(run, "captures")), 1);
    const json_t *share = array_of(data, 0, "contributions");
    size_t n;
    double *read = numbers_of(share, "data", "f32", 1, &n);
    cr_expect(n == 2 && read[0] == 2.5 && isnan(read[1]));
    free(read);
    cr_expect(strstr(page, "<title>logits, ln: folder</title>"));
    cr_expect(strstr(page, "After &#39;") || strstr(page, "After ' \\x1b[2Jcat'"), "the text");
    json_decref(data);
    psc_free(page);
    psc_results_close(&results);
}

Test(page, a_corpus_and_two_runs) {
    psc_results *results = make_results(), *other = make_results();
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    other->has_corpus = true;
    other->n_tokens = 0;
    other->corpus = (psc_corpus_totals){.struct_size = sizeof other->corpus, .documents = 3};
    options.beside = other;
    char *page = page_of(results, &options, NULL);
    json_t *data = data_of(page), *runs = json_object_get(data, "runs");
    const json_t *second = json_array_get(runs, 1);
    cr_expect_eq(json_array_size(runs), 2);
    cr_expect_str_eq(text_in(json_array_get(runs, 0), "label"), "this run");
    cr_expect_eq(
        json_integer_value(json_object_get(json_object_get(second, "corpus"), "documents")), 3);
    cr_expect_eq(json_array_size(json_object_get(second, "tokens")), 0);
    cr_expect(strstr(page, "the run beside it"));
    section_of(data, 1, 1);
    json_decref(data);
    psc_free(page);
    psc_results_close(&results);
    psc_results_close(&other);
}

Test(page, token_ids_have_their_texts) {
    psc_results *results = make_results();
    char *page = page_of(results, NULL, NULL);
    json_t *data = data_of(page), *run = json_array_get(json_object_get(data, "runs"), 0);
    cr_expect(json_object_get(run, "vocabulary"));
    json_decref(data);
    psc_free(page);
    psc_results_close(&results);
}

/* --- failures -------------------------------------------------------------------------------- */

Test(page, a_stream_that_fails_is_an_error) {
    psc_results *results = make_results();
    psc_error error = {0};
    FILE *closed = fopen("/dev/null", "rb"); /* not open for writing */
    setvbuf(closed, NULL, _IONBF, 0);
    cr_expect_eq(psc_results_write(results, PSC_FORMAT_HTML, NULL, closed, &error), PSC_ERROR_IO);
    cr_expect(strstr(error.message, "cannot write the page"), "%s", error.message);
    fclose(closed);
    FILE *full = access("/dev/full", W_OK) == 0 ? fopen("/dev/full", "wb") : NULL; /* Linux */
    if (full)
        cr_expect_eq(psc_results_write(results, PSC_FORMAT_HTML, NULL, full, &error), PSC_ERROR_IO);
    if (full) fclose(full);
    psc_results_close(&results);
}

Test(page, empty_results_and_wrong_options_are_refused) {
    psc_results *empty, *results = make_results();
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    psc_error error = {0};
    char *page;
    cr_assert_eq(psc_results_open(&empty, NULL), PSC_OK);
    cr_expect_eq(psc_results_write_memory(&page, NULL, empty, PSC_FORMAT_HTML, NULL, &error),
        PSC_ERROR_STATE);
    cr_expect_null(page);
    options.beside = empty;
    cr_expect_eq(psc_results_write_memory(&page, NULL, results, PSC_FORMAT_HTML, &options, &error),
        PSC_ERROR_STATE);
    options.beside = NULL;
    options.page_bytes = -1;
    cr_expect_eq(psc_results_write_memory(&page, NULL, results, PSC_FORMAT_HTML, &options, &error),
        PSC_ERROR_INPUT);
    options.page_bytes = 0;
    options.sections = -1;
    cr_expect_eq(psc_results_write_memory(&page, NULL, results, PSC_FORMAT_TEXT, &options, &error),
        PSC_ERROR_INPUT);
    psc_results_close(&empty);
    psc_results_close(&results);
}

Test(page, a_file_is_checked_in_advance) {
    psc_error error = {0};
    char folder[] = "/tmp/psc-page-XXXXXX", path[64];
    cr_assert(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/page.html", folder);
    cr_expect_eq(psc_results_check_file(PSC_FORMAT_HTML, path, &error), PSC_OK);
    cr_expect_neq(access(path, F_OK), 0, "it leaves no file");
    cr_expect_eq(psc_results_check_file(PSC_FORMAT_HTML, folder, &error), PSC_ERROR_INPUT);
    cr_expect(strstr(error.message, "not a regular file"), "%s", error.message);
    cr_expect_eq(psc_results_check_file(PSC_FORMAT_JSON, "/nowhere/x", &error), PSC_ERROR_IO);
    cr_expect(strstr(error.message, "/nowhere/x"), "%s", error.message);
    cr_expect_eq(rmdir(folder), 0, "it leaves nothing");
}

Test(page, the_first_sections_alone) {
    psc_results *results = make_results();
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    char *text;
    for (int n = 0; n <= 3; n++) {
        options.sections = n;
        cr_assert_eq(
            psc_results_write_memory(&text, NULL, results, PSC_FORMAT_TEXT, &options, NULL),
            PSC_OK);
        cr_expect(strstr(text, "\nlogits "));
        cr_expect_eq(strstr(text, "\nln ") == NULL, n == 1, "%d sections", n);
        psc_free(text);
    }
    psc_results_close(&results);
}

/* The tag block, which no terminal shows: two escapes per character. */
Test(page, a_character_beyond_16_bits_has_two_escapes) {
    static const char tagged[] = "a\xf3\xa0\x81\x81z";
    psc_results *results = make_results();
    psc_section *section = psc_results_add_section(results, "s", "1");
    cr_assert(section);
    cr_assert_eq(psc_section_add_text(section, "text", tagged), PSC_OK);
    char *page = page_of(results, NULL, NULL);
    cr_assert(strstr(page, "\"a\\udb40\\udc41z\""), "it is escaped");
    json_t *data = data_of(page);
    cr_assert_str_eq(text_in(json_object_get(section_of(data, 0, 2), "values"), "text"), tagged);
    psc_free(page);
    json_decref(data);
    psc_results_close(&results);
}
