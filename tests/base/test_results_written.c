/* psc_results.h: every way to write. */
#include "results_fixture.h"

#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

#include "terminal_text.h"

static psc_results *results;
static psc_error error;

static void open_results(void) {
    results = make_results();
}

static void close_results(void) {
    psc_results_close(&results);
}

TestSuite(results_written, .init = open_results, .fini = close_results);

static char *read_whole(const char *path, size_t *bytes) {
    FILE *file = fopen(path, "rb");
    cr_assert(file, "%s", path);
    char *text = calloc(1, 1 << 20);
    *bytes = fread(text, 1, 1 << 20, file);
    fclose(file);
    return text;
}

static void same_text(const char *a, size_t n, const char *b, size_t m, const char *what) {
    cr_assert(n == m && memcmp(a, b, n) == 0, "%s: %s\n%s", what, a, b);
}

/* Memory, a stream, a file and the folder's results.json contain the same bytes. */
Test(results_written, everywhere_alike) {
    char folder[] = "/tmp/psc-results-XXXXXX", path[64], *memory, *other;
    size_t bytes, n;
    cr_assert(mkdtemp(folder));
    GIVES(psc_results_write_folder(results, folder, &error));
    GIVES(psc_results_write_memory(&memory, &bytes, results, PSC_FORMAT_JSON, NULL, &error));
    cr_assert(bytes == strlen(memory) && memory[bytes - 1] == '\n');
    snprintf(path, sizeof path, "%s/results.json", folder);
    other = read_whole(path, &n);
    same_text(memory, bytes, other, n, "folder");
    free(other);
    const bool page = psc_results_check_file(PSC_FORMAT_HTML, path, NULL) == PSC_OK; /* PSC_PAGE */
    for (int format = PSC_FORMAT_JSON; format <= (page ? PSC_FORMAT_HTML : PSC_FORMAT_TEXT);
         format++) {
        psc_free(memory);
        GIVES(psc_results_write_memory(&memory, &bytes, results, format, NULL, &error));
        for (int stream = 0; stream <= 1; stream++) {
            FILE *file = stream ? fopen(path, "wb") : NULL;
            if (stream)
                GIVES(psc_results_write(results, format, NULL, file, &error));
            else
                GIVES(psc_results_write_file(results, format, NULL, path, &error));
            if (stream) cr_assert_eq(fclose(file), 0);
            other = read_whole(path, &n);
            same_text(memory, bytes, other, n, stream ? "stream" : "file");
            free(other);
        }
    }
    psc_free(memory);
    remove(path);
    snprintf(path, sizeof path, "%s/tensors.safetensors", folder);
    remove(path);
    rmdir(folder);
}

/* The whole document; entries keep the order of their creation. */
Test(results_written, json_to_the_byte) {
    char *text;
    GIVES(psc_results_write_memory(&text, NULL, results, PSC_FORMAT_JSON, NULL, &error));
    const char *plugins = strstr(text, "  \"plugins\"");
    cr_assert(plugins);
    cr_assert_str_eq(plugins,
        "  \"plugins\": {\n"
        "    \"logits\": {\n"
        "      \"version\": \"1\",\n"
        "      \"options\": {\n        \"level\": \"head\"\n      },\n"
        "      \"arrays\": {\n"
        "        \"contributions\": {\n"
        "          \"dtype\": \"F32\",\n"
        "          \"axes\": [\"rows\", \"rows\"],\n"
        "          \"shape\": [1, 2],\n          \"values\": [[2.5, null]]\n        },\n"
        "        \"target_ids\": {\n"
        "          \"dtype\": \"I32\",\n"
        "          \"axes\": [\"rows\", \"rows\"],\n"
        "          \"shape\": [1, 2],\n          \"values\": [[-1, -1]]\n        }\n      },\n"
        "      \"summary\": [\n"
        "        \"After ' \\u001B[2Jcat' the model expects\\n' sat'.\",\n"
        "        {\"title\": \"largest shares\", \"unit\": \"nats\", "
        "\"labels\": [\"L0H0\", \"embed\", \"0_mlp_out \xef\xbf\xbd\"], "
        "\"values\": [2.5, -1.25, null]}\n      ],\n"
        "      \"nothing\": null,\n"
        "      \"components\": [\"embed\", \"\", \"a\xef\xbf\xbd\"],\n"
        "      \"note\": \"caf\xc3\xa9\",\n"
        "      \"errors\": [0.5, null, 1.0000000000000001e300],\n"
        "      \"rows\": [0, 2],\n"
        "      \"sites\": [\"0.ln1\"],\n"
        "      \"none\": []\n"
        "    },\n"
        "    \"ln\": {\n"
        "      \"version\": \"2\",\n"
        "      \"options\": {},\n"
        "      \"arrays\": {\n"
        "        \"mean\": {\n"
        "          \"dtype\": \"F64\",\n"
        "          \"axes\": [\"x\", \"x\"],\n"
        "          \"shape\": [1, 1],\n"
        "          \"values\": [[0.10000000000000001]]\n        }\n      }\n"
        "    }\n"
        "  },\n"
        "  \"captures\": {\n"
        "    \"blocks.0.hook_attn_out\": {\n"
        "      \"dtype\": \"F32\",\n"
        "      \"shape\": [2, 3],\n      \"values\": "
        "[[null, null, null], [null, null, null]]\n    }\n  }\n}\n");
    psc_free(text);
}

/* Columns of the longest line. */
static int widest(const char *text) {
    char *copy = strdup(text);
    int most = 0;
    for (char *line = strtok(copy, "\n"); line; line = strtok(NULL, "\n"))
        if (psc_text_columns(line) > most) most = psc_text_columns(line);
    free(copy);
    return most;
}

Test(results_written, options_of_the_text) {
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    char *plain, *colored;
    GIVES(psc_results_write_memory(&plain, NULL, results, PSC_FORMAT_TEXT, &options, &error));
    cr_assert_not(strchr(plain, '\033'), "memory is not a terminal");
    options.color = PSC_COLOR_ALWAYS;
    options.width = 60;
    GIVES(psc_results_write_memory(&colored, NULL, results, PSC_FORMAT_TEXT, &options, &error));
    cr_assert(strstr(colored, "\033[36m"));
    cr_assert_eq(widest(plain), 80, "80 columns if the width is unknown");
    psc_free(plain);
    options.color = PSC_COLOR_NEVER;
    GIVES(psc_results_write_memory(&plain, NULL, results, PSC_FORMAT_TEXT, &options, &error));
    cr_assert_eq(widest(plain), 60);
    cr_assert_not(strchr(plain, '\033'));
    psc_free(plain);
    psc_free(colored);
    options.width = 39;
    REFUSED(psc_results_write_memory(&plain, NULL, results, PSC_FORMAT_TEXT, &options, &error),
        PSC_ERROR_INPUT, "39");
    options.width = 0;
    options.color = 3;
    REFUSED(psc_results_write_memory(&plain, NULL, results, PSC_FORMAT_TEXT, &options, &error),
        PSC_ERROR_INPUT, "color mode 3");
    REFUSED(psc_results_write_memory(&plain, NULL, results, (psc_format)3, NULL, &error),
        PSC_ERROR_INPUT, "format 3");
    REFUSED(psc_results_write_file(results, PSC_FORMAT_JSON, NULL, "/nowhere/x.json", &error),
        PSC_ERROR_IO, "/nowhere/x.json");
}

Test(results_written, on_one_line) {
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    char *line, *lines;
    size_t n;
    options.one_line = 1;
    GIVES(psc_results_write_memory(&line, &n, results, PSC_FORMAT_JSON, &options, &error));
    GIVES(psc_results_write_memory(&lines, NULL, results, PSC_FORMAT_JSON, NULL, &error));
    cr_assert(strchr(line, '\n') == line + n - 1, "one line, with its end");
    json_t *one = json_loads(line, 0, NULL), *other = json_loads(lines, 0, NULL);
    cr_assert(one && json_equal(one, other));
    json_decref(one);
    json_decref(other);
    psc_free(line);
    psc_free(lines);
}

Test(results_written, text_without_the_head) {
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    char *whole, *sections;
    options.width = 60;
    options.color = PSC_COLOR_NEVER;
    GIVES(psc_results_write_memory(&whole, NULL, results, PSC_FORMAT_TEXT, &options, &error));
    options.no_head = 1;
    GIVES(psc_results_write_memory(&sections, NULL, results, PSC_FORMAT_TEXT, &options, &error));
    const size_t head = strlen(whole) - strlen(sections);
    cr_assert_str_eq(whole + head, sections);
    cr_assert(strncmp(sections, "\nlogits ", 8) == 0 && strncmp(whole, "folder  00ff", 12) == 0);
    psc_free(whole);
    psc_free(sections);
}
