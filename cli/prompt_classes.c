/* Labelled prompts. The order of the files does not matter: prompts are sorted by a hash.
 *
 *   h = mix(FNV-1a(text) ^ mix(seed)), held out if h/2^64 < part; mix is that of MurmurHash3 */
#include "prompt_classes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the prompts");
}

/* --- hashes ---------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t h) {
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

/* FNV-1a over more bytes; the first h is FNV_OFFSET. */
static uint64_t add_bytes(uint64_t h, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) h = (h ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}
#define FNV_OFFSET UINT64_C(0xcbf29ce484222325)

/* --- reading --------------------------------------------------------------------------------- */

static int by_label(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static psc_status find_labels(cli_classes *classes, psc_error *error) {
    const cli_prompts *file = &classes->files[0];
    const char **all = calloc((size_t)file->n + 1, sizeof *all);
    psc_status status = all ? PSC_OK : no_memory(error);
    for (int32_t i = 0; !status && i < file->n; i++) {
        all[i] = file->list[i].label;
        if (!all[i])
            status = psc_fail(error, PSC_ERROR_INPUT,
                "%s, line %d: each line must be an object {\"text\": S, \"label\": L}; or pass "
                "--plus and --minus",
                file->path, (int)file->list[i].line);
        else if (!*all[i] || strchr(all[i], '\n') || strlen(all[i]) > 200)
            status = psc_fail(error, PSC_ERROR_INPUT,
                "%s, line %d: a label needs 1 to 200 bytes without a line break", file->path,
                (int)file->list[i].line);
    }
    if (!status) qsort(all, (size_t)file->n, sizeof *all, by_label);
    for (int32_t i = 0; !status && i < file->n; i++) {
        if (i > 0 && strcmp(all[i], all[i - 1]) == 0) continue;
        if (classes->n_labels == CLI_CLASSES)
            status = psc_fail(
                error, PSC_ERROR_INPUT, "%s has more than %d labels", file->path, (int)CLI_CLASSES);
        else
            classes->labels[classes->n_labels++] = all[i];
    }
    if (!status && classes->n_labels < 2)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "%s has one label only, '%.60s'; directions tell two or more apart", file->path,
            classes->labels[0]);
    free(all);
    return status;
}

static int32_t class_of(const cli_classes *classes, int32_t file, const cli_text *text) {
    if (classes->n_files == 2) return file;
    const char **found = bsearch(&text->label, classes->labels, (size_t)classes->n_labels,
        sizeof *classes->labels, by_label);
    return (int32_t)(found - classes->labels);
}

static psc_status list_all(cli_classes *classes, psc_error *error) {
    classes->list = calloc(
        (size_t)classes->files[0].n + (size_t)classes->files[1].n + 1, sizeof *classes->list);
    if (!classes->list) return no_memory(error);
    for (int32_t f = 0; f < classes->n_files; f++)
        for (int32_t i = 0; i < classes->files[f].n; i++) {
            const cli_text *text = &classes->files[f].list[i];
            cli_classed *one = &classes->list[classes->n++];
            one->text = text;
            one->path = classes->files[f].path;
            one->of_class = class_of(classes, f, text);
            const char *label = classes->labels[one->of_class];
            uint64_t h = add_bytes(FNV_OFFSET, label, strlen(label) + 1);
            classes->hash += mix(add_bytes(h, text->text, strlen(text->text)));
        }
    return PSC_OK;
}

psc_status cli_classes_read(
    cli_classes *out, const char *file, const char *plus, const char *minus, psc_error *error) {
    *out = (cli_classes){.n_files = file ? 1 : 2};
    psc_status status = cli_prompts_read_file(&out->files[0], file ? file : minus, file, error);
    if (!status && !file) status = cli_prompts_read_file(&out->files[1], plus, false, error);
    if (!status && file) status = find_labels(out, error);
    if (!file) {
        out->labels[0] = "minus";
        out->labels[1] = "plus";
        out->n_labels = 2;
    }
    return status ? status : list_all(out, error);
}

void cli_classes_free(cli_classes *classes) {
    for (int32_t i = 0; i < classes->n; i++) cli_prompt_free(&classes->list[i].prompt);
    free(classes->list);
    for (int f = 0; f < 2; f++) cli_prompts_free(&classes->files[f]);
    *classes = (cli_classes){0};
}

/* --- the split ------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
    const cli_classed *x = a, *y = b;
    if (x->held != y->held) return x->held - y->held;
    if (x->of_class != y->of_class) return x->of_class - y->of_class;
    if (x->hash != y->hash) return x->hash < y->hash ? -1 : 1;
    return strcmp(x->text->text, y->text->text);
}

psc_status cli_classes_split(cli_classes *classes, const psc_model *model, double part,
    uint64_t seed, bool bos, psc_error *error) {
    psc_status status = PSC_OK;
    for (int32_t i = 0; i < classes->n; i++) {
        cli_classed *one = &classes->list[i];
        const char *text = one->text->text;
        one->hash = mix(add_bytes(FNV_OFFSET, text, strlen(text)) ^ mix(seed));
        one->held = (double)(one->hash >> 11) * 0x1p-53 < part;
    }
    qsort(classes->list, (size_t)classes->n, sizeof *classes->list, by_place);
    cli_progress_start("tokenizing");
    for (int32_t i = 0; !status && i < classes->n; i++) {
        cli_classed *one = &classes->list[i];
        const cli_prompt_given given = {.text = one->text->text, .bos = bos};
        char place[CLI_PLACE];
        status = cli_prompt_take(&one->prompt, model, &given, error);
        snprintf(place, sizeof place, "%.500s, line %d", one->path, (int)one->text->line);
        if (status) psc_error_prefix(error, status, place);
        if (one->prompt.n > classes->longest) classes->longest = one->prompt.n;
    }
    cli_progress_stop();
    return status;
}

/* --- runs ------------------------------------------------------------------------------------ */

psc_status cli_classes_run(
    const cli_classes *classes, psc_session *session, int32_t batch, psc_error *error) {
    psc_input *inputs = calloc((size_t)batch, sizeof *inputs);
    psc_status status = inputs ? PSC_OK : no_memory(error);
    cli_progress_start("reading");
    for (int32_t first = 0, n = 0; !status && first < classes->n; first += n) {
        const cli_classed *head = &classes->list[first];
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        run.no_logits = 1;
        run.phase = PSC_PHASE_SOURCE;
        run.source = 2 * head->of_class + head->held;
        run.bos = head->prompt.bos;
        for (n = 0; n < batch && first + n < classes->n; n++) {
            const cli_classed *one = &classes->list[first + n];
            if (one->held != head->held || one->of_class != head->of_class) break;
            inputs[n] = (psc_input){n, one->prompt.n, one->prompt.tokens};
            psc_session_truncate(session, n, 0);
        }
        status = psc_session_run(session, inputs, n, &run, error);
        cli_progress_update((double)(first + n) / classes->n, "prompts", NULL);
    }
    cli_progress_stop();
    free(inputs);
    return status;
}
