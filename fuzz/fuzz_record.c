/* A remembered hash: a .source file of the cache. "@" stands for the record's right text. */
#include "fuzz.h"
#include "model_weights.h"
#include "weights_cache.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void open_record(psc_checkpoint **checkpoint, psc_record *record) {
    const char *folder = fuzz_model_folder();
    psc_config config;
    psc_error error = {0};
    if (psc_config_read(&config, folder, &error) ||
        psc_checkpoint_open(checkpoint, folder, &config, &error) ||
        psc_record_open(record, folder, *checkpoint, &error))
        fuzz_expect(0, error.message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static psc_checkpoint *checkpoint;
    static psc_record record;
    psc_error error = {0};
    psc_cache_entry *entries = NULL;
    psc_cache_place place;
    char name[128], model[64], hex[33] = "";
    int32_t count = 0;
    int failed;
    size_t n = 0;
    fuzz_make_folder("records");
    if (!checkpoint) open_record(&checkpoint, &record);
    char *text = fuzz_replace(&n, (fuzz_bytes){data, size}, "@", record.text);
    snprintf(name, sizeof name, "records/%s", record.name);
    fuzz_put(name, (fuzz_bytes){(uint8_t *)text, n});
    fuzz_check(psc_cache_place_open(&place, NULL, fuzz_path("records"), false, &error), &error);
    if (psc_record_recall(hex, &record, &place))
        fuzz_expect(strspn(hex, "0123456789abcdef") == 32, "a hash that is none");
    if (psc_record_read(model, sizeof model, hex, &failed, &place, record.name))
        fuzz_expect(strlen(model) < sizeof model, "a folder that is too long");
    fuzz_check(psc_cache_list(&entries, &count, fuzz_path("records"), &error), &error);
    psc_cache_place_close(&place);
    psc_free(entries);
    free(text);
    return 0;
}
