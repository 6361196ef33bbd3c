/* What the program keeps in a state file: {"place": ..., "setup": ...}. The setup is applied to a
 * session; the place is returned to, added as a part, and asked for its documents' names. "@corpus"
 * stands for the corpus's identity. Paths are refused, so that nothing is loaded or written. */
#include "fuzz.h"
#include "state.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static psc_corpus *open_corpus(void) {
    static const char text[] =
        "{\"text\": \"one two three\"}\nnone\n{\"text\": \"the last one\"}\n";
    psc_corpus *corpus = NULL;
    psc_error error = {0};
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    options.window = 8;
    fuzz_put("place.jsonl", (fuzz_bytes){(const uint8_t *)text, sizeof text - 1});
    fuzz_expect(chdir(fuzz_folder()) == 0, "cannot enter the scratch folder");
    const char *path = "place.jsonl";
    if (psc_corpus_open(&corpus, fuzz_model(), &path, 1, &options, &error) != PSC_OK)
        fuzz_expect(0, error.message);
    return corpus;
}

static void seek(psc_corpus *corpus, const char *place) {
    psc_error error = {0};
    psc_window window = {0};
    psc_status status = psc_corpus_seek(corpus, place, &error);
    fuzz_check(status, &error);
    for (int i = 0; !status && i < 32; i++) {
        status = psc_corpus_next(&window, corpus, &error);
        fuzz_check(status, &error);
        if (!status && window.n == 0) break;
    }
}

static void add_part(const char *place) {
    static unsigned char parts[PSC_CORPUS_SHARDS];
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_corpus_names *names = NULL;
    psc_error error = {0};
    char identity[33] = "";
    int32_t n_shards = 0;
    memset(parts, 0, sizeof parts);
    for (int i = 0; i < 2; i++) {
        fuzz_check(psc_corpus_add_part(&totals, identity, &n_shards, parts, place, &error), &error);
        fuzz_check(psc_corpus_names_add(&names, place, &error), &error);
    }
    psc_corpus_names_give(&totals, names);
    if (totals.document_name)
        for (int64_t d = -1; d < 4; d++) (void)totals.document_name(d, totals.document_payload);
    psc_corpus_names_close(&names);
}

/* As merge does without options. */
static void apply(psc_session *session, const json_t *setup) {
    static const cli_option options[] = {{0}};
    static const cli_verb verb = {"merge", "", "", NULL, options, 0, NULL};
    cli_arguments arguments;
    psc_error error = {0};
    fuzz_expect(cli_parse(&arguments, &verb, 0, NULL) == CLI_OK, "no options are refused");
    fuzz_check(cli_setup_apply(session, setup, &arguments, &error), &error);
    cli_free_arguments(&arguments);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *own = NULL;
    psc_error error = {0};
    size_t n = 0;
    psc_corpus *corpus = open_corpus();
    fuzz_check(psc_corpus_tell(&own, corpus, &error), &error);
    json_t *written = json_loads(own, 0, NULL);
    const char *identity = json_string_value(json_object_get(written, "corpus"));
    char *text = fuzz_replace(&n, (fuzz_bytes){data, size}, "@corpus", identity);
    json_t *root = json_loadb(text, n, 0, NULL), *setup = json_object_get(root, "setup");
    char *place = json_dumps(json_object_get(root, "place"), JSON_ENCODE_ANY);
    if (setup && !memchr(text, '/', n) && !strstr(text, ".so") && !strstr(text, ".dylib") &&
        !strstr(text, "\\u")) {
        psc_session *session = fuzz_session(1);
        apply(session, setup);
        psc_session_close(&session);
    }
    if (place) seek(corpus, place);
    if (place) add_part(place);
    free(place);
    json_decref(root);
    json_decref(written);
    free(text);
    psc_free(own);
    psc_corpus_close(&corpus);
    return 0;
}
