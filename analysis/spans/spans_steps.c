/* Sequences that grow run by run (generation): what the new rows closed, and what they revised.
 *
 *   closed   now in the tree and before its last unit; before the run it was not so
 *   revised  before the run it was closed; now it is not in the tree
 *
 * Trees of the last run are kept with the instance, per sequence of the session. */
#include "spans.h"

#include <stdio.h>
#include <string.h>

static spans_past *find_past(const spans_state *s, int32_t sequence) {
    for (int32_t i = 0; i < s->n_past; i++)
        if (s->past[i].sequence == sequence) return &s->past[i];
    return NULL;
}

/* --- telling --------------------------------------------------------------------------------- */

typedef struct bracket_list {
    const spans_state *s;
    int32_t sequence, n;
    char text[SPANS_TEXT * 66];
    int used;
} bracket_list;

static int add_bracket(bracket_list *list, const psc_bracket *b) {
    char text[SPANS_TEXT];
    if (++list->n > list->s->top) return 0;
    if (spans_bracket_text(list->s, list->sequence, b, SPANS_LONG, text)) return -1;
    list->used += snprintf(list->text + list->used, sizeof list->text - (size_t)list->used, "%s%s",
        list->n > 1 ? ", " : "", text);
    return 0;
}

/* Of `tree` the brackets that end before its last unit and are not so in `other`. */
static int list_changes(bracket_list *list, const psc_bracket *tree, int32_t n_units,
    const psc_bracket *other, int32_t n_other, int32_t *where, int closed_there) {
    psc_tree_find(n_units - 1, tree, n_other - 1, other, where);
    for (int32_t i = 0; i + 1 < n_units; i++) {
        const int there = where[i] >= 0 && !(closed_there && tree[i].end >= n_other - 1);
        if (tree[i].end >= n_units - 1 || there) continue;
        if (add_bracket(list, &tree[i])) return -1;
    }
    return 0;
}

static int say_list(const bracket_list *list, int32_t level, const char *what) {
    char line[SPANS_TEXT * 68], more[32] = "";
    if (list->n == 0) return 0;
    if (list->n > list->s->top) snprintf(more, sizeof more, " (%d in all)", (int)list->n);
    snprintf(line, sizeof line, "level %.40s %s: %s%s", list->s->levels.names[level], what,
        list->text, more);
    return list->s->host->summary_text(list->s->context, line);
}

static int say_sequence(const spans_state *s, int32_t q, const spans_past *past, int32_t *where) {
    const int32_t n = s->sequences[q].units.n;
    for (int32_t level = 0; level < s->levels.n; level++) {
        const psc_bracket *now = spans_tree(s, level, q);
        const psc_bracket *then = past->brackets + (int64_t)level * past->capacity;
        bracket_list closed = {.s = s, .sequence = q}, revised = {.s = s, .sequence = q};
        if (list_changes(&closed, now, n, then, past->n_units, where, 1) ||
            list_changes(&revised, then, past->n_units, now, n, where, 0) ||
            say_list(&closed, level, "closed") || say_list(&revised, level, "revised"))
            return -1;
    }
    return 0;
}

int spans_say_steps(const spans_state *s) {
    int32_t *where = s->host->run_alloc(s->context, ((uint64_t)s->n_units + 1) * sizeof *where);
    if (!where) return -1;
    for (int32_t q = 0; q < s->n_sequences; q++) {
        const psc_reads_sequence *of = &s->reads.sequences[q];
        const spans_past *past = find_past(s, of->sequence);
        char line[120];
        if (of->first == 0 || !past) continue;
        if (past->n == of->first) {
            if (say_sequence(s, q, past, where)) return -1;
            continue;
        }
        snprintf(line, sizeof line, "Sequence %d was cut back to %d positions before this run.",
            (int)of->sequence, (int)of->first);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return 0;
}

/* --- keeping --------------------------------------------------------------------------------- */

static spans_past *make_past(spans_state *s, int32_t sequence) {
    if (s->n_past == s->past_capacity) {
        const int32_t capacity = s->past_capacity ? 2 * s->past_capacity : 8;
        spans_past *past = s->host->life_alloc(s->context, (uint64_t)capacity * sizeof *past);
        if (!past) return NULL;
        if (s->n_past) memcpy(past, s->past, (size_t)s->n_past * sizeof *past);
        s->past = past;
        s->past_capacity = capacity;
    }
    s->past[s->n_past] = (spans_past){.sequence = sequence};
    return &s->past[s->n_past++];
}

int spans_keep_trees(spans_state *s) {
    for (int32_t q = 0; q < s->n_sequences; q++) {
        const spans_sequence *of = &s->sequences[q];
        spans_past *past = find_past(s, s->reads.sequences[q].sequence);
        if (!past && !(past = make_past(s, s->reads.sequences[q].sequence))) return -1;
        if (of->units.n > past->capacity) {
            const int32_t capacity = of->units.n + past->capacity / 2;
            past->brackets = s->host->life_alloc(
                s->context, (uint64_t)s->levels.n * (uint64_t)capacity * sizeof *past->brackets);
            past->capacity = past->brackets ? capacity : 0;
            if (!past->brackets) return -1;
        }
        past->n = s->reads.sequences[q].n;
        past->n_units = of->units.n;
        for (int32_t level = 0; level < s->levels.n; level++)
            if (of->n_spans && past->brackets)
                memcpy(past->brackets + (int64_t)level * past->capacity, spans_tree(s, level, q),
                    (size_t)of->n_spans * sizeof *past->brackets);
    }
    return 0;
}
