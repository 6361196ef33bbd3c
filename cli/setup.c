/* Targets and plugins as given on the command line; results as --json and --out request them. */
#include "setup.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "cluster.h"
#include "progress.h"
#include "report.h"
#include "say.h"
#include "timing.h"
#include "typed.h"

/* "logits:level=head,rows=all": the options start at the first ':' that "key=" follows. */
static const char *plugin_options(const char *argument) {
    const char *colon = strchr(argument, ':');
    for (; colon; colon = strchr(colon + 1, ':')) {
        const char *key = colon + 1;
        while (isalnum((unsigned char)*key) || *key == '_' || *key == '-') key++;
        if (key > colon + 1 && *key == '=') return colon;
    }
    /* A name contains no colon: text after one was meant as options. */
    return strchr(argument, '/') ? NULL : strchr(argument, ':');
}

char *cli_plugin_name(const char *argument) {
    const char *colon = plugin_options(argument);
    return strndup(argument, colon ? (size_t)(colon - argument) : strlen(argument));
}

bool cli_names_plugin(const char *argument, const char *name) {
    const char *colon = plugin_options(argument);
    const size_t n = colon ? (size_t)(colon - argument) : strlen(argument);
    return n == strlen(name) && strncmp(argument, name, n) == 0;
}

psc_status cli_add_plugin(psc_session *session, const char *argument, psc_error *error) {
    const char *colon = plugin_options(argument);
    char *name = cli_plugin_name(argument);
    if (!name) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a plugin's name");
    psc_status status =
        psc_session_plugin(session, name, colon && colon[1] ? colon + 1 : NULL, error);
    free(name);
    return status;
}

/* --- recorded plugins ------------------------------------------------------------------------ */

/* As psc_session_plugin decides it: anything with a '/' or ending in .so or .dylib. */
static bool is_path(const char *name) {
    const size_t n = strlen(name);
    return strchr(name, '/') || (n >= 3 && strcmp(name + n - 3, ".so") == 0) ||
           (n >= 6 && strcmp(name + n - 6, ".dylib") == 0);
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Whether --plugin's value names the file of a recorded plugin: the same text, or a path alone with
 * the same last part, since parts may have been computed elsewhere. */
static bool names_file(const char *value, const char *recorded) {
    char *path = cli_plugin_name(value), *name = cli_plugin_name(recorded);
    const bool alone = path && strcmp(path, value) == 0;
    const bool same =
        path && name && is_path(name) &&
        (strcmp(value, recorded) == 0 || (alone && strcmp(last_part(path), last_part(name)) == 0));
    free(path);
    free(name);
    return same;
}

/* The file that the caller names for a recorded plugin, freed by free(). */
static psc_status named_by_caller(
    char **out, const char *recorded, const cli_arguments *arguments, psc_error *error) {
    int cursor = 0;
    const cli_given *given;
    while ((given = cli_next(arguments, "plugin", &cursor)))
        if (names_file(given->values[0], recorded)) {
            *out = cli_plugin_name(given->values[0]);
            return *out ? PSC_OK : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory");
        }
    char *name = cli_plugin_name(recorded);
    const psc_status status = psc_fail(error, PSC_ERROR_INPUT,
        "it was made with the plugin file %.300s, which is loaded only if the caller names it; if you "
        "trust that file, add --plugin %.300s",
        name ? name : "", name ? name : "");
    free(name);
    return status;
}

psc_status cli_add_recorded_plugin(
    psc_session *session, const char *recorded, const cli_arguments *arguments, psc_error *error) {
    const char *colon = plugin_options(recorded);
    char *name = cli_plugin_name(recorded), *path = NULL;
    psc_status status = PSC_OK;
    if (!name) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a plugin's name");
    if (is_path(name)) status = named_by_caller(&path, recorded, arguments, error);
    if (!status)
        status = psc_session_plugin(
            session, path ? path : name, colon && colon[1] ? colon + 1 : NULL, error);
    free(path);
    free(name);
    return status;
}

psc_status cli_check_recorded_plugins(
    const cli_arguments *arguments, const char *const *recorded, size_t n, psc_error *error) {
    int cursor = 0;
    const cli_given *given;
    while ((given = cli_next(arguments, "plugin", &cursor))) {
        bool used = false;
        for (size_t i = 0; i < n; i++) used = used || names_file(given->values[0], recorded[i]);
        if (!used)
            return psc_fail(error, PSC_ERROR_INPUT,
                "--plugin %.300s is not the file of a plugin that the state files record; pass the "
                "path alone, and only paths: built-in plugins and options are taken from the files",
                given->values[0]);
    }
    return PSC_OK;
}

const char *const cli_default_plugins[] = {"logits", "ln", "mlp", NULL};

psc_status cli_add_given_plugins(
    psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    int cursor = 0;
    const cli_given *given;
    while (!status && (given = cli_next(arguments, "plugin", &cursor)))
        status = cli_add_plugin(session, given->values[0], error);
    return status;
}

psc_status cli_add_plugins(psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    const bool chosen = cli_has(arguments, "plugin");
    for (int i = 0; !status && !chosen && cli_default_plugins[i]; i++)
        status = psc_session_plugin(session, cli_default_plugins[i], NULL, error);
    return status ? status : cli_add_given_plugins(session, arguments, error);
}

psc_status cli_add_targets(psc_session *session, const cli_arguments *arguments, psc_error *error) {
    psc_status status = PSC_OK;
    for (int i = 0; !status && i < arguments->n_given; i++) {
        const cli_given *given = &arguments->given[i];
        if (strcmp(given->option->name, "target") == 0)
            status = psc_session_target(session, given->values[0], error);
        else if (strcmp(given->option->name, "contrast") == 0)
            status = psc_session_contrast(session, given->values[0], given->values[1], error);
    }
    return status;
}

cli_plugin cli_plugin_of(
    const cli_arguments *arguments, const char *name, const char *const *keys) {
    cli_plugin plugin = {.name = name};
    for (int i = 0; keys[i]; i++)
        if (cli_has(arguments, keys[i]))
            plugin.options[plugin.n++] = (psc_option){keys[i], cli_value(arguments, keys[i])};
    return plugin;
}

psc_status cli_plugin_load(psc_session *session, const cli_plugin *plugin, psc_error *error) {
    return psc_session_plugin_options(
        session, plugin->name, NULL, plugin->options, plugin->n, error);
}

/* --- the sink -------------------------------------------------------------------------------- */

static struct {
    cli_sink sink;
    void *payload;
    bool is_stopped;
} collector;

void cli_collect(cli_sink sink, void *payload) {
    collector.sink = sink;
    collector.payload = payload;
}

bool cli_is_collected(void) {
    return collector.sink != NULL;
}

void cli_say_stopped(void) {
    collector.is_stopped = true;
}

bool cli_is_stopped(void) {
    return collector.is_stopped;
}

/* --- the results ----------------------------------------------------------------------------- */

static psc_status write_folder(const psc_results *results, const psc_format_options *options,
    const cli_arguments *arguments, psc_error *error) {
    const char *folder = cli_value(arguments, "out");
    if (!folder) return PSC_OK;
    cli_progress_start("writing");
    const psc_status status = psc_results_write_folder_with(results, options, folder, error);
    cli_progress_stop();
    if (!status) cli_say_wrote(folder);
    return status;
}

/* A page replaces an earlier page or an empty file, and no text, state, model or result. */
static psc_status check_replaced(const char *path, psc_error *error) {
    static const char begin[] = "<!doctype html";
    char found[sizeof begin] = "";
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size == 0) return PSC_OK;
    FILE *file = fopen(path, "rb");
    if (file) {
        found[fread(found, 1, sizeof begin - 1, file)] = 0;
        fclose(file);
    }
    if (strcasecmp(found, begin) == 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "--html %s is a file that is not a page; give the page another name", path);
}

static psc_status write_page(const cli_delivery *how, const psc_results *results,
    const cli_arguments *arguments, psc_error *error) {
    const char *path = cli_value(arguments, "html");
    psc_format_options options = PSC_FORMAT_OPTIONS_INIT;
    char command[2048];
    if (!path) return PSC_OK;
    psc_status status = check_replaced(path, error); /* the run itself may have made the file */
    if (status) return status;
    cli_typed(command, sizeof command, arguments);
    options.command = command;
    options.beside = how->beside;
    options.label = how->label;
    options.beside_label = how->beside_label;
    cli_progress_start("writing");
    status = psc_results_write_file(results, PSC_FORMAT_HTML, &options, path, error);
    cli_progress_stop();
    if (!status) cli_say_wrote(path);
    return status;
}

/* Whether path is a file directly in the folder, both as given. */
static bool is_in_folder(const char *path, const char *folder) {
    const char *slash = strrchr(path, '/');
    size_t n = strlen(folder);
    while (n > 1 && folder[n - 1] == '/') n--;
    return slash && (size_t)(slash - path) == n && strncmp(path, folder, n) == 0;
}

static bool is_same_path(const char *path, const char *folder) {
    size_t n = strlen(path), m = strlen(folder);
    while (n > 1 && path[n - 1] == '/') n--;
    while (m > 1 && folder[m - 1] == '/') m--;
    return n == m && strncmp(path, folder, n) == 0;
}

/* A page in the folder of --out, which need not exist yet, is written after the folder's files. */
static psc_status check_page(
    const char *path, const char *folder, const char *state, psc_error *error) {
    const char *name = strrchr(path, '/');
    if (state && is_same_path(path, state))
        return psc_fail(error, PSC_ERROR_INPUT,
            "--html %s is the file of --state; give the page another name", path);
    if (folder && is_same_path(path, folder))
        return psc_fail(error, PSC_ERROR_INPUT,
            "--html %s is the folder of --out; give the page another name", path);
    if (!folder || !is_in_folder(path, folder) || !name[1]) {
        const psc_status status = check_replaced(path, error);
        return status ? status : psc_results_check_file(PSC_FORMAT_HTML, path, error);
    }
    if (strcmp(name, "/results.json") == 0 || strcmp(name, "/tensors.safetensors") == 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "--html %s is a file that --out writes; give the page another name", path);
    return psc_report_page_ready(error);
}

psc_status cli_check_page(const cli_arguments *arguments, psc_error *error) {
    const char *page = cli_value(arguments, "html");
    if (!page || cluster_is_worker()) return PSC_OK; /* rank 0 writes */
    return check_page(page, cli_value(arguments, "out"), cli_value(arguments, "state"), error);
}

psc_status cli_check_out(const cli_arguments *arguments, psc_error *error) {
    const char *folder = cluster_is_worker() ? NULL : cli_value(arguments, "out");
    psc_status status = folder ? psc_results_check_folder(folder, error) : PSC_OK;
    return status ? status : cli_check_page(arguments, error);
}

/* The place of the next file to name after file i: files in a folder of the output folder follow
 * each other and are named by it, once. Sets the first one's length that is shown. */
static int32_t next_named(int *length, const psc_results *results, int32_t i) {
    psc_result_file first, other;
    if (psc_results_file_at(&first, results, i, NULL)) return i + 1;
    const char *slash = strchr(first.name, '/');
    *length = slash ? (int)(slash + 1 - first.name) : (int)strlen(first.name);
    for (i++; slash && psc_results_file_at(&other, results, i, NULL) == PSC_OK; i++)
        if (strncmp(other.name, first.name, (size_t)*length) != 0) break;
    return i;
}

/* Names every file of the folder (two, and those that plugins made), and the page. */
static void say_written(const psc_results *results, const cli_arguments *arguments) {
    const char *folder = cli_value(arguments, "out"), *page = cli_value(arguments, "html");
    const int32_t n = psc_results_file_count(results);
    char shown[4 * 1024];
    if (cli_has(arguments, "json") || (!folder && !page)) return;
    putchar('\n');
    if (folder) {
        psc_report_escape(shown, sizeof shown, folder, strlen(folder));
        folder = shown;
        printf("wrote %s/results.json%s %s/tensors.safetensors", folder, n ? "," : " and", folder);
        for (int32_t i = 0, next; i < n; i = next) {
            psc_result_file file;
            int length = 0;
            next = next_named(&length, results, i);
            if (psc_results_file_at(&file, results, i, NULL)) continue;
            char name[400];
            psc_report_escape(name, sizeof name, file.name, (size_t)length);
            printf("%s %s/%s", next < n ? "," : " and", folder, name);
        }
        putchar('\n');
    }
    if (!page) return;
    psc_report_escape(shown, sizeof shown, page, strlen(page));
    printf("wrote %s: open it in a browser\n", shown);
}

/* The tokens of the work. */
static int64_t tokens_of(const psc_results *results) {
    psc_corpus_totals corpus = PSC_CORPUS_TOTALS_INIT;
    if (psc_results_get_corpus(&corpus, results, NULL) == PSC_OK) return corpus.tokens;
    return psc_results_token_count(results);
}

psc_status cli_describe(cli_description *out, const psc_results *results, int64_t n_tokens,
    const cli_arguments *arguments, psc_error *error) {
    const int64_t n = n_tokens < 0 ? tokens_of(results) : n_tokens;
    *out = (cli_description){.options = PSC_FORMAT_OPTIONS_INIT};
    out->options.time = cli_time_stop(&out->time, n, arguments);
    if (psc_results_command(results)) return PSC_OK; /* results that were read keep theirs */
    out->options.command = out->command = cli_command(arguments);
    if (out->command) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the command");
}

psc_status cli_write_out(const psc_results *results, const psc_format_options *options,
    const cli_arguments *arguments, psc_error *error) {
    const psc_status status = write_folder(results, options, arguments, error);
    if (!status) say_written(results, arguments);
    return status;
}

psc_status cli_deliver_as(const cli_delivery *how, const psc_results *results,
    const cli_arguments *arguments, psc_error *error) {
    const psc_format format = cli_has(arguments, "json") ? PSC_FORMAT_JSON : PSC_FORMAT_TEXT;
    cli_description about;
    if (collector.sink) {
        cli_time_keep(how->tokens > 0 ? how->tokens : tokens_of(results));
        return collector.sink(how, results, collector.payload, error);
    }
    if (cluster_is_worker()) return PSC_OK; /* rank 0 has the same results */
    psc_status status =
        cli_describe(&about, results, how->tokens > 0 ? how->tokens : -1, arguments, error);
    about.options.sections = how->sections;
    about.options.width = how->width;
    about.options.one_line = how->one_line;
    if (!status) status = write_folder(results, &about.options, arguments, error);
    if (!status) status = write_page(how, results, arguments, error);
    if (!status) status = psc_results_write(results, format, &about.options, stdout, error);
    if (status == PSC_ERROR_IO && ferror(stdout) && cli_reader_is_gone()) status = PSC_OK;
    if (!status) say_written(results, arguments);
    free(about.command);
    return status;
}

psc_status cli_deliver(
    const psc_results *results, const cli_arguments *arguments, psc_error *error) {
    return cli_deliver_as(&(cli_delivery){0}, results, arguments, error);
}
