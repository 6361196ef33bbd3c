/* What a client may ask for when it writes results, and what it is told otherwise; files and
 * folders that cannot be written. */
#include <errno.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "report.h"
#include "results_fixture.h"

static psc_error error;

static void check_refused(const psc_results *results, psc_format format,
    const psc_format_options *options, const char *sentence) {
    char *text = (char *)&error;
    size_t bytes = 7;
    cr_assert_eq(psc_results_write_memory(&text, &bytes, results, format, options, &error),
        PSC_ERROR_INPUT, "%s", sentence);
    cr_assert_str_eq(error.message, sentence, "%s", error.message);
    cr_assert(!text && bytes == 0);
    FILE *out = tmpfile();
    cr_assert(out);
    cr_assert_eq(psc_results_write(results, format, options, out, &error), PSC_ERROR_INPUT);
    cr_assert_str_eq(error.message, sentence, "%s", error.message);
    cr_assert_eq(ftell(out), 0, "nothing is written");
    fclose(out);
}

/* --- options --------------------------------------------------------------------------------- */

Test(report_write, refused_options) {
    static const psc_result_time no_time = {0};
    static const psc_generation no_generation = {0};
    static const struct {
        psc_format format;
        psc_format_options options;
        const char *sentence;
    } cases[] = {
        {(psc_format)3, {0}, "the format 3 is unknown"},
        {(psc_format)-1, {0}, "the format -1 is unknown"},
        {PSC_FORMAT_TEXT, {.width = 39}, "the width must be 0 or from 40 to 1000, not 39"},
        {PSC_FORMAT_TEXT, {.width = 1001}, "the width must be 0 or from 40 to 1000, not 1001"},
        {PSC_FORMAT_TEXT, {.width = -1}, "the width must be 0 or from 40 to 1000, not -1"},
        {PSC_FORMAT_TEXT, {.color = (psc_color)3}, "the color mode 3 is unknown"},
        {PSC_FORMAT_TEXT, {.color = (psc_color)-1}, "the color mode -1 is unknown"},
        {PSC_FORMAT_TEXT, {.sections = -1}, "the number of sections must not be negative"},
        {PSC_FORMAT_HTML, {.page_bytes = -1}, "the page's bytes must not be negative"},
        {PSC_FORMAT_JSON, {.time = &no_time},
            "the options' time has no struct_size; start from PSC_RESULT_TIME_INIT"},
        {PSC_FORMAT_JSON, {.generation = &no_generation},
            "the options' generation has no struct_size; start from PSC_GENERATION_INIT"},
    };
    psc_results *results = make_results();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_format_options options = cases[i].options;
        options.struct_size = sizeof options;
        check_refused(results, cases[i].format, &options, cases[i].sentence);
    }
    psc_results_close(&results);
}

/* The least and the largest width; an older client's options are shorter. */
Test(report_write, accepted_options) {
    psc_results *results = make_results();
    for (int i = 0; i < 3; i++) {
        psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
        char *text;
        options.width = i == 0 ? 40 : 1000;
        options.color = i == 0 ? PSC_COLOR_ALWAYS : PSC_COLOR_NEVER;
        if (i == 2)
            options.struct_size = sizeof options.struct_size; /* none of the others counts */
        cr_assert_eq(
            psc_results_write_memory(&text, NULL, results, PSC_FORMAT_TEXT, &options, &error),
            PSC_OK, "%s", error.message);
        cr_assert_eq(strstr(text, "\033[") != NULL, i == 0, "%s", text);
        psc_free(text);
    }
    psc_results_close(&results);
}

Test(report_write, results_without_a_run) {
    psc_results *none, *results = make_results();
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    char *text;
    cr_assert_eq(psc_results_open(&none, &error), PSC_OK);
    options.beside = none;
    cr_assert_eq(psc_results_write_memory(&text, NULL, none, PSC_FORMAT_JSON, NULL, &error),
        PSC_ERROR_STATE);
    cr_assert_eq(psc_results_write_memory(&text, NULL, results, PSC_FORMAT_HTML, &options, &error),
        PSC_ERROR_STATE);
    cr_assert_eq(psc_results_write_memory(&text, NULL, results, PSC_FORMAT_TEXT, &options, &error),
        PSC_OK, "only a page has two runs");
    psc_free(text);
    psc_results_close(&none);
    psc_results_close(&results);
}

/* --- files ----------------------------------------------------------------------------------- */

static char folder[] = "/tmp/psc-write-XXXXXX";

static const char *in_folder(const char *name) {
    static char paths[2][200];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static int entries(void) {
    char command[100];
    int n = -1;
    snprintf(command, sizeof command, "ls -A '%s' | wc -l", folder);
    FILE *out = popen(command, "r");
    cr_assert(out && fscanf(out, "%d", &n) == 1);
    pclose(out);
    return n;
}

Test(report_write, a_file_is_written_or_not_there) {
    psc_results *results = make_results();
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    cr_assert(mkdtemp(folder));
    cr_assert_eq(psc_results_check_file(PSC_FORMAT_JSON, in_folder("a.json"), &error), PSC_OK);
    cr_assert_eq(
        psc_results_write_file(results, PSC_FORMAT_JSON, NULL, in_folder("a.json"), &error), PSC_OK,
        "%s", error.message);
    cr_assert_eq(entries(), 1);
    options.width = 7;
    cr_assert_eq(
        psc_results_write_file(results, PSC_FORMAT_TEXT, &options, in_folder("a.txt"), &error),
        PSC_ERROR_INPUT);
    cr_assert_eq(
        psc_results_write_file(results, PSC_FORMAT_TEXT, NULL, in_folder("no/a.txt"), &error),
        PSC_ERROR_IO);
    cr_assert(strstr(error.message, "no"), "%s", error.message);
    cr_assert_eq(entries(), 1);
    unlink(in_folder("a.json"));
    rmdir(folder);
    psc_results_close(&results);
}

/* A limit of a file's size stands for a full disk; `name` is the file that does not fit. */
static void fail_folder(const psc_results *results, rlim_t bytes, const char *name) {
    struct rlimit before, limit;
    cr_assert_eq(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = bytes;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    const psc_status status = psc_results_write_folder(results, in_folder("out"), &error);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &before), 0);
    cr_assert_eq(status, PSC_ERROR_IO, "%s", name);
    cr_assert(
        strstr(error.message, name) && strstr(error.message, strerror(EFBIG)), "%s", error.message);
    cr_assert_eq(entries(), 0, "%s", name);
}

Test(report_write, a_full_disk_at_each_file) {
    static char large[300000];
    psc_results *results = make_results();
    cr_assert(mkdtemp(folder));
    signal(SIGXFSZ, SIG_IGN);
    fail_folder(results, 100, "results.json");
    cr_assert_eq(psc_results_add_file(results, "made.bin", large, sizeof large, &error), PSC_OK);
    fail_folder(results, 100000, "made.bin");
    add_array(results, -1, "large", PSC_F32, 64, 1024, NULL);
    fail_folder(results, 100000, "tensors.safetensors");
    rmdir(folder);
    psc_results_close(&results);
}

/* A plugin's file that would be outside of the folder, or in the place of another file. */
Test(report_write, files_that_cannot_be_made) {
    static const struct {
        const char *name, *words;
        psc_status status;
    } cases[] = {{"../made.bin", "../made.bin is not a plain path inside the output folder",
                     PSC_ERROR_INPUT},
        {"results.json", "results.json: File exists", PSC_ERROR_IO}};
    cr_assert(mkdtemp(folder));
    for (int i = 0; i < 2; i++) {
        psc_results *results = make_results();
        cr_assert_eq(psc_results_add_file(results, cases[i].name, "x", 1, &error), PSC_OK);
        cr_assert_eq(psc_results_write_folder(results, in_folder("out"), &error), cases[i].status);
        cr_assert(strstr(error.message, cases[i].words), "%s", error.message);
        cr_assert_eq(entries(), 0);
        psc_results_close(&results);
    }
    psc_results *results = make_results();
    cr_assert_eq(psc_results_write_folder(results, in_folder("no/out"), &error), PSC_ERROR_IO);
    cr_assert_eq(entries(), 0);
    rmdir(folder);
    psc_results_close(&results);
}
