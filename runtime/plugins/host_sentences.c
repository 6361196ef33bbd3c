/* Labelled sentences for plugins: the caller's, or a CoNLL-U file's; and the bytes of tokens. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

struct psc_label_file {
    psc_label_file *next;
    psc_treebank *treebank;
    char path[];
};

const psc_sentence *psc_host_sentences(psc_context *context, int32_t *n) {
    if (!psc_host_may(&context, "sentences", PSC_IN_ANY)) return NULL;
    if (!psc_host_given(context, "sentences", "n", n)) return NULL;
    *n = 0;
    const psc_run_options *options = context->in_run ? context->session->run_options : NULL;
    if (!options || options->n_sentences == 0) return NULL;
    *n = options->n_sentences;
    return options->sentences;
}

/* The file, read now or before; null after setting the error. */
static const psc_label_file *find_file(psc_context *context, const char *path) {
    psc_error error = {PSC_OK, ""};
    for (const psc_label_file *f = context->label_files; f; f = f->next)
        if (strcmp(f->path, path) == 0) return f;
    const size_t bytes = strlen(path) + 1;
    psc_label_file *file = calloc(1, sizeof *file + bytes);
    psc_status status = PSC_OK;
    if (!file)
        status = psc_fail(&error, PSC_ERROR_MEMORY, "not enough memory for %.300s", path);
    else
        status = psc_treebank_open(&file->treebank, path, &error);
    if (status != PSC_OK) {
        free(file);
        psc_host_pass(context, &error);
        return NULL;
    }
    memcpy(file->path, path, bytes);
    file->next = context->label_files;
    context->label_files = file;
    return file;
}

const psc_sentence *psc_host_read_sentences(psc_context *context, const char *path, int32_t *n) {
    if (!psc_host_may(&context, "read_sentences", PSC_IN_ANY)) return NULL;
    if (!psc_host_given(context, "read_sentences", "a path", path) ||
        !psc_host_given(context, "read_sentences", "n", n))
        return NULL;
    *n = 0;
    const psc_label_file *file = find_file(context, path);
    return file ? psc_treebank_sentences(file->treebank, n) : NULL;
}

const char *psc_host_token_bytes(psc_context *context, int32_t token, uint64_t *bytes) {
    size_t size = 0;
    if (!psc_host_may(&context, "token_bytes", PSC_IN_ANY | PSC_IN_PART)) return NULL;
    if (!psc_host_given(context, "token_bytes", "bytes", bytes)) return NULL;
    const psc_model *model = context->session->model;
    const char *text = token < 0 ? NULL : psc_model_token_bytes(model, token, &size);
    *bytes = text ? size : 0;
    return text;
}

void psc_host_close_label_files(psc_context *context) {
    while (context->label_files) {
        psc_label_file *file = context->label_files;
        context->label_files = file->next;
        psc_treebank_close(&file->treebank);
        free(file);
    }
}
