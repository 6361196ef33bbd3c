/* An object per line is one of these; other keys are left alone, and empty lines left out:
 *
 *   {"prefix": S, "choices": [S, S, ...], "answer": I}    I counts from 0
 *   {"good": S, "bad": S}                                  choices [good, bad], answer 0
 *   {"sentence_good": S, "sentence_bad": S, "UID": ...}    the same, as BLiMP is published; one may
 *                                                          be the beginning of the other
 *   {"text": S}                                            choices [S from its last space on]
 *
 * The texts of a pair may be equal, which is a tie.
 * with "id", "group" (BLiMP: "UID") and "phenomenon" (BLiMP: "linguistics_term")
 * where they are given. */
#include "score_examples.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "input.h"
#include "report_line.h"

#define MOST_LINE ((size_t)16 << 20)
enum { MOST_FILES = 100000, MOST_NAME = 200 };

psc_status cli_example_fail(const cli_example *e, psc_error *error, const char *format, ...) {
    char prefix[800];
    va_list arguments;
    va_start(arguments, format);
    psc_status status = psc_fail_va(error, PSC_ERROR_INPUT, format, arguments);
    va_end(arguments);
    snprintf(prefix, sizeof prefix, "%.700s, line %lld", e->path, (long long)e->line);
    return psc_error_prefix(error, status, prefix);
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the examples");
}

/* --- files ----------------------------------------------------------------------------------- */

static psc_status add_path(cli_examples *to, const char *path, psc_error *error) {
    if (to->n_paths == MOST_FILES)
        return psc_fail(error, PSC_ERROR_INPUT, "more than %d files of examples", MOST_FILES);
    const size_t n = (size_t)to->n_paths;
    if ((n & (n - 1)) == 0) { /* grows by doubling */
        char **paths = realloc(to->paths, (n ? 2 * n : 1) * sizeof *paths);
        if (!paths) return no_memory(error);
        to->paths = paths;
    }
    to->paths[n] = strdup(path);
    if (!to->paths[n]) return no_memory(error);
    to->n_paths++;
    return PSC_OK;
}

static bool is_jsonl(const char *name) {
    const size_t n = strlen(name);
    return name[0] != '.' && n > 6 && strcmp(name + n - 6, ".jsonl") == 0;
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static psc_status add_folder(cli_examples *to, const char *folder, psc_error *error) {
    const int32_t first = to->n_paths;
    const struct dirent *entry;
    psc_status status = PSC_OK;
    DIR *list = opendir(folder);
    if (!list) return psc_fail(error, PSC_ERROR_IO, "cannot open %s: %s", folder, strerror(errno));
    while (!status && (entry = readdir(list))) {
        if (!is_jsonl(entry->d_name)) continue;
        const size_t room = strlen(folder) + strlen(entry->d_name) + 2;
        char *path = malloc(room);
        if (path) snprintf(path, room, "%s/%s", folder, entry->d_name);
        status = path ? add_path(to, path, error) : no_memory(error);
        free(path);
    }
    closedir(list);
    if (!status && to->n_paths == first)
        return psc_fail(
            error, PSC_ERROR_INPUT, "%s has no files whose name ends in .jsonl", folder);
    if (!status)
        qsort(to->paths + first, (size_t)(to->n_paths - first), sizeof *to->paths, by_name);
    return status;
}

psc_status cli_examples_open(
    cli_examples *out, const char *const *paths, int32_t n, psc_error *error) {
    psc_status status = PSC_OK;
    struct stat info;
    *out = (cli_examples){.limit = INT64_MAX};
    for (int32_t i = 0; i < n && !status; i++)
        if (strcmp(paths[i], "-") == 0)
            status = add_path(out, "/dev/stdin", error);
        else
            status = stat(paths[i], &info) == 0 && S_ISDIR(info.st_mode)
                         ? add_folder(out, paths[i], error)
                         : add_path(out, paths[i], error);
    return status;
}

void cli_examples_close(cli_examples *e) {
    for (int32_t i = 0; i < e->n_paths; i++) free(e->paths[i]);
    if (e->file) fclose(e->file);
    free(e->paths);
    free(e->line);
    *e = (cli_examples){0};
}

/* --- lines ----------------------------------------------------------------------------------- */

/* The next line without its end; *got is false at the end of the file. */
static psc_status read_line(size_t *n, bool *got, cli_examples *from, psc_error *error) {
    const cli_example at = {.path = from->paths[from->at], .line = ++from->number};
    int c = 0;
    *n = 0;
    while ((c = getc(from->file)) != EOF && c != '\n') {
        if (*n == MOST_LINE) return cli_example_fail(&at, error, "is longer than 16 MiB");
        if (*n + 1 >= from->room) {
            const size_t room = from->room ? 2 * from->room : 4096;
            char *line = realloc(from->line, room);
            if (!line) return no_memory(error);
            from->line = line;
            from->room = room;
        }
        from->line[(*n)++] = (char)c;
    }
    if (ferror(from->file))
        return psc_fail(error, PSC_ERROR_IO, "cannot read %s: %s", at.path, strerror(errno));
    *got = c != EOF || *n > 0;
    return PSC_OK;
}

static bool is_blank(const char *text, size_t n) {
    size_t i = 0;
    while (i < n && strchr(" \t\r\v\f", text[i]) && text[i]) i++;
    return i == n;
}

/* --- an example ------------------------------------------------------------------------------ */

static psc_status take_text(
    cli_score_text *out, const cli_example *e, const char *key, psc_error *error) {
    const json_t *text = json_object_get(e->object, key);
    if (!json_is_string(text))
        return cli_example_fail(e, error, text ? "\"%s\" is not a text" : "has no \"%s\"", key);
    *out = (cli_score_text){json_string_value(text), json_string_length(text)};
    return PSC_OK;
}

/* A name of at most 200 bytes under the first key that the object has; null without. */
static psc_status take_name(
    const char **out, const cli_example *e, const char *key, const char *other, psc_error *error) {
    const json_t *text = json_object_get(e->object, key);
    if (!text) text = json_object_get(e->object, key = other);
    *out = NULL;
    if (!text || json_is_null(text)) return PSC_OK;
    if (!json_is_string(text) || json_string_length(text) == 0 ||
        json_string_length(text) > MOST_NAME || psc_report_line_has_zero(text))
        return cli_example_fail(
            e, error, "\"%s\" is not a text of 1 to %d bytes without a 0 byte", key, MOST_NAME);
    *out = json_string_value(text);
    return PSC_OK;
}

static psc_status take_pair(cli_example *e, const char *good, const char *bad, psc_error *error) {
    psc_status status = take_text(&e->choices[0], e, good, error);
    if (!status) status = take_text(&e->choices[1], e, bad, error);
    e->n_choices = 2;
    e->pair = true;
    return status;
}

static psc_status take_choices(cli_example *e, psc_error *error) {
    const json_t *choices = json_object_get(e->object, "choices");
    const json_t *answer = json_object_get(e->object, "answer");
    const size_t n = json_array_size(choices);
    if (json_object_get(e->object, "prefix")) {
        const psc_status status = take_text(&e->prefix, e, "prefix", error);
        if (status) return status;
    }
    if (!json_is_array(choices) || n < 2 || n > CLI_SCORE_CHOICES)
        return cli_example_fail(
            e, error, "\"choices\" is not a list of 2 to %d texts", CLI_SCORE_CHOICES);
    for (size_t i = 0; i < n; i++) {
        const json_t *choice = json_array_get(choices, i);
        if (!json_is_string(choice))
            return cli_example_fail(e, error, "choice %zu is not a text", i);
        e->choices[i] = (cli_score_text){json_string_value(choice), json_string_length(choice)};
    }
    e->n_choices = (int32_t)n;
    if (!json_is_integer(answer))
        return cli_example_fail(e, error,
            answer ? "\"answer\" is not a whole number"
                   : "has no \"answer\", the number of a choice");
    if (json_integer_value(answer) < 0 || json_integer_value(answer) >= (json_int_t)n)
        return cli_example_fail(e, error, "\"answer\" is %lld, but the choices are 0 to %zu",
            (long long)json_integer_value(answer), n - 1);
    e->answer = (int32_t)json_integer_value(answer);
    return PSC_OK;
}

/* The continuation is the last word with the space before it. */
static psc_status take_last_word(cli_example *e, psc_error *error) {
    cli_score_text text = {NULL, 0};
    psc_status status = take_text(&text, e, "text", error);
    if (status) return status;
    size_t space = text.n;
    while (space > 0 && text.bytes[space - 1] != ' ') space--;
    if (space < 2 || space == text.n)
        return cli_example_fail(
            e, error, "\"text\" has no last word after a space, which would be the continuation");
    e->prefix = (cli_score_text){text.bytes, space - 1};
    e->choices[0] = (cli_score_text){text.bytes + space - 1, text.n - space + 1};
    e->n_choices = 1;
    return PSC_OK;
}

/* Keys of two kinds leave open which is meant. */
static psc_status check_kind(const cli_example *e, psc_error *error) {
    static const struct {
        const char *key;
        int kind;
    } keys[] = {{"choices", 0}, {"good", 1}, {"bad", 1}, {"sentence_good", 2}, {"sentence_bad", 2},
        {"text", 3}};
    int first = -1;
    for (int i = 0; i < (int)(sizeof keys / sizeof *keys); i++) {
        if (!json_object_get(e->object, keys[i].key)) continue;
        if (first < 0) first = i;
        if (keys[i].kind != keys[first].kind)
            return cli_example_fail(e, error,
                "has both \"%s\" and \"%s\", which are two kinds of examples; leave one out",
                keys[first].key, keys[i].key);
    }
    return PSC_OK;
}

static psc_status take_kind(cli_example *e, psc_error *error) {
    const json_t *o = e->object;
    const psc_status status = check_kind(e, error);
    if (status) return status;
    if (json_object_get(o, "choices")) return take_choices(e, error);
    if (json_object_get(o, "good") || json_object_get(o, "bad"))
        return take_pair(e, "good", "bad", error);
    e->published = json_object_get(o, "sentence_good") || json_object_get(o, "sentence_bad");
    if (e->published) return take_pair(e, "sentence_good", "sentence_bad", error);
    if (json_object_get(o, "text")) return take_last_word(e, error);
    return cli_example_fail(
        e, error, "has neither \"choices\" nor \"good\" and \"bad\" nor \"text\" (docs/score.md)");
}

static psc_status check_choices(const cli_example *e, bool allow_beginnings, psc_error *error) {
    const bool allowed = allow_beginnings || e->published;
    for (int32_t i = 0; i < e->n_choices; i++) {
        const cli_score_text *a = &e->choices[i];
        if (a->n == 0) return cli_example_fail(e, error, "choice %d is empty", (int)i);
        for (int32_t k = 0; k < e->n_choices && !allowed; k++) {
            const cli_score_text *b = &e->choices[k];
            if (i == k || a->n > b->n || memcmp(a->bytes, b->bytes, a->n) != 0) continue;
            if (a->n == b->n && e->pair) continue; /* a tie */
            if (a->n == b->n)
                return cli_example_fail(e, error,
                    "choices %d and %d are equal; change one, or pass --allow-beginnings", (int)i,
                    (int)k);
            return cli_example_fail(e, error,
                "choice %d is the beginning of choice %d, which sums favor; change one, or pass "
                "--allow-beginnings",
                (int)i, (int)k);
        }
    }
    return PSC_OK;
}

/* The program that unpacks a file of these first bytes; null for others. */
static const char *packed_by(const char *bytes, size_t n) {
    if (n >= 3 && memcmp(bytes, "\x1f\x8b\x08", 3) == 0) return "gzip";
    return n >= 4 && memcmp(bytes, "\x28\xb5\x2f\xfd", 4) == 0 ? "zstd" : NULL;
}

static psc_status take(cli_example *e, const cli_examples *from, size_t n, psc_error *error) {
    char fault[PSC_REPORT_FAULT];
    const size_t mark = from->number == 1 ? cli_input_mark(from->line, n) : 0;
    const char *by = from->number == 1 ? packed_by(from->line, n) : NULL;
    if (by)
        return cli_example_fail(e, error,
            "is %s data, which score does not unpack; run %s -dc FILE | pythiascope score -", by,
            by);
    e->object = psc_report_line(from->line + mark, n - mark, fault);
    if (!e->object) return cli_example_fail(e, error, "%s", fault);
    psc_status status = take_kind(e, error);
    if (!status) status = check_choices(e, from->allow_beginnings, error);
    if (!status) status = take_name(&e->group, e, "group", "UID", error);
    if (!status) status = take_name(&e->phenomenon, e, "phenomenon", "linguistics_term", error);
    e->id = json_object_get(e->object, "id");
    if (!status && e->id && !json_is_string(e->id) && !json_is_integer(e->id))
        status = cli_example_fail(e, error, "\"id\" is neither a text nor a whole number");
    return status;
}

psc_status cli_examples_next(cli_example *out, bool *got, cli_examples *from, psc_error *error) {
    psc_status status = PSC_OK;
    size_t n = 0;
    *got = false;
    while (!status && !*got && from->at < from->n_paths) {
        const char *path = from->paths[from->at];
        if (!from->file) status = cli_input_once(&from->file, path, path, error);
        if (status) break;
        bool line = false;
        if (from->taken < from->limit) status = read_line(&n, &line, from, error);
        if (!status && !line) {
            if (from->taken == 0)
                status = psc_fail(error, PSC_ERROR_INPUT, "%s has no examples", path);
            fclose(from->file);
            from->file = NULL;
            from->number = from->taken = 0;
            from->at++;
        } else if (!status && !is_blank(from->line, n)) {
            memset(out, 0, sizeof *out);
            out->path = path;
            out->line = from->number;
            out->bytes = n;
            status = take(out, from, n, error);
            from->taken++;
            *got = true;
        }
    }
    if (status && *got) cli_example_free(out);
    return status;
}

void cli_example_free(cli_example *e) {
    json_decref(e->object);
    e->object = NULL;
}
