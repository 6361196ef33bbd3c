/* A corpus: three bytes of options, then the bytes of one file. It is read twice, the second time
 * from a place that the first one told; both must have the same tokens.
 *
 *   byte 0   bits 0-1: x.jsonl, x.txt, a stream, a stream of JSONL; 2: bos; 3: strict; 4: part 2 of 2
 *            5: a sample of two documents; 6: a limit of 20 tokens; 7: a stride of two tokens
 *   byte 1   the window
 *   byte 2   windows before the place is told */
#include "fuzz.h"
#include "psc_corpus.h"

#include <stdio.h>
#include <string.h>

#define MOST_WINDOWS 4000

static psc_status open_one(psc_corpus **out, FILE **stream, unsigned kind, unsigned window,
    fuzz_bytes file, psc_error *error) {
    static const char *const names[] = {"x.jsonl", "x.txt"};
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    options.window = (int32_t)(window % FUZZ_CONTEXT);
    options.bos = (int32_t)(kind >> 2 & 1);
    options.strict = (int32_t)(kind >> 3 & 1);
    options.shard = options.n_shards = kind >> 4 & 1 ? 2 : 0;
    options.sample = kind >> 5 & 1 ? 2 : 0;
    options.stride = kind >> 7 & 1 ? 2 : 0;
    options.limit = kind >> 6 & 1 ? 20 : 0;
    if (kind & 2) {
        if (kind & 1) options.field = "text";
        *stream = fopen(fuzz_put("x", file), "rb");
        fuzz_expect(*stream != NULL, "cannot open the stream");
        return psc_corpus_open_stream(out, fuzz_model(), *stream, "x", &options, error);
    }
    const char *path = fuzz_put(names[kind & 1], file);
    return psc_corpus_open(out, fuzz_model(), &path, 1, &options, error);
}

/* FNV of all tokens from the present place; the number of windows in *n. */
static uint64_t read_on(psc_corpus *corpus, int most, int *n, psc_status *status) {
    psc_window window = {0};
    psc_error error = {0};
    uint64_t sum = 14695981039346656037u;
    for (*n = 0; *n < most; ++*n) {
        *status = psc_corpus_next(&window, corpus, &error);
        fuzz_check(*status, &error);
        if (*status || window.n == 0) break;
        for (int32_t i = 0; i < window.n; i++)
            sum = (sum ^ (uint64_t)window.tokens[i].id) * 1099511628211u;
        sum = (sum ^ (uint64_t)window.document.number) * 1099511628211u;
    }
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    const unsigned kind = fuzz_byte(&rest), window = fuzz_byte(&rest), before = fuzz_byte(&rest);
    psc_corpus *corpus = NULL, *again = NULL;
    FILE *stream = NULL, *second = NULL;
    psc_error error = {0};
    psc_status status = open_one(&corpus, &stream, kind, window, rest, &error);
    int n = 0, m = 0;
    char *place = NULL, name[100];
    fuzz_check(status, &error);
    if (!status) read_on(corpus, (int)before, &n, &status);
    if (!status) status = psc_corpus_tell(&place, corpus, &error);
    if (!status) {
        psc_status ends[2] = {PSC_OK, PSC_OK};
        const uint64_t sum = read_on(corpus, MOST_WINDOWS, &n, &ends[0]);
        status = open_one(&again, &second, kind, window, rest, &error);
        fuzz_check(status, &error);
        if (!status) status = psc_corpus_seek(again, place, &error);
        fuzz_check(status, &error);
        fuzz_expect(status == PSC_OK, "its own place is refused");
        const uint64_t other = read_on(again, MOST_WINDOWS, &m, &ends[1]);
        fuzz_expect(ends[0] == ends[1] && n == m && sum == other, "other tokens after a place");
        (void)psc_corpus_progress(again);
        for (int64_t d = -1; d < 4; d++) psc_corpus_document_name(name, sizeof name, again, d);
    }
    psc_free(place);
    psc_corpus_close(&corpus);
    psc_corpus_close(&again);
    if (stream) fclose(stream);
    if (second) fclose(second);
    return 0;
}
