/* The report: written files read back equal; a folder appears completely or not at all; terminal
 * output is aligned and harmless. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"
#include "results_fixture.h"
#include "terminal_text.h"

/* Runs `write` into memory. */
static char *written(psc_status (*write)(const psc_results *, FILE *, psc_error *),
    const psc_results *results, size_t *bytes) {
    char *text = NULL;
    psc_error error = {0};
    FILE *out = open_memstream(&text, bytes);
    cr_assert_eq(write(results, out, &error), PSC_OK, "%s", error.message);
    fclose(out);
    return text;
}

static psc_status write_json(const psc_results *results, FILE *out, psc_error *error) {
    static const psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    return psc_report_json(results, &options, out, error);
}

Test(report, json_is_read_back) {
    psc_results *results = make_results();
    size_t bytes;
    char *text = written(write_json, results, &bytes);
    json_error_t where;
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES, &where);
    cr_assert(root, "%s at line %d", where.text, where.line);
    json_t *logits = json_object_get(json_object_get(root, "plugins"), "logits");
    cr_expect(json_is_null(json_object_get(logits, "nothing")));
    cr_expect_str_eq(json_string_value(json_array_get(json_object_get(logits, "components"), 2)),
        "a\xef\xbf\xbd");
    cr_expect(json_is_true(json_object_get(json_object_get(root, "run"), "bos")));
    cr_expect(json_object_get(json_object_get(root, "captures"), "blocks.0.hook_attn_out"));
    cr_expect_eq(json_object_size(json_object_get(root, "captures")), 1);
    const json_t *tokens = json_object_get(root, "tokens");
    cr_expect_eq(json_array_size(tokens), 3);
    cr_expect_str_eq(
        json_string_value(json_object_get(json_array_get(tokens, 2), "text")), "\xef\xbf\xbd");
    json_decref(root);
    free(text);
    psc_results_close(&results);
}

/* One tensor of a safetensors file in memory; checks its range against its shape. */
static const void *tensor(const char *file, size_t bytes, const char *name, size_t want) {
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--) header = header << 8 | (unsigned char)file[i];
    cr_assert(header % 8 == 0 && header + 8 <= bytes);
    json_t *root = json_loadb(file + 8, (size_t)header, JSON_REJECT_DUPLICATES, NULL);
    json_t *offsets = json_object_get(json_object_get(root, name), "data_offsets");
    json_int_t begin = json_integer_value(json_array_get(offsets, 0));
    json_int_t end = json_integer_value(json_array_get(offsets, 1));
    json_decref(root);
    cr_assert_eq((size_t)(end - begin), want, "%s", name);
    cr_assert_leq(8 + header + (uint64_t)end, bytes);
    return file + 8 + header + begin;
}

Test(report, tensors_are_read_back) {
    psc_results *results = make_results();
    size_t bytes;
    char *file = written(psc_report_tensors, results, &bytes);
    float share[2];
    double mean;
    int32_t ids[2];
    memcpy(share, tensor(file, bytes, "logits.contributions", 8), 8);
    memcpy(&mean, tensor(file, bytes, "ln.mean", 8), 8);
    memcpy(ids, tensor(file, bytes, "logits.target_ids", 8), 8);
    tensor(file, bytes, "blocks.0.hook_attn_out", 24);
    cr_expect_eq(share[0], 2.5f);
    cr_expect(isnan(share[1]));
    cr_expect_eq(mean, 0.1);
    cr_expect_eq(ids[0], -1);
    free(file);
    psc_results_close(&results);
}

static int entries(const char *folder) {
    int n = 0;
    DIR *dir = opendir(folder);
    if (!dir) return -1;
    for (struct dirent *entry; (entry = readdir(dir));)
        n += entry->d_name[0] != '.' || strlen(entry->d_name) > 2;
    closedir(dir);
    return n;
}

static void temporary_folder(char *out, size_t size) {
    const char *base = getenv("TMPDIR");
    snprintf(out, size, "%s/psc-report-XXXXXX", base ? base : "/tmp");
    cr_assert(mkdtemp(out));
}

Test(report, folder_is_whole) {
    psc_results *results = make_results();
    psc_error error = {0};
    char parent[256], folder[300], file[340];
    temporary_folder(parent, sizeof parent);
    snprintf(folder, sizeof folder, "%s/out", parent);
    cr_expect_eq(psc_results_check_folder(folder, &error), PSC_OK);
    cr_expect_eq(entries(parent), 0, "a check leaves nothing");
    cr_assert_eq(psc_results_write_folder(results, folder, &error), PSC_OK, "%s", error.message);
    cr_expect_eq(entries(folder), 2);
    cr_expect_neq(
        psc_results_write_folder(results, folder, &error), PSC_OK, "the folder is not empty");
    cr_expect_neq(psc_results_check_folder(folder, &error), PSC_OK);
    cr_expect_eq(entries(parent), 1);
    snprintf(file, sizeof file, "%s/results.json", folder);
    remove(file);
    snprintf(file, sizeof file, "%s/tensors.safetensors", folder);
    remove(file);
    rmdir(folder);
    rmdir(parent);
    psc_results_close(&results);
}

/* A file size limit simulates a full disk: the second file fails, and the first is removed too. */
Test(report, a_full_disk_leaves_nothing) {
    psc_results *results = make_results();
    psc_error error = {0};
    char parent[256], folder[300];
    temporary_folder(parent, sizeof parent);
    snprintf(folder, sizeof folder, "%s/out", parent);
    add_array(results, -1, "large", PSC_F32, 64, 1024, NULL);
    struct rlimit before, limit;
    getrlimit(RLIMIT_FSIZE, &before);
    limit = before;
    limit.rlim_cur = 100000;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    psc_status status = psc_results_write_folder(results, folder, &error);
    setrlimit(RLIMIT_FSIZE, &before);
    cr_expect_eq(status, PSC_ERROR_IO);
    cr_expect(strstr(error.message, "tensors.safetensors"), "%s", error.message);
    cr_expect_eq(entries(parent), 0);
    rmdir(parent);
    psc_results_close(&results);
}

Test(report, a_stream_that_fails_is_an_error) {
    psc_results *results = make_results();
    psc_error error = {0};
    FILE *closed = fopen("/dev/null", "rb"); /* not open for writing */
    cr_assert(closed);
    setvbuf(closed, NULL, _IONBF, 0);
    cr_expect_eq(write_json(results, closed, &error), PSC_ERROR_IO);
    cr_expect_eq(psc_report_tensors(results, closed, &error), PSC_ERROR_IO);
    cr_expect_eq(
        psc_report_summary(results, closed, (psc_report_style){.width = 80}, &error), PSC_ERROR_IO);
    fclose(closed);
    psc_results_close(&results);
}

static char *summary(const psc_results *results, psc_report_style style) {
    char *text = NULL;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    cr_assert_eq(psc_report_summary(results, out, style, NULL), PSC_OK);
    fclose(out);
    return text;
}

Test(report, summary_is_harmless_and_fits) {
    psc_results *results = make_results();
    char *text = summary(results, (psc_report_style){.width = 60});
    for (const char *c = text; *c; c++) cr_expect(*c == '\n' || (unsigned char)*c >= 0x20);
    cr_expect(strstr(text, "\\x1b[2Jcat"));
    cr_expect(strstr(text, "+2.500"));
    cr_expect(strstr(text, "-1.250"));
    cr_expect(strstr(text, "n/a"));
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n"))
        cr_expect_leq(psc_text_columns(line), 60, "%s", line);
    free(text);
    text = summary(results, (psc_report_style){.width = 60, .color = true});
    cr_expect(strstr(text, "\033[36m"));
    cr_expect(strstr(text, "\033[31m"));
    cr_expect_not(strstr(text, "\033[2J"));
    free(text);
    psc_results_close(&results);
}

Test(report, escape_is_safe_and_bounded) {
    const char *hostile = "a\033]0;x\a\xc2\x9b\xe2\x80\xae\xff\xf0\x9f\x98\x80\n";
    char out[128];
    psc_report_escape(out, sizeof out, hostile, strlen(hostile));
    cr_expect_str_eq(out, "a\\x1b]0;x\\x07\\u{9b}\\u{202e}\\xff\xf0\x9f\x98\x80\\n");
    cr_expect_eq(psc_report_escape(NULL, 0, hostile, strlen(hostile)), 0);
    for (size_t size = 1; size < 40; size++) {
        memset(out, '!', sizeof out);
        size_t n = psc_report_escape(out, size, hostile, strlen(hostile));
        cr_expect_lt(n, size);
        cr_expect_eq(out[n], 0);
        cr_expect_eq(out[size], '!');
    }
}

Test(report, text_that_is_not_utf8_becomes_replacement_characters) {
    cr_assert_eq(psc_text_clean(NULL, "a\xe2\x82z\0b", 6), 10);
    char *text = psc_text_cleaned("a\xe2\x82z\0b", 6);
    cr_assert(text);
    cr_expect_eq(memcmp(text, "a\xef\xbf\xbd\xef\xbf\xbdz\0b", 11), 0);
    free(text);
}

Test(report, wide_characters_take_two_columns) {
    cr_expect_eq(psc_text_columns("\xe6\xbc\xa2\xe5\xad\x97"), 4);
    cr_expect_eq(psc_text_columns("e\xcc\x81"), 1);
}
