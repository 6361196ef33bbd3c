/* The labels that a caller gives to a run's text, before a plugin sees them: sentences ascend
 * without overlap, have the text's own bytes, words inside them, and heads that form one tree. */
#include "session.h"

#include <string.h>

/* Heads are indices and one word is the root. A way up of n steps that has not ended is a cycle. */
static bool is_tree(const psc_sentence *s) {
    int32_t roots = 0;
    for (int32_t w = 0; w < s->n; w++) {
        if (s->words[w].head < -1 || s->words[w].head >= s->n) return false;
        roots += s->words[w].head == -1;
    }
    for (int32_t w = 0; w < s->n; w++) {
        int32_t at = w, steps = 0;
        for (; at >= 0 && steps <= s->n; steps++) at = s->words[at].head;
        if (at >= 0) return false;
    }
    return roots == 1;
}

static bool has_texts(const psc_word *w) {
    return w->form && w->lemma && w->upos && w->xpos && w->feats && w->deprel && w->misc;
}

/* Why a sentence cannot be used; null when it can. */
static const char *find_fault(const psc_sentence *s, const psc_run_options *options, size_t end) {
    if (!s->id || !s->text) return "its id or text is null; use \"\" for none";
    if (s->n < 1 || !s->words) return "it has no words";
    if (s->start < end) return "it begins before the end of the sentence before it";
    if ((uint64_t)s->start + s->bytes > options->text_bytes) return "it ends after the run's text";
    if (memcmp(options->text + s->start, s->text, s->bytes) != 0)
        return "its text is not what the run's text has at its start";
    uint32_t before = 0;
    for (int32_t w = 0; w < s->n; w++) {
        const psc_word *word = &s->words[w];
        if (word->start < before || word->start >= word->end || word->end > s->bytes)
            return "a word is empty, out of order or outside its text";
        if (!has_texts(word)) return "a word's label is null; use \"\" for none";
        before = word->start;
    }
    return is_tree(s) ? NULL : "its heads are not one tree";
}

psc_status psc_run_check_sentences(const psc_run_options *options, psc_error *error) {
    size_t end = 0;
    if (options->n_sentences == 0) return PSC_OK;
    if (options->n_sentences < 0 || !options->sentences || !options->text)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%d sentences: labels need a text, a list and a number of at least 0",
            (int)options->n_sentences);
    for (int32_t i = 0; i < options->n_sentences; i++) {
        const psc_sentence *s = &options->sentences[i];
        const char *fault = find_fault(s, options, end);
        if (fault)
            return psc_fail(error, PSC_ERROR_INPUT, "sentence %d ('%.60s'): %s", (int)i,
                s->id ? s->id : "", fault);
        end = (size_t)s->start + s->bytes;
    }
    return PSC_OK;
}
