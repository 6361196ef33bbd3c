/* What each checkpoint says of the targets at the last row: arrays [checkpoints, targets], and bars
 * of the probability. */
#include "results_stack.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_TARGETS = 64, MOST_BARS = 3, LABEL = 96 };

/* Target t of result k at its last row with targets; null: it has no more. */
static const psc_result_target *target_of(const psc_stack *stack, int32_t k, int32_t t) {
    const psc_results *from = stack->from[k];
    int32_t last = -1;
    for (int32_t i = 0; i < from->n_targets; i++)
        if (from->targets[i].row > last) last = from->targets[i].row;
    for (int32_t i = 0; i < from->n_targets; i++)
        if (from->targets[i].row == last && t-- == 0) return &from->targets[i];
    return NULL;
}

/* The number of targets; 0 unless all results have the same ones. */
static int32_t count(const psc_stack *stack) {
    int32_t n = 0;
    while (n < MOST_TARGETS && target_of(stack, 0, n)) n++;
    for (int32_t k = 1; k < stack->n; k++)
        for (int32_t t = 0; t <= n; t++) {
            const psc_result_target *a = target_of(stack, 0, t), *b = target_of(stack, k, t);
            if (t < n && (!b || strcmp(a->name, b->name) != 0)) return 0;
            if (t == n && b && n < MOST_TARGETS) return 0;
        }
    return n;
}

typedef struct columns {
    int32_t *ids, *ranks;
    double *p, *logits;
} columns;

/* A contrast has the difference of two logits, and neither probability nor rank. */
static psc_status fill(const psc_stack *stack, int32_t n, const columns *to) {
    for (int32_t i = 0; i < stack->n * n; i++) {
        const psc_result_target *target = target_of(stack, i / n, i % n);
        const bool single = target->minus_id < 0;
        to->ids[i] = target->id;
        to->ranks[i] = single ? target->rank : -1;
        to->p[i] = single ? target->p : (double)NAN;
        to->logits[i] = target->logit - (single ? 0.0 : target->minus_logit);
        if (!target->text || target->id < 0) continue;
        const psc_vocabulary_entry entry = {target->id, target->text, strlen(target->text)};
        const psc_status status = psc_results_add_vocabulary(stack->out, 1, &entry, stack->error);
        if (status) return status;
    }
    return PSC_OK;
}

psc_status psc_stack_targets(const psc_stack *stack) {
    static const char *const keys[] = {"target_p", "target_rank", "target_logit", "target_ids"};
    static const psc_element elements[] = {PSC_F64, PSC_I32, PSC_F64, PSC_I32};
    const int64_t n = count(stack);
    const char *axis = "targets", *names[MOST_TARGETS];
    void *data[4];
    if (n == 0) return PSC_OK;
    for (int32_t t = 0; t < n; t++) names[t] = target_of(stack, 0, t)->name;
    if (psc_section_add_labels(
            stack->out, &stack->out->sections[PSC_STACK_SECTION], axis, n, names))
        return psc_stack_no_memory(stack);
    for (int i = 0; i < 4; i++) {
        psc_stored_array *array =
            psc_stack_new_array(stack, PSC_STACK_SECTION, keys[i], elements[i], 1, &axis, &n);
        if (!array) return stack->error->status;
        array->token_ids = i == 3;
        data[i] = (void *)array->view.data;
    }
    return fill(stack, (int32_t)n, &(columns){data[3], data[1], data[0], data[2]});
}

/* --- bars ------------------------------------------------------------------------------------ */

static bool is_one_token(const psc_stack *stack, int32_t t) {
    for (int32_t k = 1; k < stack->n; k++)
        if (target_of(stack, k, t)->id != target_of(stack, 0, t)->id) return false;
    return true;
}

/* "'old' (top:1)"; the name alone if it is the text, or if the token differs. */
void psc_stack_target_shown(char *out, size_t size, const psc_stack *stack, int32_t t) {
    const psc_result_target *target = count(stack) > t ? target_of(stack, 0, t) : NULL;
    const psc_section *section = &stack->out->sections[PSC_STACK_SECTION];
    const psc_result_axis *axis = psc_section_axis_named(section, "targets");
    snprintf(out, size, "%.90s", axis && t < axis->n ? axis->labels[t] : "");
    if (target && target->text && target->minus_id < 0 && is_one_token(stack, t) &&
        target->name[0] != '\'')
        snprintf(out, size, "'%.60s' (%.40s)", target->text, target->name);
}

/* Labels [n, LABEL]: the checkpoint, and its token if that differs. */
static void put_labels(char *out, const psc_stack *stack, int32_t t) {
    const bool one = is_one_token(stack, t);
    for (int32_t k = 0; k < stack->n; k++) {
        const psc_result_target *target = target_of(stack, k, t);
        snprintf(out + (size_t)k * LABEL, LABEL, one || !target->text ? "%.24s" : "%.24s '%.60s'",
            stack->labels[k], target->text);
    }
}

/* " at @22 'umb'": a row and its token. False without memory. */
static bool put_row(char *out, size_t size, const psc_results *results, int32_t row) {
    const psc_result_token *token = row < results->n_tokens ? &results->tokens[row] : NULL;
    const bool has_text = token && token->bytes;
    char *text = has_text ? psc_text_cleaned(token->bytes, token->n_bytes) : NULL;
    snprintf(out, size, text ? " at @%d '%.48s'" : " at @%d", (int)row, text);
    const bool whole = text || !has_text;
    free(text);
    return whole;
}

static psc_status add_bars(const psc_stack *stack, int32_t t, double *p, char *texts) {
    const char **labels = malloc((size_t)stack->n * sizeof *labels);
    char title[224], shown[128], row[80];
    if (!labels) return psc_stack_no_memory(stack);
    put_labels(texts, stack, t);
    for (int32_t k = 0; k < stack->n; k++) {
        labels[k] = texts + (size_t)k * LABEL;
        // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the caller stops without memory
        p[k] = target_of(stack, k, t)->p;
    }
    psc_stack_target_shown(shown, sizeof shown, stack, t);
    const bool put = put_row(row, sizeof row, stack->out, target_of(stack, 0, t)->row);
    snprintf(title, sizeof title, "p of %s%s", shown, row);
    const bool added = put && psc_section_add_bars(&stack->out->sections[PSC_STACK_SECTION], title,
                                  "", stack->n, labels, p) == PSC_OK;
    free(labels);
    return added ? PSC_OK : psc_stack_no_memory(stack);
}

psc_status psc_stack_target_bars(const psc_stack *stack) {
    const int32_t n = stack->n <= PSC_STACK_LINES ? count(stack) : 0; /* the table shows a choice */
    double *p = calloc((size_t)stack->n, sizeof *p);
    char *texts = calloc((size_t)stack->n, LABEL);
    psc_status status = p && texts ? PSC_OK : psc_stack_no_memory(stack);
    for (int32_t t = 0; !status && t < n && t < MOST_BARS; t++)
        if (target_of(stack, 0, t)->minus_id < 0) status = add_bars(stack, t, p, texts);
    free(p);
    free(texts);
    return status;
}
