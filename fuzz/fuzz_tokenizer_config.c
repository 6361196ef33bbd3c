/* tokenizer_config.json, special_tokens_map.json, added_tokens.json and a text, separated, beside
 * the tiny model's tokenizer.json. An empty part is a missing file. */
#include "fuzz.h"
#include "fuzz_encode.h"

#include <stdio.h>
#include <unistd.h>

static void link_tokenizer(void) {
    char from[4096];
    snprintf(from, sizeof from, "%s/tokenizer.json", fuzz_model_folder());
    fuzz_expect(symlink(from, fuzz_path("beside/tokenizer.json")) == 0, "cannot link a file");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static int made;
    fuzz_bytes rest = {data, size};
    psc_tokenizer *tokenizer = NULL;
    psc_error error = {0};
    fuzz_make_folder("beside");
    if (!made++) link_tokenizer();
    fuzz_put_if("beside/tokenizer_config.json", fuzz_part(&rest));
    fuzz_put_if("beside/special_tokens_map.json", fuzz_part(&rest));
    fuzz_put_if("beside/added_tokens.json", fuzz_part(&rest));
    fuzz_check(psc_tokenizer_open_folder(&tokenizer, fuzz_path("beside"), &error), &error);
    if (!tokenizer) return 0;
    const int32_t bos = psc_tokenizer_bos_of(tokenizer, 0);
    fuzz_expect(bos < psc_tokenizer_size(tokenizer), "a beginning token out of range");
    (void)psc_tokenizer_names_bos(tokenizer);
    fuzz_encode(tokenizer, rest);
    psc_tokenizer_close(&tokenizer);
    return 0;
}
