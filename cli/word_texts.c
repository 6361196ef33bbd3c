/* text -> words -> tokens. Alone, a sentence's text is its forms without spaces, and each form is
 * tokenized by itself: no token can tell where a word begins by a space. */
#include "word_texts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the words");
}

/* --- a plain text ----------------------------------------------------------------------------- */

static int class_of(unsigned char c) {
    if (c >= 0x80 || isalpha(c)) return 1;
    return isdigit(c) ? 2 : isspace(c) ? 0 : 3;
}

/* The next word from *at on; false after the last. */
static bool next_word(const char *text, size_t bytes, size_t *at, size_t *begin) {
    while (*at < bytes && class_of((unsigned char)text[*at]) == 0) ++*at;
    if (*at == bytes) return false;
    *begin = *at;
    const int class = class_of((unsigned char)text[*at]);
    while (*at < bytes && class_of((unsigned char)text[*at]) == class) ++*at;
    return true;
}

psc_status cli_word_text_make(
    cli_word_text *out, const char *text, size_t bytes, psc_error *error) {
    size_t n = 0, at = 0, begin = 0;
    *out = (cli_word_text){0};
    while (next_word(text, bytes, &at, &begin)) n++;
    out->text = malloc(bytes + 1);
    out->forms = malloc(bytes + n + 1);
    out->words = calloc(n + 1, sizeof *out->words);
    if (!out->text || !out->forms || !out->words) {
        cli_word_text_free(out);
        return no_memory(error);
    }
    memcpy(out->text, text, bytes);
    out->text[bytes] = 0;
    char *form = out->forms;
    at = n = 0;
    while (next_word(text, bytes, &at, &begin)) {
        memcpy(form, text + begin, at - begin);
        form[at - begin] = 0;
        out->words[n] = (psc_word){.start = (uint32_t)begin,
            .end = (uint32_t)at,
            .head = n == 0 ? -1 : 0,
            .form = form,
            .lemma = "",
            .upos = "",
            .xpos = "",
            .feats = "",
            .deprel = "",
            .misc = ""};
        form += at - begin + 1;
        n++;
    }
    out->sentence = (psc_sentence){.id = "",
        .text = out->text,
        .bytes = (uint32_t)bytes,
        .n = (int32_t)n,
        .words = out->words};
    return PSC_OK;
}

void cli_word_text_free(cli_word_text *text) {
    free(text->text);
    free(text->forms);
    free(text->words);
    *text = (cli_word_text){0};
}

/* --- words alone ------------------------------------------------------------------------------ */

/* Room for one more sequence's tokens. */
typedef struct token_list {
    psc_token *at;
    int32_t n, capacity;
} token_list;

static bool append(token_list *list, const psc_token *tokens, int32_t n, uint32_t start) {
    if (n > list->capacity - list->n) {
        const int32_t capacity = 2 * (list->n + n) + 64;
        psc_token *bigger = realloc(list->at, (size_t)capacity * sizeof *bigger);
        if (!bigger) return false;
        list->at = bigger;
        list->capacity = capacity;
    }
    for (int32_t i = 0; i < n; i++)
        list->at[list->n++] =
            (psc_token){tokens[i].id, tokens[i].start + start, tokens[i].end + start};
    return true;
}

/* Whether word w of s is of letters only and shares no token; its first token is at *t or later. */
static bool is_chosen(const token_list *tokens, const psc_sentence *s, int32_t w, int32_t *t) {
    const psc_word *word = &s->words[w];
    while (*t < tokens->n && tokens->at[*t].end <= word->start) ++*t;
    if (*t == tokens->n || tokens->at[*t].start >= word->end) return false;
    int32_t last = *t;
    while (last + 1 < tokens->n && tokens->at[last + 1].start < word->end) last++;
    if (w > 0 && word[-1].end > tokens->at[*t].start) return false;
    if (w + 1 < s->n && word[1].start < tokens->at[last].end) return false;
    for (const char *c = word->form; *c; c++)
        if (class_of((unsigned char)*c) != 1) return false;
    return strcmp(word->upos, "PUNCT") != 0;
}

/* The text of s without spaces, in block->sentences[i]. With the tokens of s, of chosen words. */
static bool join_words(
    cli_word_block *block, int32_t i, const psc_sentence *s, const token_list *tokens) {
    size_t bytes = 1;
    for (int32_t w = 0; w < s->n; w++) bytes += strlen(s->words[w].form);
    char *text = block->texts[i] = malloc(bytes);
    psc_word *words = block->words[i] = calloc((size_t)s->n, sizeof *words);
    if (!text || !words) return false;
    uint32_t at = 0;
    int32_t kept = 0, t = 1; /* 0 is <|endoftext|> */
    for (int32_t w = 0; w < s->n; w++) {
        if (tokens && !is_chosen(tokens, s, w, &t)) continue;
        const size_t n = strlen(s->words[w].form);
        psc_word *word = &words[kept++];
        memcpy(text + at, s->words[w].form, n);
        *word = s->words[w];
        word->start = at;
        word->end = at += (uint32_t)n;
        if (tokens) word->head = kept == 1 ? -1 : 0; /* its head may be left out */
    }
    text[at] = 0;
    block->sentences[i] = *s;
    block->sentences[i].n = kept;
    block->sentences[i].text = text;
    block->sentences[i].bytes = at;
    block->sentences[i].words = words;
    return true;
}

static psc_status encode_alone(
    token_list *out, const psc_model *model, const psc_sentence *s, psc_error *error) {
    psc_token *tokens = NULL;
    int32_t n = 0;
    psc_status status = psc_model_encode(&tokens, &n, model, "", 0, true, error); /* BOS */
    if (!status && !append(out, tokens, n, 0)) status = no_memory(error);
    psc_free(tokens);
    for (int32_t w = 0; !status && w < s->n; w++) {
        const psc_word *word = &s->words[w];
        tokens = NULL;
        status = psc_model_encode(&tokens, &n, model, word->form, strlen(word->form), false, error);
        if (!status && !append(out, tokens, n, word->start)) status = no_memory(error);
        psc_free(tokens);
    }
    return status;
}

/* --- blocks ----------------------------------------------------------------------------------- */

static bool make_room(cli_word_block *out, int32_t n, bool alone) {
    const size_t room = (size_t)n + 1;
    out->all.sequences = calloc(room, sizeof *out->all.sequences);
    if (!alone) return out->all.sequences != NULL;
    out->n_sentences = n;
    out->sentences = calloc(room, sizeof *out->sentences);
    out->words = calloc(room, sizeof *out->words);
    out->texts = calloc(room, sizeof *out->texts);
    return out->all.sequences && out->sentences && out->words && out->texts;
}

/* The units that are not punctuation only. A unit is a word, or the words that share a token. */
static int32_t count_units(const token_list *tokens, const psc_sentence *s) {
    int32_t n = 0, t = 1, last = 0; /* last: of the unit's tokens; 0 is <|endoftext|> */
    bool content = false;
    for (int32_t w = 0; w < s->n; w++) {
        const psc_word *word = &s->words[w];
        while (t < tokens->n && tokens->at[t].end <= word->start) t++;
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): t < n
        if (t == tokens->n || tokens->at[t].start >= word->end) continue;
        if (t > last) { /* a new unit */
            n += content;
            content = false;
        }
        content |= strcmp(word->upos, "PUNCT") != 0;
        int32_t end = t;
        while (end + 1 < tokens->n && tokens->at[end + 1].start < word->end) end++;
        if (end > last) last = end;
    }
    return n + content;
}

/* The tokens of sentence i, and its content units: with letters those of its text, also alone. */
static psc_status encode(cli_word_block *out, token_list *tokens, int32_t *units,
    const psc_model *model, int32_t i, const psc_sentence *s, const cli_word_options *options,
    psc_error *error) {
    psc_token *encoded = NULL;
    int32_t n = 0;
    const bool as_is = !options->alone || options->letters;
    psc_status status =
        as_is ? psc_model_encode(&encoded, &n, model, s->text, s->bytes, true, error) : PSC_OK;
    if (!status && as_is && !append(tokens, encoded, n, 0)) status = no_memory(error);
    psc_free(encoded);
    if (!status && as_is) *units = count_units(tokens, s);
    if (status || !options->alone) return status;
    if (!join_words(out, i, s, as_is ? tokens : NULL)) return no_memory(error);
    tokens->n = 0;
    status = encode_alone(tokens, model, &out->sentences[i], error);
    if (!status && !as_is) *units = count_units(tokens, &out->sentences[i]);
    return status;
}

/* Keeps a copy of the tokens as a sequence if its rows and units are in range. */
static psc_status keep(cli_word_block *out, const token_list *tokens, int32_t units, int32_t i,
    const psc_sentence *s, const cli_word_options *options, psc_error *error) {
    const int32_t n = options->cut && tokens->n > options->most ? options->most : tokens->n;
    if (!tokens->at || n < 1 || n < options->least || n > options->most ||
        units < options->units[0] || units > options->units[1]) {
        out->all.n_skipped++;
        return PSC_OK;
    }
    out->n_cut += n < tokens->n;
    psc_token *copy = malloc((size_t)n * sizeof *copy);
    if (!copy) return no_memory(error);
    memcpy(copy, tokens->at, (size_t)n * sizeof *copy);
    out->all.sequences[out->all.n++] =
        (cli_sequence){.tokens = copy, .n = n, .first = i, .n_sentences = 1, .bytes = s->bytes};
    if (n > out->all.longest) out->all.longest = n;
    out->all.n_rows += n;
    return PSC_OK;
}

psc_status cli_word_block_make(cli_word_block *out, const psc_model *model,
    const psc_sentence *sentences, int32_t n, const cli_word_options *options, psc_error *error) {
    token_list tokens = {0};
    *out = (cli_word_block){0};
    psc_status status = make_room(out, n, options->alone) ? PSC_OK : no_memory(error);
    if (!status && !psc_model_has_tokenizer(model))
        status = psc_fail(error, PSC_ERROR_INPUT, "%s; words need a tokenizer",
            psc_model_tokenizer_reason(model));
    for (int32_t i = 0; !status && i < n && out->all.n < options->limit; i++) {
        if (sentences[i].n == 0) continue;
        int32_t units = 0;
        tokens.n = 0;
        status = encode(out, &tokens, &units, model, i, &sentences[i], options, error);
        const psc_sentence *s = options->alone ? &out->sentences[i] : &sentences[i];
        if (s->n == 0) continue;
        if (!status) status = keep(out, &tokens, units, i, s, options, error);
    }
    free(tokens.at);
    out->all.sentences = options->alone ? out->sentences : sentences;
    return status;
}

void cli_word_block_free(cli_word_block *block) {
    cli_sentences_free(&block->all);
    for (int32_t i = 0; i < block->n_sentences; i++) {
        if (block->words) free(block->words[i]);
        if (block->texts) free(block->texts[i]);
    }
    free(block->sentences);
    free(block->words);
    free(block->texts);
    *block = (cli_word_block){0};
}
