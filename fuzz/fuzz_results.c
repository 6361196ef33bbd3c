/* A folder of results: results.json and tensors.safetensors, separated. What is read is copied,
 * stacked, printed in every format, and written again: both files must then have the same bytes. */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *text_of(const psc_results *results, psc_format format, size_t *bytes) {
    char *text = NULL;
    psc_error error = {0};
    fuzz_check(psc_results_write_memory(&text, bytes, results, format, NULL, &error), &error);
    return text;
}

static void remove_written(void) {
    unlink(fuzz_path("again/results.json"));
    unlink(fuzz_path("again/tensors.safetensors"));
    rmdir(fuzz_path("again"));
}

static void write_again(const psc_results *results) {
    psc_results *again = NULL;
    psc_error error = {0};
    size_t n = 0, m = 0;
    remove_written();
    const psc_status status = psc_results_write_folder(results, fuzz_path("again"), &error);
    fuzz_check(status, &error);
    if (status) return;
    if (psc_results_read_folder(&again, fuzz_path("again"), &error) != PSC_OK)
        fuzz_expect(0, error.message);
    char *a = text_of(results, PSC_FORMAT_JSON, &n), *b = text_of(again, PSC_FORMAT_JSON, &m);
    fuzz_expect(a && b && n == m && memcmp(a, b, n) == 0, "written again, results.json differs");
    psc_free(a);
    psc_free(b);
    psc_results_close(&again);
    remove_written();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const psc_format formats[] = {PSC_FORMAT_TEXT, PSC_FORMAT_JSON, PSC_FORMAT_HTML};
    fuzz_bytes rest = {data, size};
    psc_results *results = NULL, *copy = NULL;
    psc_error error = {0};
    fuzz_make_folder("results");
    fuzz_put("results/results.json", fuzz_part(&rest));
    fuzz_put_tensors("results/tensors.safetensors", rest);
    const psc_status status = psc_results_read_folder(&results, fuzz_path("results"), &error);
    fuzz_check(status, &error);
    fuzz_expect((status == PSC_OK) == (results != NULL), "results without success");
    if (status) return 0;
    for (int i = 0; i < 3; i++) psc_free(text_of(results, formats[i], NULL));
    fuzz_check(psc_results_copy(&copy, results, &error), &error);
    psc_results_close(&copy);
    write_again(results);
    psc_results_close(&results);
    return 0;
}
