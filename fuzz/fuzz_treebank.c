/* A CoNLL-U file. */
#include "fuzz.h"

#include <string.h>

static void check_sentence(const psc_sentence *s) {
    int32_t roots = 0;
    fuzz_expect(s->n >= 1 && s->n <= PSC_TREEBANK_WORDS, "a sentence without words");
    fuzz_expect(strlen(s->text) == s->bytes, "a text of another length");
    (void)strlen(s->id);
    for (int32_t i = 0; i < s->n; i++) {
        const psc_word *w = &s->words[i];
        const char *const texts[] = {
            w->form, w->lemma, w->upos, w->xpos, w->feats, w->deprel, w->misc};
        for (size_t j = 0; j < sizeof texts / sizeof texts[0]; j++) (void)strlen(texts[j]);
        fuzz_expect(w->start <= w->end && w->end <= s->bytes, "a word outside the text");
        fuzz_expect(w->head >= -1 && w->head < s->n && w->head != i, "a head out of range");
        roots += w->head == -1;
        int32_t up = i, steps = 0;
        while (up >= 0 && steps++ <= s->n) up = s->words[up].head;
        fuzz_expect(up == -1, "a cycle");
    }
    fuzz_expect(roots == 1, "not one root");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    psc_treebank *treebank = NULL;
    psc_error error = {0};
    int32_t n = 0;
    const char *path = fuzz_put("bank.conllu", (fuzz_bytes){data, size});
    const psc_status status = psc_treebank_open(&treebank, path, &error);
    fuzz_check(status, &error);
    if (status) return 0;
    const psc_sentence *sentences = psc_treebank_sentences(treebank, &n);
    fuzz_expect(n >= 1, "a treebank without sentences");
    for (int32_t i = 0; i < n; i++) check_sentence(&sentences[i]);
    psc_treebank_close(&treebank);
    return 0;
}
