/* Splits "NAME@A,B" at the last '@', and the part after it at its commas. */
#include "checkpoint_list.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "embedded_model.h"
#include "psc.h"

enum { MOST_CHECKPOINTS = 4096 };

static bool is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool cli_names_checkpoints(const char *model) {
    const char *at = model ? strrchr(model, '@') : NULL;
    if (!at || at == model || is_folder(model)) return false;
    return strchr(at, ',') || strcmp(at, "@all-steps") == 0;
}

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the names of checkpoints");
}

void cli_checkpoint_list_free(cli_checkpoint_list *list) {
    for (int i = 0; i < list->n; i++) {
        free(list->labels[i]);
        free(list->models[i]);
    }
    free(list->labels);
    free(list->models);
    free(list->base);
    *list = (cli_checkpoint_list){0};
}

/* Adds the label [n]; refuses one that is there already. */
static psc_status add(cli_checkpoint_list *list, const char *label, size_t n, psc_error *error) {
    if (n == 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "--model %.200s@...: a name between the commas is empty; write it as step0,step1000",
            list->base);
    if (strspn(label, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") < n ||
        label[0] == '.')
        return psc_fail(error, PSC_ERROR_INPUT,
            "--model %.200s@...: '%.*s' is not the name of a checkpoint; write it as step1000",
            list->base, (int)(n < 60 ? n : 60), label);
    if (n >= 128 || list->n >= MOST_CHECKPOINTS)
        return psc_fail(error, PSC_ERROR_INPUT, "--model %.200s@...: %s", list->base,
            n >= 128 ? "a checkpoint's name is too long" : "more than 4096 checkpoints");
    for (int i = 0; i < list->n; i++)
        if (strlen(list->labels[i]) == n && strncmp(list->labels[i], label, n) == 0)
            return psc_fail(error, PSC_ERROR_INPUT,
                "--model names the checkpoint %s twice; name it once", list->labels[i]);
    const size_t room = (size_t)list->n + 1, size = strlen(list->base) + n + 2;
    char **labels = realloc(list->labels, room * sizeof *labels);
    if (labels) list->labels = labels;
    char **models = realloc(list->models, room * sizeof *models);
    if (models) list->models = models;
    char *own = strndup(label, n), *model = malloc(size);
    if (!labels || !models || !own || !model) {
        free(own);
        free(model);
        return no_memory(error);
    }
    snprintf(model, size, "%s@%s", list->base, own);
    list->labels[list->n] = own;
    list->models[list->n++] = model;
    return PSC_OK;
}

/* The revisions on this machine: those of the embedded folder, or psc_model_revisions. */
static psc_status add_all(cli_checkpoint_list *list, psc_error *error) {
    char folder[4096], **names = NULL;
    int32_t n = 0;
    const bool embedded = cli_find_embedded_named(folder, sizeof folder, list->base);
    psc_status status = psc_model_revisions(&names, &n, embedded ? folder : list->base, error);
    for (int32_t i = 0; !status && i < n; i++)
        if (strncmp(names[i], "step", 4) == 0)
            status = add(list, names[i], strlen(names[i]), error);
    psc_model_revisions_free(names, n);
    if (status || list->n > 0) return status;
    return psc_fail(error, PSC_ERROR_INPUT,
        "%.200s has no training steps on this machine; name a folder with folders step0, ..., or "
        "fetch them: pythiascope pull %.200s@all-steps",
        list->base, list->base);
}

psc_status cli_checkpoint_list_read(cli_checkpoint_list *out, const char *model, psc_error *error) {
    const char *at = strrchr(model, '@') + 1;
    *out = (cli_checkpoint_list){.base = strndup(model, (size_t)(at - 1 - model))};
    if (!out->base) return no_memory(error);
    if (strcmp(at, "all-steps") == 0) return add_all(out, error);
    for (const char *part = strstr(at, "all-steps"); part; part = strstr(part + 1, "all-steps"))
        if ((part == at || part[-1] == ',') && (part[9] == ',' || part[9] == 0))
            return psc_fail(error, PSC_ERROR_INPUT,
                "--model %.200s@...: all-steps already names every step; pass %.200s@all-steps, or "
                "the steps alone",
                out->base, out->base);
    for (;;) {
        const size_t n = strcspn(at, ",");
        const psc_status status = add(out, at, n, error);
        if (status || !at[n]) return status;
        at += n + 1;
    }
}
