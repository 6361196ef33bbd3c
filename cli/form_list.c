/* lines -> records (form, group, tag, frequency) -> one entry per form -> labelled sequences. */
#include "form_list.h"

#include "input.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 4096, MOST_RECORDS = 1 << 21 };

typedef struct record {
    char *form, *group, *tag; /* one allocation, which form points to */
    double frequency;
    long long line; /* of the file that is read; of a treebank 0 */
    long long order;
} record;

typedef struct record_list {
    record *at;
    size_t n, capacity;
    const char *path;
} record_list;

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the list of forms");
}

static psc_status add(record_list *list, const char *form, const char *group, const char *tag,
    double frequency, long long line, psc_error *error) {
    if (list->n == MOST_RECORDS)
        return psc_fail(error, PSC_ERROR_INPUT, "%s: more than %d forms; shorten the list",
            list->path, (int)MOST_RECORDS);
    if (list->n == list->capacity) {
        const size_t capacity = list->capacity ? 2 * list->capacity : 1024;
        record *bigger = realloc(list->at, capacity * sizeof *bigger);
        if (!bigger) return no_memory(error);
        list->at = bigger;
        list->capacity = capacity;
    }
    const size_t a = strlen(form) + 1, b = strlen(group) + 1, c = strlen(tag) + 1;
    char *text = malloc(a + b + c);
    if (!text) return no_memory(error);
    memcpy(text, form, a);
    memcpy(text + a, group, b);
    memcpy(text + a + b, tag, c);
    list->at[list->n] = (record){text, text + a, text + a + b, frequency, line, (long long)list->n};
    list->n++;
    return PSC_OK;
}

/* --- a file of lines -------------------------------------------------------------------------- */

/* Cuts a line at its tabs; returns the number of fields, 5 for more than four. */
static int cut(char *line, char *fields[5]) {
    int n = 0;
    for (char *at = line; at && n < 5; n++) {
        fields[n] = at;
        at = strchr(at, '\t');
        if (at) *at++ = 0;
    }
    return n;
}

static psc_status read_line(
    record_list *list, const psc_model *model, char *line, long long number, psc_error *error) {
    char *fields[5], *end = NULL;
    double frequency = 1.0;
    psc_token *tokens = NULL;
    int32_t n_tokens = 0;
    psc_status status =
        psc_model_encode_first(&tokens, &n_tokens, model, line, strlen(line), false, 1, error);
    if (status == PSC_ERROR_MEMORY) return status;
    if (status)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s:%lld: the line is not UTF-8", list->path, number);
    psc_free(tokens);
    const int n = cut(line, fields);
    if (n < 3 || n > 4)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s:%lld: %d columns; a line has form, group, tag and perhaps a frequency, with tabs "
            "between them",
            list->path, number, n);
    for (int i = 0; i < n; i++)
        if (!*fields[i])
            return psc_fail(
                error, PSC_ERROR_INPUT, "%s:%lld: column %d is empty", list->path, number, i + 1);
    if (n == 4) frequency = strtod(fields[3], &end);
    if (n == 4 && (*end || !(frequency > 0.0) || frequency > 1e15))
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s:%lld: the frequency '%.40s' is not a number above 0 and up to 1e15", list->path,
            number, fields[3]);
    return add(list, fields[0], fields[1], fields[2], frequency, number, error);
}

static psc_status read_lines(
    record_list *list, const psc_model *model, FILE *file, psc_error *error) {
    char line[LINE + 2];
    psc_status status = PSC_OK;
    for (long long number = 1; !status; number++) {
        size_t n = 0;
        int c;
        while ((c = getc(file)) != EOF && c != '\n' && c != 0 && n <= LINE) line[n++] = (char)c;
        if (c == EOF && n == 0) break;
        if (c == 0 || n > LINE)
            return psc_fail(error, PSC_ERROR_INPUT, "%s:%lld: the line %s", list->path, number,
                c == 0 ? "has a 0 byte" : "is longer than 4096 bytes");
        if (n > 0 && line[n - 1] == '\r') n--;
        line[n] = 0;
        if (n > 0 && line[0] != '#') status = read_line(list, model, line, number, error);
    }
    if (!status && ferror(file))
        return psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", list->path, strerror(errno));
    return status;
}

/* --- CoNLL-U files ---------------------------------------------------------------------------- */

static bool is_ascii_word(const char *text, size_t least) {
    size_t n = 0;
    for (; text[n]; n++)
        if (!((text[n] >= 'a' && text[n] <= 'z') || (text[n] >= 'A' && text[n] <= 'Z')))
            return false;
    return n >= least;
}

/* The text in lower case, followed by `more`. */
static bool lower(char *out, size_t size, const char *text, const char *more) {
    const int n = snprintf(out, size, "%s%s", text, more);
    if (n < 0 || (size_t)n >= size) return false;
    for (size_t i = 0; text[i]; i++) out[i] = (char)tolower((unsigned char)out[i]);
    return true;
}

static psc_status take_words(record_list *list, const psc_sentence *sentence, psc_error *error) {
    psc_status status = PSC_OK;
    for (int32_t i = 0; !status && i < sentence->n; i++) {
        const psc_word *w = &sentence->words[i];
        char form[256], group[300], upos[16];
        if (strcmp(w->upos, "NOUN") != 0 && strcmp(w->upos, "VERB") != 0 &&
            strcmp(w->upos, "ADJ") != 0)
            continue;
        snprintf(upos, sizeof upos, " %s", w->upos);
        if (!is_ascii_word(w->form, 3) || !is_ascii_word(w->lemma, 1) ||
            !lower(form, sizeof form, w->form, "") || !lower(group, sizeof group, w->lemma, upos))
            continue;
        const char *tag = *w->xpos ? w->xpos : *w->feats ? w->feats : w->upos;
        status = add(list, form, group, tag, 1.0, 0, error);
    }
    return status;
}

/* --- one entry per form ----------------------------------------------------------------------- */

static int compare_records(const void *a, const void *b) {
    const record *x = a, *y = b;
    int order = strcmp(x->form, y->form);
    if (!order) order = strcmp(x->group, y->group);
    if (!order) order = strcmp(x->tag, y->tag);
    return order ? order : (x->order > y->order) - (x->order < y->order);
}

static int compare_order(const void *a, const void *b) {
    const record *x = a, *y = b;
    return (x->order > y->order) - (x->order < y->order);
}

/* One analysis of a form: records from..to-1 have its group and tag. */
typedef struct analysis {
    size_t to;
    double frequency;
    long long order; /* the least */
} analysis;

static analysis take_analysis(const record_list *list, size_t from) {
    const record *first = &list->at[from];
    analysis a = {from, 0.0, first->order};
    for (; a.to < list->n; a.to++) {
        const record *r = &list->at[a.to];
        if (strcmp(r->form, first->form) != 0 || strcmp(r->group, first->group) != 0 ||
            strcmp(r->tag, first->tag) != 0)
            break;
        a.frequency += r->frequency;
        if (r->order < a.order) a.order = r->order;
    }
    return a;
}

/* Merges the records from i on that have one form; moves the one that is kept to *out, and frees
 * the texts of the others. Returns the end of the form. */
static size_t merge_form(record_list *list, size_t i, record *out) {
    double most = -1.0, total = 0.0;
    size_t best = i, end = i;
    long long order = list->at[i].order;
    while (end < list->n && strcmp(list->at[end].form, list->at[i].form) == 0) {
        const analysis a = take_analysis(list, end);
        if (a.frequency > most) {
            most = a.frequency;
            best = end;
        }
        if (a.order < order) order = a.order;
        total += a.frequency;
        end = a.to;
    }
    const record kept = list->at[best];
    for (size_t k = i; k < end; k++)
        if (k != best) free(list->at[k].form);
    *out = kept;
    out->frequency = total;
    out->order = order;
    return end;
}

/* Leaves each form once, with its most frequent group and tag and the sum of its frequencies, in
 * the order of first occurrences. */
static void merge(record_list *list) {
    size_t kept = 0;
    if (list->n == 0) return;
    qsort(list->at, list->n, sizeof *list->at, compare_records);
    for (size_t i = 0; i < list->n;) {
        record one;
        i = merge_form(list, i, &one);
        list->at[kept++] = one;
    }
    list->n = kept;
    qsort(list->at, kept, sizeof *list->at, compare_order);
}

/* --- labels and tokens ------------------------------------------------------------------------ */

static char *put(char **at, const char *prefix, const char *text) {
    char *begin = *at;
    *at += sprintf(begin, "%s%s", prefix, text) + 1;
    return begin;
}

static void label(cli_form_list *out, size_t i, const record *r, char **at) {
    char misc[48];
    snprintf(misc, sizeof misc, "%.17g", r->frequency);
    char *text = put(at, " ", r->form);
    const uint32_t bytes = (uint32_t)strlen(text);
    out->words[i] = (psc_word){.start = 1,
        .end = bytes,
        .head = -1,
        .form = text + 1,
        .lemma = put(at, "", r->group),
        .upos = put(at, "", r->tag),
        .xpos = "",
        .feats = "",
        .deprel = "",
        .misc = put(at, "Freq=", misc)};
    out->sentences[i] = (psc_sentence){.id = "",
        .text = text,
        .bytes = bytes,
        .n = 1,
        .words = &out->words[i],
        .line = (int32_t)r->line};
}

static psc_status encode(cli_form_list *out, const psc_model *model, const record_list *list,
    size_t i, psc_error *error) {
    cli_sequence *sequence = &out->all.sequences[i];
    const psc_sentence *s = &out->sentences[i];
    const int32_t n_ctx = psc_model_get_info(model)->n_ctx;
    *sequence = (cli_sequence){.first = (int32_t)i, .n_sentences = 1, .bytes = s->bytes};
    out->all.n = (int32_t)i + 1;
    psc_status status = psc_model_encode_first(
        &sequence->tokens, &sequence->n, model, s->text, s->bytes, true, n_ctx, error);
    if (status) return status;
    if (sequence->n > n_ctx)
        return psc_fail(error, PSC_ERROR_INPUT,
            "%s:%d: the form has at least %d tokens with <|endoftext|>, more than the model's context of %d",
            list->path, (int)s->line, (int)sequence->n, (int)n_ctx);
    if (sequence->n > out->all.longest) out->all.longest = sequence->n;
    out->all.n_rows += sequence->n;
    return PSC_OK;
}

static psc_status build(
    cli_form_list *out, const psc_model *model, record_list *list, psc_error *error) {
    size_t bytes = 1;
    merge(list);
    if (list->n == 0) return psc_fail(error, PSC_ERROR_INPUT, "%s has no word forms", list->path);
    for (size_t i = 0; i < list->n; i++)
        bytes +=
            strlen(list->at[i].form) + strlen(list->at[i].group) + strlen(list->at[i].tag) + 64;
    out->texts = malloc(bytes);
    out->sentences = calloc(list->n, sizeof *out->sentences);
    out->words = calloc(list->n, sizeof *out->words);
    out->all.sequences = calloc(list->n, sizeof *out->all.sequences);
    if (!out->texts || !out->sentences || !out->words || !out->all.sequences)
        return no_memory(error);
    char *at = out->texts;
    for (size_t i = 0; i < list->n; i++) label(out, i, &list->at[i], &at);
    out->all.sentences = out->sentences;
    out->all.n_sentences = (int32_t)list->n;
    psc_status status = PSC_OK;
    for (size_t i = 0; !status && i < list->n; i++) status = encode(out, model, list, i, error);
    return status;
}

static void free_records(record_list *list) {
    for (size_t i = 0; i < list->n; i++) free(list->at[i].form);
    free(list->at);
}

static psc_status check_tokenizer(const psc_model *model, psc_error *error) {
    if (psc_model_has_tokenizer(model)) return PSC_OK;
    return psc_fail(
        error, PSC_ERROR_INPUT, "%s; forms need a tokenizer", psc_model_tokenizer_reason(model));
}

psc_status cli_form_list_read(
    cli_form_list *out, const psc_model *model, const char *path, psc_error *error) {
    record_list list = {.path = path};
    *out = (cli_form_list){0};
    psc_status status = check_tokenizer(model, error);
    FILE *file = NULL;
    if (!status) status = cli_input_open(&file, path, error);
    if (!status) status = read_lines(&list, model, file, error);
    if (file) fclose(file);
    if (!status) status = build(out, model, &list, error);
    free_records(&list);
    return status;
}

psc_status cli_form_list_collect(cli_form_list *out, const psc_model *model,
    const char *const *paths, int n_paths, psc_error *error) {
    record_list list = {0};
    *out = (cli_form_list){0};
    psc_status status = check_tokenizer(model, error);
    for (int i = 0; !status && i < n_paths; i++) {
        psc_treebank *treebank = NULL;
        int32_t n = 0;
        list.path = paths[i];
        status = psc_treebank_open(&treebank, paths[i], error);
        const psc_sentence *s = status ? NULL : psc_treebank_sentences(treebank, &n);
        for (int32_t k = 0; !status && k < n; k++) status = take_words(&list, &s[k], error);
        psc_treebank_close(&treebank);
    }
    if (!status) status = build(out, model, &list, error);
    free_records(&list);
    return status;
}

void cli_form_list_free(cli_form_list *list) {
    cli_sentences_free(&list->all);
    free(list->texts);
    free(list->sentences);
    free(list->words);
    *list = (cli_form_list){0};
}
