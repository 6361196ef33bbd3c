/* A set of pairs from JSON lines: each line is taken, aligned, and compared with the others. */
#include "pairs.h"

#include "json.h"
#include "jsonl.h"
#include "model.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LINE = 16 << 20 };

psc_status psc_pairs_fail(
    const psc_pairs *pairs, int64_t line, psc_error *error, const char *format, ...) {
    char prefix[800];
    va_list arguments;
    va_start(arguments, format);
    psc_status status = psc_fail_va(error, PSC_ERROR_INPUT, format, arguments);
    va_end(arguments);
    snprintf(prefix, sizeof prefix, "%.700s:%lld", pairs->name, (long long)line);
    return psc_error_prefix(error, status, prefix);
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the pairs");
}

/* The object of a line [n], which it may change. */
static psc_status parse(
    json_t **out, const psc_pairs *pairs, int64_t line, char *text, size_t n, psc_error *error) {
    json_error_t why;
    *out = psc_json_line(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    if (json_is_object(*out)) return PSC_OK;
    if (*out) {
        json_decref(*out);
        *out = NULL;
        return psc_pairs_fail(pairs, line, error, "is not a JSON object");
    }
    if (psc_json_no_memory(&why)) return no_memory(error);
    const char *fault = psc_json_line_fault(&why);
    return psc_pairs_fail(pairs, line, error, "%s%s",
        fault ? fault : "is not a JSON object: ", fault ? "" : why.text);
}

static psc_status add_line(
    psc_pairs *pairs, int64_t line, const char *text, size_t n, psc_error *error) {
    if (n > MOST_LINE) return psc_pairs_fail(pairs, line, error, "is longer than 16 MiB");
    if (pairs->n == PSC_MOST_PAIRS)
        return psc_pairs_fail(
            pairs, line, error, "is pair %d; the most are %d", PSC_MOST_PAIRS + 1, PSC_MOST_PAIRS);
    if ((pairs->n & (pairs->n - 1)) == 0) { /* grows by doubling */
        const size_t room = pairs->n ? 2 * (size_t)pairs->n : 1;
        psc_pair_entry *entries = realloc(pairs->entries, room * sizeof *entries);
        if (!entries) return no_memory(error);
        pairs->entries = entries;
    }
    psc_pair_entry *e = &pairs->entries[pairs->n];
    *e = (psc_pair_entry){.line = line};
    json_t *object = NULL;
    char *copy = malloc(n + 1);
    if (!copy) return no_memory(error);
    memcpy(copy, text, n);
    psc_status status = parse(&object, pairs, line, copy, n, error);
    if (!status) status = psc_pairs_take(pairs, e, object, error);
    json_decref(object);
    free(copy);
    if (!status && (e->n_corrupt > 0) != (pairs->entries[0].n_corrupt > 0))
        status = psc_pairs_fail(pairs, line, error,
            "%s a corrupt prompt, unlike the first pair; either all pairs have one or none",
            e->n_corrupt > 0 ? "has" : "lacks");
    if (!status) status = psc_pairs_align(pairs, e, error);
    if (!status) pairs->n++;
    return status;
}

static bool is_blank(const char *text, size_t n) {
    for (size_t i = 0; i < n; i++)
        if (!text[i] || !strchr(" \t\r\v\f", text[i])) return false;
    return true;
}

static psc_status read_lines(psc_pairs *pairs, const char *text, size_t bytes, psc_error *error) {
    psc_status status = PSC_OK;
    int64_t line = 0;
    const size_t mark = bytes >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    for (size_t at = mark; !status && at < bytes;) {
        const char *end = memchr(text + at, '\n', bytes - at);
        const size_t n = end ? (size_t)(end - text) - at : bytes - at;
        line++;
        if (!is_blank(text + at, n)) status = add_line(pairs, line, text + at, n, error);
        at += n + 1;
    }
    if (status || pairs->n > 0) return status;
    return psc_fail(
        error, PSC_ERROR_INPUT, "%.700s has no pairs; each line is a JSON object", pairs->name);
}

static int by_id(const void *a, const void *b) {
    const psc_pair_entry *x = *(const psc_pair_entry *const *)a;
    const psc_pair_entry *y = *(const psc_pair_entry *const *)b;
    const int order = strcmp(x->id, y->id);
    return order ? order : x->line < y->line ? -1 : 1;
}

/* Refuses the first line whose id an earlier one has. */
static psc_status check_ids(const psc_pairs *pairs, psc_error *error) {
    const psc_pair_entry **sorted = malloc((size_t)pairs->n * sizeof *sorted);
    const psc_pair_entry *twice = NULL, *before = NULL;
    if (!sorted) return no_memory(error);
    for (int32_t i = 0; i < pairs->n; i++) sorted[i] = &pairs->entries[i];
    qsort(sorted, (size_t)pairs->n, sizeof *sorted, by_id);
    for (int32_t i = 1; i < pairs->n; i++)
        if (strcmp(sorted[i]->id, sorted[i - 1]->id) == 0 &&
            (!twice || sorted[i]->line < twice->line)) {
            twice = sorted[i];
            before = sorted[i - 1];
        }
    free(sorted);
    if (!twice) return PSC_OK;
    return psc_pairs_fail(pairs, twice->line, error,
        "the id \"%.100s\" is that of line %lld already; give each pair its own", twice->id,
        (long long)before->line);
}

/* Puts the spans' names one after the other among the rows. */
static void place_spans(psc_pairs *pairs) {
    int32_t at = 0;
    for (int32_t s = 0; s < pairs->n_spans; s++) {
        pairs->spans[s].place = at;
        at += pairs->spans[s].most;
    }
}

psc_status psc_pairs_read(psc_pairs **out, const psc_model *model, const char *text, size_t bytes,
    const char *name, const psc_pairs_options *options, psc_error *error) {
    psc_pairs *pairs = calloc(1, sizeof *pairs);
    *out = NULL;
    if (!pairs) return no_memory(error);
    pairs->model = model;
    pairs->options = (psc_pairs_options)PSC_PAIRS_OPTIONS_INIT;
    if (options)
        memcpy(&pairs->options, options,
            options->struct_size < sizeof *options ? options->struct_size : sizeof *options);
    psc_status status = PSC_OK;
    const size_t length = strlen(name) + 1;
    char *copy = psc_arena_alloc(&pairs->own, length);
    if (copy) pairs->name = memcpy(copy, name, length);
    if (!copy) status = no_memory(error);
    if (!status && (pairs->options.align < 0 || pairs->options.align > PSC_ALIGN_SPANS))
        status = psc_fail(
            error, PSC_ERROR_INPUT, "the alignment %d does not exist", (int)pairs->options.align);
    if (!status) status = read_lines(pairs, text, bytes, error);
    if (!status) status = check_ids(pairs, error);
    if (status)
        psc_pairs_close(&pairs);
    else
        place_spans(pairs);
    *out = pairs;
    return status;
}

void psc_pairs_close(psc_pairs **pairs) {
    if (!pairs || !*pairs) return;
    psc_arena_clear(&(*pairs)->own);
    free((*pairs)->entries);
    free((*pairs)->spans);
    free((*pairs)->groups);
    free(*pairs);
    *pairs = NULL;
}

int32_t psc_pairs_count(const psc_pairs *pairs) {
    return pairs->n;
}

int32_t psc_pairs_longest(const psc_pairs *pairs) {
    return pairs->longest;
}

int32_t psc_pairs_have_source(const psc_pairs *pairs) {
    return pairs->entries[0].n_corrupt > 0;
}

psc_status psc_pairs_at(psc_pair *out, const psc_pairs *pairs, int32_t i, psc_error *error) {
    if (i < 0 || i >= pairs->n)
        return psc_fail(error, PSC_ERROR_INPUT, "pair %d does not exist; the set has %d", (int)i,
            (int)pairs->n);
    const psc_pair_entry *e = &pairs->entries[i];
    const psc_pair all = {.struct_size = out->struct_size,
        .n_clean = e->n_clean,
        .n_corrupt = e->n_corrupt,
        .clean = e->clean,
        .corrupt = e->n_corrupt > 0 ? e->corrupt : NULL,
        .source_positions = e->source,
        .a = e->a,
        .b = e->b,
        .id = e->id,
        .group = e->group < 0 ? NULL : pairs->groups[e->group].text,
        .line = e->line};
    memcpy(out, &all, out->struct_size < sizeof all ? out->struct_size : sizeof all);
    return PSC_OK;
}
