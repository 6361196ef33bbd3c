/* pull: downloads a model from the Hugging Face hub into its cache, or into a folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "psc.h"

#ifdef PSC_PULL
#include "hub_download.h"
#include "hub_listing.h"
#include "hub_say.h"
#include "hub_settings.h"
#include "hub_store.h"
#include "progress.h"
#include "report.h"
#endif

static const cli_option options[] = {
    {"to", 1, false, "DIR",
        "write plain files into DIR instead of the cache;\n"
        "of several revisions into DIR/REVISION"},
    {0},
};

enum { MOST_REVISIONS = 1024 };

#ifndef PSC_PULL
static int run_pull(const cli_arguments *arguments) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    psc_error error = {0};
    const char *name = arguments->n_operands ? arguments->operands[0] : NULL;
    if (!name)
        return cli_usage(arguments->verb, "no model; pass a name like EleutherAI/pythia-160m");
    if (psc_model_read_name(&place, name, &error)) return cli_fail(&error);
    const bool is_main = strcmp(place.revision, "main") == 0;
    psc_fail(&error, PSC_ERROR_SUPPORT,
        "this pythiascope was built without pull; install huggingface_hub with pip and run: hf "
        "download %s%s%s",
        place.repository, is_main ? "" : " --revision ", is_main ? "" : place.revision);
    return cli_fail(&error);
}
#else

typedef struct pull {
    const char *to; /* nullable */
    char repository[192];
    hub_settings settings;
    hub_store store;
    char **revisions;
    int32_t n;
    hub_listing *listings; /* [n] */
} pull;

/* --- the revisions --------------------------------------------------------------------------- */

static psc_status keep_revision(pull *p, const char *revision, psc_error *error) {
    if (p->n == MOST_REVISIONS)
        return psc_fail(error, PSC_ERROR_INPUT, "more than %d revisions in one command", p->n);
    for (int32_t i = 0; i < p->n; i++)
        if (strcmp(p->revisions[i], revision) == 0) return PSC_OK;
    p->revisions[p->n] = strdup(revision);
    if (!p->revisions[p->n])
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a name");
    p->n++;
    return PSC_OK;
}

/* All training steps of the hub, in ascending order. */
static psc_status keep_steps(pull *p, psc_error *error) {
    hub_revisions found;
    psc_status status = hub_revisions_get(&found, &p->settings, p->repository, error);
    if (status) return status;
    for (int32_t i = 0; i < found.n_steps && !status; i++)
        status = keep_revision(p, found.names[i], error);
    if (!status && found.n_steps == 0)
        status = psc_fail(error, PSC_ERROR_IO,
            "%s has no training steps: no branch of it is named step0, step1, ...", p->repository);
    hub_revisions_close(&found);
    return status;
}

/* OWNER/NAME[@REVISION,...] into the repository and its revisions. */
static psc_status read_names(pull *p, const char *name, psc_error *error) {
    const char *at = strrchr(name, '@');
    const int n = at ? (int)(at - name) : (int)strlen(name);
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    psc_status status = PSC_OK;
    do {
        char one[512];
        const int length = at ? (int)strcspn(at + 1, ",") : 0;
        if (n > 250 || length > 120)
            return psc_fail(error, PSC_ERROR_INPUT, "the model's name is too long");
        snprintf(one, sizeof one, "%.*s%s%.*s", n, name, at ? "@" : "", length, at ? at + 1 : "");
        status = psc_model_read_name(&place, one, error);
        if (status) return status;
        snprintf(p->repository, sizeof p->repository, "%s", place.repository);
        if (!p->store.root[0])
            snprintf(p->store.root, sizeof p->store.root, "%s", p->to ? p->to : place.folder);
        if (strcmp(place.revision, "all-steps") != 0)
            status = keep_revision(p, place.revision, error);
        else
            status = keep_steps(p, error);
        at = at && at[1 + length] ? at + 1 + length : NULL;
    } while (!status && at);
    return status;
}

/* Asks for all lists of files before the first download, so that the size of all is known. */
static psc_status list(pull *p, psc_error *error) {
    psc_status status = PSC_OK;
    p->listings = calloc((size_t)p->n + 1, sizeof *p->listings);
    if (!p->listings) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the lists");
    cli_progress_start("asking for the lists of files");
    for (int32_t i = 0; i < p->n && !status; i++) {
        status =
            hub_listing_get(&p->listings[i], &p->settings, p->repository, p->revisions[i], error);
        if (p->n > 1)
            cli_progress_update((double)(i + 1) / p->n, "asking for the lists of files", NULL);
    }
    cli_progress_stop();
    return status;
}

/* --- what is said ---------------------------------------------------------------------------- */

static void say_whole(
    const hub_store *store, const hub_listing *listing, int64_t loaded, void *payload) {
    char folder[4608], shown[4700], size[32];
    int64_t bytes = 0;
    (void)payload;
    for (int32_t i = 0; i < listing->n; i++) bytes += listing->files[i].size;
    hub_store_folder(folder, sizeof folder, store, listing);
    psc_report_escape(shown, sizeof shown, folder, strlen(folder));
    hub_size_text(size, sizeof size, bytes);
    cli_progress_line(NULL);
    printf("%s: %d files, %s, %sin %s\n", listing->subject, (int)listing->n, size,
        loaded > 0 ? "" : "already there, ", shown);
    fflush(stdout);
}

/* What to type next. */
static void say_next(const pull *p) {
    const char *revision = p->revisions[p->n - 1];
    const bool is_main = strcmp(revision, "main") == 0, alone = p->to && p->n == 1;
    char shown[4700];
    const char *model = p->to ? p->to : p->repository;
    psc_report_escape(shown, sizeof shown, model, strlen(model));
    printf(
        "\ntry: pythiascope analyze --model %s%s%s --text \"The Eiffel Tower is in the city of\"\n",
        shown, is_main || alone ? "" : "@", is_main || alone ? "" : revision);
}

static psc_status pull_all(pull *p, const char *name, psc_error *error) {
    psc_status status = hub_settings_read(&p->settings, error);
    if (status) return status;
    if (p->settings.offline)
        return psc_fail(error, PSC_ERROR_STATE,
            "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so pull uses no network; unset it");
    p->store.is_plain = p->to != NULL;
    status = read_names(p, name, error);
    p->store.has_folders = p->n > 1;
    if (p->settings.token && !hub_is_private(p->settings.endpoint))
        cli_progress_line("the token is not sent, because HF_ENDPOINT is not https");
    if (!status) status = list(p, error);
    if (!status)
        status = hub_download(
            &p->settings, &p->store, p->repository, p->listings, p->n, say_whole, NULL, error);
    if (status == PSC_ERROR_CANCELLED)
        psc_fail(error, status, "interrupted; what has arrived is kept: run the command again");
    return status;
}

static int run_pull(const cli_arguments *arguments) {
    psc_error error = {0};
    const char *name = arguments->n_operands ? arguments->operands[0] : NULL;
    if (!name)
        return cli_usage(arguments->verb, "no model; pass a name like EleutherAI/pythia-160m");
    pull *p = calloc(1, sizeof *p);
    if (p) p->revisions = calloc(MOST_REVISIONS, sizeof *p->revisions);
    psc_status status = PSC_OK;
    if (!p || !p->revisions) {
        status = psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for the command");
    } else {
        p->to = cli_value(arguments, "to");
        hub_catch_signals();
        if (p->to && (!*p->to || strlen(p->to) > 3500))
            status = psc_fail(&error, PSC_ERROR_INPUT, "--to needs the name of a folder");
        else
            status = pull_all(p, name, &error);
        if (!status) say_next(p);
    }
    for (int32_t i = 0; p && i < p->n; i++) {
        if (p->listings) hub_listing_close(&p->listings[i]);
        free(p->revisions[i]);
    }
    if (p) {
        hub_settings_close(&p->settings);
        free(p->listings);
        free(p->revisions);
    }
    free(p);
    return status ? cli_fail(&error) : CLI_OK;
}
#endif

const cli_verb cli_verb_pull = {
    .name = "pull",
    .summary = "Downloads a model from the Hugging Face hub, or continues a download.",
    .usage = "OWNER/NAME[@REVISION|@all-steps] [--to DIR]",
    .notes =
        "Files go to the Hugging Face cache, where transformers finds them, too. Each is checked by\n"
        "its size and hash before it gets its name. Variables that are read: HF_HOME,\n"
        "HF_HUB_CACHE, HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE, HTTPS_PROXY: docs/models.md.\n\n"
        "examples:\n"
        "  pythiascope pull EleutherAI/pythia-160m\n"
        "  pythiascope pull EleutherAI/pythia-160m@step1000,step143000\n"
        "  pythiascope pull EleutherAI/pythia-160m@all-steps",
    .options = options,
    .max_operands = 1,
    .run = run_pull,
};
