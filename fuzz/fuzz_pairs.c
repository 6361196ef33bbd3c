/* A byte that chooses alignment and beginning token, then a set of pairs in JSON lines. */
#include "fuzz.h"
#include "pairs.h"

#include <stdlib.h>
#include <string.h>

static void check_tokens(const psc_token *tokens, int32_t n, int32_t d_vocab) {
    for (int32_t i = 0; i < n; i++)
        fuzz_expect(tokens[i].id >= 0 && tokens[i].id < d_vocab, "an id out of the vocabulary");
}

static void check_pair(const psc_pairs *pairs, int32_t i, const psc_model_info *info) {
    psc_pair p = PSC_PAIR_INIT;
    char name[256];
    fuzz_expect(psc_pairs_at(&p, pairs, i, NULL) == PSC_OK, "a pair is missing");
    fuzz_expect(p.n_clean >= 1 && p.n_clean <= info->n_ctx, "a prompt that is empty or too long");
    fuzz_expect(p.n_corrupt <= psc_pairs_longest(pairs), "longer than the longest");
    fuzz_expect((p.n_corrupt > 0) == (psc_pairs_have_source(pairs) != 0), "a pair unlike others");
    check_tokens(p.clean, p.n_clean, info->d_vocab);
    check_tokens(p.corrupt, p.n_corrupt, info->d_vocab);
    fuzz_expect(p.a >= 0 && p.a < info->d_vocab && p.b >= -1 && p.b < info->d_vocab && p.a != p.b,
        "a target out of the vocabulary");
    fuzz_expect(*p.id != 0 && (!p.group || *p.group != 0), "an empty name");
    int32_t before = -1;
    for (int32_t t = 0; t < p.n_clean; t++) {
        const int32_t place = psc_pairs_place(pairs, i, t);
        fuzz_expect(place >= -1 && place < psc_pairs_place_count(pairs), "a place out of range");
        if (place >= 0) psc_pairs_place_name(name, sizeof name, pairs, place);
        if (pairs->options.align != PSC_ALIGN_SPANS)
            fuzz_expect(place == before + 1 || before < 0, "places that do not ascend");
        before = place;
        if (p.n_corrupt == 0) continue;
        fuzz_expect(p.source_positions[t] >= -1 && p.source_positions[t] < p.n_corrupt,
            "aligned with no token");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    const unsigned how = fuzz_byte(&rest);
    psc_pairs_options options = PSC_PAIRS_OPTIONS_INIT;
    psc_pairs *pairs = NULL;
    psc_error error = {0};
    options.align = (int32_t)(how % 5);
    options.bos = how >= 128;
    const psc_status status = psc_pairs_read(
        &pairs, fuzz_model(), (const char *)rest.data, rest.size, "pairs.jsonl", &options, &error);
    fuzz_check(status, &error);
    fuzz_expect((status == PSC_OK) == (pairs != NULL), "a failure with a set");
    for (int32_t i = 0; pairs && i < psc_pairs_count(pairs); i++)
        check_pair(pairs, i, psc_model_get_info(fuzz_model()));
    psc_pairs_close(&pairs);
    return 0;
}
