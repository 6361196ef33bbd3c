/* tokenizer.json and a text, separated; without a tokenizer.json the tiny model's. */
#include "fuzz.h"
#include "fuzz_encode.h"

static const psc_tokenizer *fixed(void) {
    static psc_tokenizer *tokenizer;
    psc_error error = {0};
    if (!tokenizer && psc_tokenizer_open_folder(&tokenizer, fuzz_model_folder(), &error))
        fuzz_expect(0, error.message);
    return tokenizer;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    psc_tokenizer *tokenizer = NULL;
    psc_error error = {0};
    const fuzz_bytes json = fuzz_part(&rest);
    if (json.size == 0) {
        fuzz_encode(fixed(), rest);
        return 0;
    }
    fuzz_check(psc_tokenizer_open(&tokenizer, fuzz_put("tokenizer.json", json), &error), &error);
    if (!tokenizer) return 0;
    (void)psc_tokenizer_bos(tokenizer);
    (void)psc_tokenizer_adds_bos(tokenizer);
    fuzz_encode(tokenizer, rest);
    psc_tokenizer_close(&tokenizer);
    return 0;
}
