/* Comments before a sentence; at its end the tree, and the copy that the treebank keeps:
 *
 *   # newdoc, # newpar, # sent_id = ..., # text = ...     others are skipped
 *   heads  one word has 0, the others lead to it: no cycle */
#include "conllu.h"

#include <stdlib.h>
#include <string.h>

/* --- comments -------------------------------------------------------------------------------- */

static const char *skip_blanks(const char *at) {
    return at + strspn(at, " \t");
}

/* Whether the comment has this key: the key, then blanks, then "=" (*value is what follows it,
 * without blanks around) or the end (*value is null). */
static bool has_key(const char **value, size_t *bytes, const char *comment, const char *key) {
    const char *at = skip_blanks(comment + 1);
    size_t n = strlen(key);
    if (strncmp(at, key, n) != 0) return false;
    at += n;
    *value = NULL;
    *bytes = 0;
    if (strcmp(key, "newdoc") == 0 || strcmp(key, "newpar") == 0)
        return !*at || strchr(" \t=", *at);
    at = skip_blanks(at);
    if (*at != '=') return false;
    *value = skip_blanks(at + 1);
    *bytes = strlen(*value);
    while (*bytes > 0 && strchr(" \t", (*value)[*bytes - 1])) (*bytes)--;
    return true;
}

static psc_status take_text(conllu_reader *r, const char *value, size_t bytes) {
    if (r->has_text)
        return conllu_fail(r, PSC_ERROR_INPUT, 0,
            "the sentence has two lines \"# text\"; a blank line ends a sentence");
    r->has_text = true;
    r->text_bytes = (uint32_t)bytes;
    return conllu_keep(&r->text, r, value, bytes);
}

psc_status conllu_take_comment(conllu_reader *r) {
    const char *value;
    size_t bytes;
    if (r->n_tokens > 0)
        return conllu_fail(r, PSC_ERROR_INPUT, 0,
            "a comment is inside a sentence; put a blank line between two sentences");
    if (has_key(&value, &bytes, r->line, "newdoc"))
        r->new_document = r->new_paragraph = true;
    else if (has_key(&value, &bytes, r->line, "newpar"))
        r->new_paragraph = true;
    else if (has_key(&value, &bytes, r->line, "text"))
        return take_text(r, value, bytes);
    else if (has_key(&value, &bytes, r->line, "sent_id"))
        return conllu_keep(&r->id, r, value, bytes);
    return PSC_OK;
}

/* --- the tree -------------------------------------------------------------------------------- */

static psc_status check_heads(const conllu_reader *r) {
    int32_t n = (int32_t)r->n_words, root = -1;
    for (int32_t i = 0; i < n; i++) {
        const conllu_word *w = &r->words[i];
        if (w->head > n)
            return conllu_fail(r, PSC_ERROR_INPUT, w->line,
                "the head %d of word %d is out of range; the sentence has %d words", (int)w->head,
                (int)i + 1, (int)n);
        if (w->head == 0 && root >= 0)
            return conllu_fail(r, PSC_ERROR_INPUT, w->line,
                "word %d is a second root (head 0) beside word %d; a tree has one", (int)i + 1,
                (int)root + 1);
        if (w->head == 0) root = i;
    }
    return PSC_OK;
}

/* From each word up to the root or a word that was seen to lead there; `mark` of a word is the
 * word from which the present way began. */
static psc_status check_cycles(const conllu_reader *r) {
    int32_t n = (int32_t)r->n_words;
    int32_t *mark = calloc((size_t)n + 1, sizeof *mark), cyclic = 0;
    if (!mark) return conllu_no_memory(r);
    for (int32_t i = 1; i <= n && !cyclic; i++) {
        int32_t at = i;
        while (at > 0 && !mark[at]) {
            mark[at] = i;
            at = r->words[at - 1].head;
        }
        if (at > 0 && mark[at] == i) cyclic = at;
    }
    free(mark);
    if (!cyclic) return PSC_OK;
    return conllu_fail(r, PSC_ERROR_INPUT, r->words[cyclic - 1].line,
        "the heads of word %d lead back to it; a tree has no cycle", (int)cyclic);
}

/* --- the copy -------------------------------------------------------------------------------- */

/* All texts of the sentence in one block. */
static psc_status copy_sentence(conllu_reader *r) {
    psc_treebank *t = r->treebank;
    if (t->n == INT32_MAX ||
        !psc_grow((void **)&t->sentences, &t->capacity, t->n + 1, sizeof *t->sentences))
        return conllu_no_memory(r);
    psc_word *words = psc_arena_alloc(&t->arena, r->n_words * sizeof *words);
    char *texts = words ? psc_arena_alloc(&t->arena, r->pool_bytes) : NULL;
    if (!texts)
        return conllu_fail(r, PSC_ERROR_MEMORY, 0,
            "the sentences take more memory than %llu bytes, or there is no more; split the file",
            (unsigned long long)PSC_TREEBANK_BYTES);
    memcpy(texts, r->pool, r->pool_bytes);
    for (size_t i = 0; i < r->n_words; i++) {
        const conllu_word *w = &r->words[i];
        words[i] = (psc_word){w->start, w->end, w->head - 1, texts + w->form, texts + w->lemma,
            texts + w->upos, texts + w->xpos, texts + w->feats, texts + w->deprel, texts + w->misc};
    }
    t->sentences[t->n++] = (psc_sentence){.id = texts + r->id,
        .text = texts + r->text,
        .bytes = r->text_bytes,
        .n = (int32_t)r->n_words,
        .words = words,
        .new_document = r->new_document,
        .new_paragraph = r->new_paragraph,
        .line = r->first_line};
    return PSC_OK;
}

psc_status conllu_end_sentence(conllu_reader *r) {
    psc_status status = PSC_OK;
    if (r->n_words == 0)
        return conllu_fail(r, PSC_ERROR_INPUT, r->first_line, "the sentence has no words");
    if (r->range_end > (int32_t)r->n_words)
        return conllu_fail(r, PSC_ERROR_INPUT, 0,
            "the sentence ends with word %d, inside the multiword token up to %d", (int)r->n_words,
            (int)r->range_end);
    status = check_heads(r);
    if (status == PSC_OK) status = check_cycles(r);
    if (status == PSC_OK) status = conllu_align(r);
    if (status == PSC_OK) status = copy_sentence(r);
    r->pool_bytes = 1; /* "" stays */
    r->n_words = r->n_tokens = 0;
    r->range_end = r->first_line = 0;
    r->id = r->text = r->text_bytes = 0;
    r->has_text = r->new_document = r->new_paragraph = false;
    return status;
}
