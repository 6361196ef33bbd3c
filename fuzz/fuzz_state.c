/* A state file: one byte of plugins, then header, client and data, separated. The harness writes
 * lengths and checksum, so that what follows them is reached.
 *
 *   header   empty: the session's own; "@model", "@sleef" and "@version" stand for their values
 *   data     bytes that replace the first of the session's own; a first byte '!' takes them alone
 *
 * An input that begins with "PSCSTATE" is a whole file, whose checksum is made right. A state that
 * is taken is reported and saved again. */
#include "fuzz.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define FIXED 40

static const struct {
    const char *name, *options;
} plugins[] = {{"logits", ""}, {"ln", ""}, {"lens", ""}, {"neurons", "contexts=2"},
    {"attention", ""}, {"treebank", ""}, {"words", ""}, {"sampling", ""}, {"mlp", ""},
    {"means", ""}, {"loss", "early=1,late=3"}, {"sae", "contexts=2,loss=yes"}};
enum { N_PLUGINS = sizeof plugins / sizeof plugins[0] };

static psc_session *open_session(unsigned which) {
    psc_session *session = fuzz_session(1);
    psc_error error = {0};
    const char *name = plugins[which % N_PLUGINS].name, *text = plugins[which % N_PLUGINS].options;
    const psc_option path = {"path", fuzz_dictionary()};
    const int is_sae = strcmp(name, "sae") == 0;
    if (psc_session_plugin_options(session, name, text, &path, is_sae, &error) != PSC_OK)
        fuzz_expect(0, error.message);
    fuzz_check(fuzz_run(session, 5, &error), &error);
    return session;
}

static uint64_t load(const unsigned char *from) {
    uint64_t n = 0;
    for (int i = 7; i >= 0; i--) n = n << 8 | from[i];
    return n;
}

static void store(unsigned char *to, uint64_t n) {
    for (int i = 0; i < 8; i++) to[i] = (unsigned char)(n >> 8 * i);
}

static void sign(unsigned char *file, size_t size) {
    XXH128_canonical_t hash;
    XXH128_canonicalFromHash(&hash, XXH3_128bits(file, size - sizeof hash));
    memcpy(file + size - sizeof hash, &hash, sizeof hash);
}

/* The session's own state as a file, in memory that the caller frees. */
static unsigned char *own_state(const psc_session *session, size_t *size) {
    psc_error error = {0};
    const char *path = fuzz_path("own.state");
    if (psc_session_state_save(session, path, "{}", 2, &error) != PSC_OK)
        fuzz_expect(0, error.message);
    FILE *file = fopen(path, "rb");
    unsigned char *bytes = malloc(1 << 22);
    fuzz_expect(file && bytes, "cannot read the own state");
    *size = fread(bytes, 1, 1 << 22, file);
    fclose(file);
    return bytes;
}

static char *fill_header(size_t *size, fuzz_bytes part, const char *own, size_t n_own) {
    json_t *json = json_loadb(own, n_own, 0, NULL);
    const char *model = json_string_value(json_object_get(json, "model"));
    const char *sleef = json_string_value(json_object_get(json, "sleef"));
    size_t n, m;
    char *a = fuzz_replace(&n, part, "@model", model ? model : "");
    char *b = fuzz_replace(&m, (fuzz_bytes){(uint8_t *)a, n}, "@sleef", sleef ? sleef : "");
    char *c = fuzz_replace(size, (fuzz_bytes){(uint8_t *)b, m}, "@version", psc_version());
    free(a);
    free(b);
    json_decref(json);
    return c;
}

static const char *put_parts(const psc_session *session, fuzz_bytes rest) {
    size_t size, n_header;
    unsigned char *own = own_state(session, &size);
    const size_t n_own = load(own + 16), n_own_data = load(own + 32);
    const unsigned char *own_data = own + FIXED + n_own + load(own + 24);
    const fuzz_bytes part = fuzz_part(&rest), client = fuzz_part(&rest);
    char *header = part.size > 0 ? fill_header(&n_header, part, (char *)own + FIXED, n_own) : NULL;
    if (!header) n_header = n_own;
    const int alone = rest.size > 0 && rest.data[0] == '!';
    const size_t n_data = alone ? rest.size - 1 : n_own_data;
    const size_t total = FIXED + n_header + client.size + n_data + sizeof(XXH128_canonical_t);
    unsigned char *file = calloc(1, total), *to = file + FIXED;
    if (!file) abort();
    memcpy(file, own, 16);
    store(file + 16, n_header);
    store(file + 24, client.size);
    store(file + 32, n_data);
    memcpy(to, header ? header : (char *)own + FIXED, n_header);
    to += n_header;
    if (client.size > 0) memcpy(to, client.data, client.size);
    to += client.size;
    if (!alone) memcpy(to, own_data, n_data);
    if (alone && n_data > 0) memcpy(to, rest.data + 1, n_data);
    if (!alone && rest.size > 0) memcpy(to, rest.data, rest.size < n_data ? rest.size : n_data);
    sign(file, total);
    const char *path = fuzz_put("a.state", (fuzz_bytes){file, total});
    free(header);
    free(file);
    free(own);
    return path;
}

static const char *put_whole(fuzz_bytes whole) {
    char *copy = fuzz_text(whole);
    if (whole.size >= FIXED + 16) sign((unsigned char *)copy, whole.size);
    const char *path = fuzz_put("a.state", (fuzz_bytes){(uint8_t *)copy, whole.size});
    free(copy);
    return path;
}

static void report(psc_session *session) {
    char *text = NULL;
    psc_error error = {0};
    const psc_status status = psc_session_report(session, NULL, &error);
    fuzz_check(status, &error);
    if (status) return;
    fuzz_check(psc_results_write_memory(
                   &text, NULL, psc_session_results(session), PSC_FORMAT_TEXT, NULL, &error),
        &error);
    fuzz_expect(!text || !strstr(text, "-9,223,372,036"), "a count that is cut to 64 bits");
    psc_free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    psc_error error = {0};
    void *client = NULL;
    size_t bytes = 0;
    const int whole = size >= 8 && memcmp(data, "PSCSTATE", 8) == 0;
    psc_session *session = open_session(whole ? 0 : fuzz_byte(&rest));
    const char *path = whole ? put_whole(rest) : put_parts(session, rest);
    fuzz_check(psc_state_client(&client, &bytes, path, &error), &error);
    psc_free(client);
    psc_status status = psc_session_state_merge(session, path, &error);
    fuzz_check(status, &error);
    if (!status) fuzz_check(psc_session_state_load(session, path, &error), &error);
    if (!status) report(session);
    psc_session_close(&session);
    return 0;
}
