/* Targets: the logit, or difference of two, that the plugins explain; and readable labels of
 * tokens.
 *
 *   TEXT, text:TEXT    a text that is exactly one token; after "text:", next, top:... and #... are
 *                      literal
 *   #ID                an id below d_vocab
 *   next               the text's own next token
 *   top:K              K targets: the most probable id of each row, the second, ...
 *   example            the ids of each sequence's own example */
#include "session_inside.h"
#include "utf8.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_RANKS PSC_MOST_RANKS
#define MAX_TARGETS 4096
#define LABEL_BYTES 256

/* --- labels of tokens ------------------------------------------------------------------------ */

typedef struct writer {
    char *out;
    size_t size, used;
    bool cut;
} writer;

/* Bytes that must still fit after any piece: "...'" and the final 0. */
#define TAIL 5

static void write_piece(writer *w, const char *piece, size_t n) {
    if (w->cut || w->used + n + TAIL > w->size) {
        w->cut = true;
        return;
    }
    memcpy(w->out + w->used, piece, n);
    w->used += n;
}

/* Writes one character of text with escapes; returns its bytes. */
static size_t write_character(writer *w, const char *text, size_t bytes) {
    char shown[PSC_UTF8_SHOWN];
    size_t n = psc_utf8_show(shown, text, bytes);
    if (*text == '\\' || *text == '\'') snprintf(shown, sizeof shown, "\\%c", *text);
    write_piece(w, shown, strlen(shown));
    return n;
}

void psc_token_label(char *out, size_t size, const psc_model *model, int32_t id) {
    size_t n = 0;
    const char *bytes = psc_model_token_bytes(model, id, &n);
    if (!bytes || size < 2 * TAIL) {
        snprintf(out, size, "#%d", (int)id);
        return;
    }
    writer w = {out, size, 0, false};
    write_piece(&w, "'", 1);
    for (size_t i = 0; i < n && !w.cut;) i += write_character(&w, bytes + i, n - i);
    snprintf(out + w.used, size - w.used, "%s'", w.cut ? "..." : "");
}

/* --- parsing --------------------------------------------------------------------------------- */

/* Takes over label. */
static psc_status append(psc_session *session, psc_target target, char *label, psc_error *error) {
    psc_target_list *list = &session->targets;
    if (label && list->n >= MAX_TARGETS) {
        free(label);
        return psc_fail(error, PSC_ERROR_INPUT, "the number of targets exceeds %d", MAX_TARGETS);
    }
    psc_target *grown =
        label ? realloc(list->targets, ((size_t)list->n + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(label);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a target");
    }
    list->targets = grown;
    target.label = label;
    grown[list->n++] = target;
    return PSC_OK;
}

/* True if text with a space in front is one token. */
static bool one_token_with_space(const psc_model *model, const char *text) {
    size_t bytes = strlen(text) + 2;
    char *spaced = malloc(bytes);
    psc_token *tokens = NULL;
    int32_t n = 0;
    if (!spaced) return false;
    snprintf(spaced, bytes, " %s", text);
    if (psc_model_encode(&tokens, &n, model, spaced, bytes - 1, false, NULL) != PSC_OK) n = 0;
    psc_free(tokens);
    free(spaced);
    return n == 1;
}

/* "target 'xyz' is 3 tokens ('x', 'y', 'z'), not one; ..." */
static psc_status refuse_tokens(const psc_model *model, const char *text, const psc_token *tokens,
    int32_t n, psc_error *error) {
    char list[480] = "", label[48];
    for (int32_t i = 0; i < n && i < 8; i++) {
        size_t used = strlen(list);
        psc_token_label(label, sizeof label, model, tokens[i].id);
        snprintf(list + used, sizeof list - used, "%s%s%s", i ? ", " : "", label,
            i == 7 && n > 8 ? ", ..." : "");
    }
    bool suggest = text[0] != ' ' && one_token_with_space(model, text);
    return psc_fail(error, PSC_ERROR_INPUT, "target '%.80s' is %d tokens (%s), not one%s%.80s%s",
        text, (int)n, list, suggest ? "; with a leading space, ' " : "", suggest ? text : "",
        suggest ? "', it is one" : "");
}

psc_status psc_targets_text_id(
    int32_t *id, const psc_model *model, const char *text, psc_error *error) {
    if (!*text) return psc_fail(error, PSC_ERROR_INPUT, "the target's text is empty");
    if (!psc_model_has_tokenizer(model))
        return psc_fail(error, PSC_ERROR_INPUT,
            "target '%.80s' is text, but %s; this model has no tokenizer: use #ID, next or top:K",
            text, psc_model_tokenizer_reason(model));
    psc_token *tokens = NULL;
    int32_t n = 0;
    psc_status status = psc_model_encode(&tokens, &n, model, text, strlen(text), false, error);
    if (status != PSC_OK) return psc_error_prefix(error, status, "the target's text");
    if (n != 1)
        status = refuse_tokens(model, text, tokens, n, error);
    else if (tokens[0].id >= model->info.d_vocab)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "target '%.80s' is token %d, but the model has only %d tokens", text, (int)tokens[0].id,
            (int)model->info.d_vocab);
    else
        *id = tokens[0].id;
    psc_free(tokens);
    return status;
}

/* A decimal number, INT32_MAX if it has more than 9 digits; -1 for anything else. */
static int64_t parse_number(const char *digits) {
    size_t n = strspn(digits, "0123456789");
    if (n == 0 || digits[n]) return -1;
    return n > 9 ? INT32_MAX : strtol(digits, NULL, 10);
}

static psc_status token_id(
    int32_t *id, const psc_model *model, const char *text, psc_error *error) {
    if (strncmp(text, "text:", 5) == 0) return psc_targets_text_id(id, model, text + 5, error);
    int64_t number = text[0] == '#' ? parse_number(text + 1) : -1;
    if (number < 0) return psc_targets_text_id(id, model, text, error);
    if (number >= model->info.d_vocab)
        return psc_fail(error, PSC_ERROR_INPUT,
            "target %.40s is out of range; token ids are 0 to %d", text,
            (int)model->info.d_vocab - 1);
    *id = (int32_t)number;
    return PSC_OK;
}

static psc_status add_ranks(psc_session *session, int64_t n, psc_error *error) {
    char label[24];
    for (int32_t i = 0; i < n; i++) {
        psc_target target = {.kind = PSC_TARGET_TOP, .a = -1, .b = -1, .rank = i};
        snprintf(label, sizeof label, "top:%d", (int)i + 1);
        psc_status status = append(session, target, strdup(label), error);
        if (status != PSC_OK) return status;
    }
    return PSC_OK;
}

void psc_targets_clear(psc_session *session) {
    psc_target_list *list = &session->targets;
    for (int32_t i = 0; i < list->n; i++) free((void *)list->targets[i].label);
    free(list->targets);
    memset(list, 0, sizeof *list);
}

static psc_status add_next(psc_session *session, psc_error *error) {
    psc_target next = {.kind = PSC_TARGET_NEXT, .a = -1, .b = -1};
    return append(session, next, strdup("next"), error);
}

psc_status psc_targets_imply(psc_session *session, psc_error *error) {
    if (session->targets.n > 0) return PSC_OK;
    session->targets.implied = true;
    return session->options.accumulate ? add_next(session, error) : add_ranks(session, 1, error);
}

static psc_status check_time(const psc_session *session, psc_error *error) {
    if (psc_session_busy(session))
        return psc_fail(error, PSC_ERROR_STATE, "targets cannot be added in a callback");
    if (session->options.accumulate && session->n_contexts > 0)
        return psc_fail(error, PSC_ERROR_STATE,
            "a session over documents needs its targets before its plugins");
    return PSC_OK;
}

psc_status psc_targets_add(psc_session *session, const char *target, psc_error *error) {
    if (!target) return psc_fail(error, PSC_ERROR_INPUT, "the target is null");
    psc_status status = check_time(session, error);
    if (status != PSC_OK) return status;
    if (session->targets.implied) psc_targets_clear(session);
    const psc_model *model = session->model;
    if (strcmp(target, "next") == 0) return add_next(session, error);
    if (strcmp(target, "example") == 0) {
        const psc_target example = {.kind = PSC_TARGET_EXAMPLE, .a = -1, .b = -1};
        return append(session, example, strdup("example"), error);
    }
    if (strncmp(target, "top:", 4) == 0) {
        int32_t most = model->info.d_vocab < MAX_RANKS ? model->info.d_vocab : MAX_RANKS;
        int64_t n = parse_number(target + 4);
        if (n < 1 || n > most)
            return psc_fail(error, PSC_ERROR_INPUT,
                "target '%.40s': K in top:K must be from 1 to %d", target, (int)most);
        return add_ranks(session, n, error);
    }
    psc_target token = {.kind = PSC_TARGET_TOKEN, .b = -1};
    status = token_id(&token.a, model, target, error);
    if (status != PSC_OK) return status;
    char label[LABEL_BYTES];
    psc_token_label(label, sizeof label, model, token.a);
    return append(session, token, strdup(label), error);
}

psc_status psc_targets_add_contrast(
    psc_session *session, const char *a, const char *b, psc_error *error) {
    if (!a || !b) return psc_fail(error, PSC_ERROR_INPUT, "a contrast needs two tokens");
    psc_status status = check_time(session, error);
    if (status != PSC_OK) return status;
    if (session->targets.implied) psc_targets_clear(session);
    psc_target target = {.kind = PSC_TARGET_CONTRAST};
    status = token_id(&target.a, session->model, a, error);
    if (status == PSC_OK) status = token_id(&target.b, session->model, b, error);
    if (status != PSC_OK) return status;
    char label[LABEL_BYTES], second[LABEL_BYTES], both[2 * LABEL_BYTES + 4];
    psc_token_label(label, sizeof label, session->model, target.a);
    psc_token_label(second, sizeof second, session->model, target.b);
    if (target.a == target.b)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a contrast of %.80s with itself is always 0; use two different tokens", label);
    snprintf(both, sizeof both, "%s - %s", label, second);
    return append(session, target, strdup(both), error);
}

/* --- ids at a row ---------------------------------------------------------------------------- */

typedef struct ranked {
    float logit;
    int32_t id;
} ranked;

/* Larger first, the lower id on a tie; NaN counts as minus infinity. */
static bool comes_before(ranked a, ranked b) {
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

/* heap[0] is the last in order of the n kept. */
static void sift_down(ranked *heap, int32_t n) {
    for (int32_t i = 0;;) {
        int32_t child = 2 * i + 1;
        if (child >= n) return;
        if (child + 1 < n && comes_before(heap[child], heap[child + 1])) child++;
        if (!comes_before(heap[i], heap[child])) return;
        ranked swap = heap[i];
        heap[i] = heap[child];
        heap[child] = swap;
        i = child;
    }
}

static void sift_up(ranked *heap, int32_t i) {
    while (i > 0 && comes_before(heap[(i - 1) / 2], heap[i])) {
        ranked swap = heap[i];
        heap[i] = heap[(i - 1) / 2];
        heap[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
}

/* Fills heap with the k first of n logits in order, 0 < k <= n, the k-th in heap[0]. */
static void keep_first(ranked *heap, const float *logits, int32_t n, int32_t k) {
    int32_t kept = 0;
    heap[0] = (ranked){-INFINITY, 0};
    for (int32_t i = 0; i < n; i++) {
        ranked next = {isnan(logits[i]) ? -INFINITY : logits[i], i};
        if (kept < k) {
            heap[kept] = next;
            sift_up(heap, kept++);
        } else if (comes_before(next, heap[0])) {
            heap[0] = next;
            sift_down(heap, kept);
        }
    }
}

/* The id of 0-based rank among n logits, rank < MAX_RANKS, rank < n. */
static int32_t id_of_rank(const float *logits, int32_t n, int32_t rank) {
    ranked heap[MAX_RANKS];
    keep_first(heap, logits, n, rank + 1);
    return heap[0].id;
}

void psc_targets_first_ids(int32_t *ids, const float *logits, int32_t n, int32_t k) {
    ranked heap[MAX_RANKS];
    keep_first(heap, logits, n, k);
    while (k > 0) {
        ids[--k] = heap[0].id;
        heap[0] = heap[k];
        sift_down(heap, k);
    }
}

int32_t psc_targets_rank(const float *logits, int32_t n, int32_t id) {
    const ranked own = {isnan(logits[id]) ? -INFINITY : logits[id], id};
    int32_t rank = 1;
    for (int32_t i = 0; i < n; i++) {
        const ranked other = {isnan(logits[i]) ? -INFINITY : logits[i], i};
        rank += comes_before(other, own);
    }
    return rank;
}

psc_status psc_targets_ids(const psc_session *session, int32_t target, const psc_row *row,
    const float *logits, int32_t ids[2], psc_error *error) {
    ids[0] = ids[1] = -1;
    if (target < 0 || target >= session->targets.n)
        return psc_fail(error, PSC_ERROR_INPUT,
            "target %d is out of range; the number of targets is %d", (int)target,
            (int)session->targets.n);
    const psc_target *t = &session->targets.targets[target];
    if (t->kind == PSC_TARGET_NEXT) {
        ids[0] = row->next < session->model->info.d_vocab ? row->next : -1;
    } else if (t->kind == PSC_TARGET_EXAMPLE) {
        const psc_example *example = psc_session_example(session, row->sequence);
        ids[0] = example ? example->a : -1;
        ids[1] = example ? example->b : -1;
    } else if (t->kind == PSC_TARGET_TOP) {
        if (!logits)
            return psc_fail(error, PSC_ERROR_INPUT,
                "target %s depends on the row's logits, but none were passed", t->label);
        ids[0] = id_of_rank(logits, session->model->info.d_vocab, t->rank);
    } else {
        ids[0] = t->a;
        ids[1] = t->b;
    }
    return PSC_OK;
}
