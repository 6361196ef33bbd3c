/* The list of prompts, and the command line of each alone: what is computed for a prompt of many is
 * what is computed for it alone.
 *
 *   a file whose first line begins with {    a JSON object per line; other keys are ignored
 *   any other file                           a text per line
 *
 * Empty lines are left out. */
#include "prompts.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "input.h"
#include "progress.h"
#include "report_line.h"

enum { MOST_PROMPTS = 100000, MOST_TARGETS = 64, TARGETS_PER_SESSION = 1000 };

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the prompts");
}

static int count_given(const cli_arguments *arguments, const char *name) {
    int n = 0, cursor = 0;
    while (cli_next(arguments, name, &cursor)) n++;
    return n;
}

int cli_prompts_check(const cli_arguments *arguments) {
    const int n = cli_has(arguments, "text") + cli_has(arguments, "file") +
                  cli_has(arguments, "tokens") + cli_has(arguments, "prompts");
    if (n == 1) return CLI_OK;
    return cli_usage(arguments->verb,
        n == 0 ? "no prompt; pass --text S, --file F, --tokens 1,2,3 or --prompts FILE"
               : "--text, --file, --tokens and --prompts are mutually exclusive");
}

/* --- one prompt ------------------------------------------------------------------------------ */

static void free_text(cli_text *text) {
    for (int32_t i = 0; i < text->n_targets; i++) free(text->targets[i]);
    free(text->targets);
    free(text->label);
    free(text->text);
}

/* Adds a prompt; the next call may move the list. Null after setting the error. */
static cli_text *add(cli_prompts *prompts, const char *text, size_t bytes, psc_error *error) {
    if (prompts->n == MOST_PROMPTS) {
        psc_fail(error, PSC_ERROR_INPUT, "%s has more than %d prompts; split the file",
            prompts->path, MOST_PROMPTS);
        return NULL;
    }
    if ((prompts->n & (prompts->n - 1)) == 0) { /* grows by doubling */
        const size_t room = prompts->n ? 2 * (size_t)prompts->n : 1;
        cli_text *more = realloc(prompts->list, room * sizeof *more);
        if (more) prompts->list = more;
        if (!more) no_memory(error);
        if (!more) return NULL;
    }
    cli_text *one = &prompts->list[prompts->n];
    *one = (cli_text){.text = malloc(bytes + 1)};
    if (!one->text) {
        no_memory(error);
        return NULL;
    }
    memcpy(one->text, text, bytes);
    one->text[bytes] = 0;
    prompts->n++;
    return one;
}

static psc_status add_target(cli_text *to, const char *target, psc_error *error) {
    char **more = realloc(to->targets, ((size_t)to->n_targets + 1) * sizeof *more);
    char *copy = strdup(target);
    if (more) to->targets = more;
    if (!more || !copy) {
        free(copy);
        return no_memory(error);
    }
    to->targets[to->n_targets++] = copy;
    return PSC_OK;
}

/* --- a line ---------------------------------------------------------------------------------- */

typedef struct line {
    const char *path;
    char *text;
    size_t bytes;
    int32_t number;
} line;

static psc_status bad(const line *at, const char *what, psc_error *error) {
    return psc_fail(error, PSC_ERROR_INPUT, "%s, line %d: %s", at->path, (int)at->number, what);
}

/* "target": a text, or a list of texts. */
static psc_status take_targets(
    cli_text *to, const json_t *target, const line *at, psc_error *error) {
    psc_status status = PSC_OK;
    const size_t n = json_is_array(target) ? json_array_size(target) : target ? 1 : 0;
    if (n > MOST_TARGETS) return bad(at, "\"target\" has more than 64 entries", error);
    for (size_t i = 0; status == PSC_OK && i < n; i++) {
        const json_t *one = json_is_array(target) ? json_array_get(target, i) : target;
        if (!json_is_string(one))
            status = bad(at, "\"target\" is neither a text nor a list of texts", error);
        else if (psc_report_line_has_zero(one))
            status = bad(at, "\"target\" has a 0 byte", error);
        else
            status = add_target(to, json_string_value(one), error);
    }
    return status;
}

/* "label": a text, or a whole number or a boolean as JSON writes it. */
static psc_status take_label(cli_text *to, const json_t *label, const line *at, psc_error *error) {
    char number[32];
    snprintf(number, sizeof number, "%lld", (long long)json_integer_value(label));
    if (json_is_string(label) && !psc_report_line_has_zero(label))
        to->label = strdup(json_string_value(label));
    else if (json_is_integer(label) || json_is_boolean(label))
        to->label = strdup(json_is_integer(label) ? number
                           : json_is_true(label)  ? "true"
                                                  : "false");
    else if (!label)
        return bad(at, "has no \"label\"", error);
    else
        return bad(at, "\"label\" is neither a text, a whole number nor a boolean", error);
    return to->label ? PSC_OK : no_memory(error);
}

static psc_status take_object(cli_prompts *prompts, const line *at, psc_error *error) {
    char fault[PSC_REPORT_FAULT];
    json_t *object = psc_report_line(at->text, at->bytes, fault);
    const json_t *text = json_object_get(object, "text");
    psc_status status = PSC_OK;
    if (!object) {
        status = bad(at, fault, error);
    } else if (!json_is_string(text)) {
        status = bad(at, text ? "\"text\" is not a text" : "has no \"text\"", error);
    } else if (psc_report_line_has_zero(text)) {
        status = bad(at, "\"text\" has a 0 byte", error);
    } else {
        cli_text *to = add(prompts, json_string_value(text), json_string_length(text), error);
        if (to) to->line = at->number;
        status =
            to ? take_targets(to, json_object_get(object, "target"), at, error) : error->status;
        if (!status && prompts->labelled)
            status = take_label(to, json_object_get(object, "label"), at, error);
    }
    json_decref(object);
    return status;
}

static psc_status take_line(cli_prompts *prompts, const line *at, psc_error *error) {
    if (memchr(at->text, 0, at->bytes)) return bad(at, "has a 0 byte", error);
    cli_text *to = add(prompts, at->text, at->bytes, error);
    if (to) to->line = at->number;
    return to ? PSC_OK : error->status;
}

/* Whether a line of a file of texts looks like an object: { and "text". */
static bool seems_object(const line *at) {
    static const char key[] = "{\"text\"";
    size_t found = 0;
    for (size_t i = 0; i < at->bytes && found < sizeof key - 1; i++) {
        if (found < 2 && (at->text[i] == ' ' || at->text[i] == '\t')) continue;
        if (at->text[i] != key[found++]) return false;
    }
    return found == sizeof key - 1;
}

/* Warns that an object in a file of texts is read as text, because the first
 * line is not an object. */
static void note_object(const line *at) {
    char note[800];
    snprintf(note, sizeof note,
        "note: %.500s, line %d: {\"text\" is read as it stands, because the first line does not begin "
        "with {: put texts and objects into two files",
        at->path, (int)at->number);
    cli_progress_line(note);
}

static bool is_blank(const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (!strchr(" \t\r\v\f", text[i]) || !text[i]) return false;
    return true;
}

/* The whole file, of which a byte order mark and the ends of lines are no part of a text. */
static psc_status take_lines(cli_prompts *prompts, char *bytes, size_t n, psc_error *error) {
    line at = {.path = prompts->path};
    const char *end = bytes + n;
    psc_status status = PSC_OK;
    bool objects = false, begun = false, noted = false;
    if (n >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0) bytes += 3;
    while (bytes < end && status == PSC_OK) {
        char *stop = memchr(bytes, '\n', (size_t)(end - bytes));
        at.text = bytes;
        at.bytes = (size_t)((stop ? stop : end) - bytes);
        at.number++;
        bytes += at.bytes + (stop != NULL);
        if (at.bytes > 0 && at.text[at.bytes - 1] == '\r') at.bytes--;
        if (is_blank(at.text, at.bytes)) continue;
        if (!begun) objects = at.text[strspn(at.text, " \t")] == '{';
        begun = true;
        if (!objects && !noted && (noted = seems_object(&at))) note_object(&at);
        status = objects ? take_object(prompts, &at, error) : take_line(prompts, &at, error);
    }
    if (status == PSC_OK && prompts->n == 0)
        status = psc_fail(error, PSC_ERROR_INPUT, "%s has no prompts", prompts->path);
    return status;
}

static psc_status read_file(cli_prompts *prompts, psc_error *error) {
    const bool piped = strcmp(prompts->path, "-") == 0;
    FILE *file = stdin;
    char *bytes = NULL;
    size_t n = 0;
    psc_status status = piped ? PSC_OK : cli_input_open(&file, prompts->path, error);
    if (piped) prompts->path = "standard input";
    if (status) return status;
    status = cli_read_stream(&bytes, &n, file, prompts->path, error);
    if (!piped) fclose(file);
    if (!status) status = take_lines(prompts, bytes, n, error);
    if (!status || bytes) free(bytes);
    return status;
}

psc_status cli_prompts_read_file(
    cli_prompts *out, const char *path, bool labelled, psc_error *error) {
    *out = (cli_prompts){.several = true, .labelled = labelled, .path = path};
    return read_file(out, error);
}

psc_status cli_prompts_read(cli_prompts *out, const cli_arguments *arguments, psc_error *error) {
    int cursor = 0;
    const cli_given *given;
    *out = (cli_prompts){.path = cli_value(arguments, "prompts")};
    out->several = out->path || count_given(arguments, "text") > 1;
    if (!out->several) return PSC_OK;
    if (out->path) return read_file(out, error);
    while ((given = cli_next(arguments, "text", &cursor)))
        if (!add(out, given->values[0], strlen(given->values[0]), error)) return error->status;
    return PSC_OK;
}

void cli_prompts_free(cli_prompts *prompts) {
    for (int32_t i = 0; i < prompts->n; i++) free_text(&prompts->list[i]);
    free(prompts->list);
    *prompts = (cli_prompts){0};
}

/* --- trying ---------------------------------------------------------------------------------- */

const char *cli_prompts_place(char out[CLI_PLACE], const cli_prompts *prompts, int32_t i) {
    if (!prompts) return NULL;
    if (prompts->path)
        snprintf(out, CLI_PLACE, "%.500s, line %d", prompts->path, (int)prompts->list[i].line);
    else
        snprintf(out, CLI_PLACE, "text %d", (int)i + 1);
    return out;
}

psc_status cli_prompts_name(
    const cli_prompts *prompts, int32_t i, psc_status status, psc_error *error) {
    char place[CLI_PLACE];
    return status ? psc_error_prefix(error, status, cli_prompts_place(place, prompts, i)) : PSC_OK;
}

/* The targets of prompts from *i on, as many as one session takes. */
static psc_status try_targets(
    const cli_prompts *prompts, int32_t *i, psc_model *model, psc_error *error) {
    psc_session_options options = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    int32_t n = 0;
    options.threads = options.capacity = 1;
    psc_status status = psc_session_open(&session, model, &options, error);
    for (; !status && *i < prompts->n && n < TARGETS_PER_SESSION; ++*i) {
        const cli_text *one = &prompts->list[*i];
        for (int32_t t = 0; !status && t < one->n_targets; t++, n++)
            status = psc_session_target(session, one->targets[t], error);
        if (status) cli_prompts_name(prompts, *i, status, error);
    }
    psc_session_close(&session);
    return status;
}

psc_status cli_prompts_try(const cli_prompts *prompts, psc_model *model,
    const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    for (int32_t i = 0; !status && i < prompts->n; i++) {
        const cli_prompt_given given = {
            .text = prompts->list[i].text, .bos = cli_has(arguments, "bos")};
        cli_prompt prompt = {0};
        status =
            cli_prompts_name(prompts, i, cli_prompt_take(&prompt, model, &given, error), error);
        cli_prompt_free(&prompt);
    }
    for (int32_t i = 0; !status && i < prompts->n;) status = try_targets(prompts, &i, model, error);
    return status;
}

/* --- running --------------------------------------------------------------------------------- */

void cli_prompts_begin(cli_prompts *prompts, int32_t i, const cli_arguments *arguments) {
    prompts->begun = true;
    if (!cli_has(arguments, "json"))
        printf("%sprompt %d of %d\n", i > 0 ? "\n" : "", (int)i + 1, (int)prompts->n);
}

/* --- one prompt alone ------------------------------------------------------------------------ */

/* "DIR/2", or "page-2.html"; the caller frees it. */
static char *numbered(const char *path, int32_t number, bool folder) {
    const char *name = strrchr(path, '/'), *dot = folder ? NULL : strrchr(path, '.');
    if (dot && name && dot < name) dot = NULL;
    const size_t room = strlen(path) + 16, before = dot ? (size_t)(dot - path) : strlen(path);
    char *out = malloc(room);
    if (out)
        snprintf(out, room, "%.*s%c%d%s", (int)before, path, folder ? '/' : '-', (int)number,
            dot ? dot : "");
    return out;
}

static const cli_option *option_named(const cli_verb *verb, const char *name) {
    const cli_option *option = verb->options;
    while (option->name && strcmp(option->name, name) != 0) option++;
    return option;
}

static void add_prompt(cli_arguments *out, const cli_text *prompt) {
    out->given[out->n_given++] = (cli_given){option_named(out->verb, "text"), {prompt->text, NULL}};
    for (int32_t t = 0; t < prompt->n_targets; t++)
        out->given[out->n_given++] =
            (cli_given){option_named(out->verb, "target"), {prompt->targets[t], NULL}};
}

psc_status cli_prompts_alone(cli_arguments *out, const cli_prompts *prompts, int32_t i,
    const cli_arguments *arguments, psc_error *error) {
    const cli_text *prompt = &prompts->list[i];
    const size_t room = (size_t)arguments->n_given + (size_t)prompt->n_targets + 1;
    bool has_text = false;
    *out = *arguments;
    out->n_given = 0;
    out->given = calloc(room, sizeof *out->given);
    if (!out->given) return no_memory(error);
    for (int k = 0; k < arguments->n_given; k++) {
        cli_given given = arguments->given[k];
        const char *name = given.option->name;
        const bool folder = strcmp(name, "out") == 0, page = strcmp(name, "html") == 0;
        if (strcmp(name, "text") == 0 || strcmp(name, "prompts") == 0) {
            if (!has_text) add_prompt(out, prompt);
            has_text = true;
            continue;
        }
        if (folder || page) {
            given.values[0] = numbered(given.values[0], i + 1, folder);
            if (!given.values[0]) return no_memory(error);
        }
        out->given[out->n_given++] = given;
    }
    return PSC_OK;
}

void cli_prompts_drop(cli_arguments *alone) {
    for (int k = 0; alone->given && k < alone->n_given; k++) {
        const char *name = alone->given[k].option->name;
        if (strcmp(name, "out") == 0 || strcmp(name, "html") == 0)
            free((char *)alone->given[k].values[0]);
    }
    free(alone->given);
    alone->given = NULL;
}
