/* Mates and controls, from the labels alone.
 *
 *   pair (a, b): the same group, another form; both orders
 *   control of (a, b): c with b's tag and number of tokens, another group, and
 *   |log(frequency of c / frequency of b)| < 0.7, drawn with equal chances */
#include "forms.h"

#include <stdlib.h>
#include <string.h>

#define RATIO 2.0137527074704766 /* exp(0.7) */

/* SplitMix64, and a number below n by multiplication (n < 2^31: biased by less than 2^-33). */
static uint64_t draw(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static int32_t draw_below(uint64_t *state, int32_t n) {
    return (int32_t)(((draw(state) >> 32) * (uint64_t)n) >> 32);
}

/* --- groups and tags as numbers, in the order of their bytes ---------------------------------- */

typedef struct named {
    const char *name;
    int32_t index;
} named;

static int compare_named(const void *a, const void *b) {
    const named *x = a, *y = b;
    const int order = strcmp(x->name, y->name);
    return order ? order : (x->index > y->index) - (x->index < y->index);
}

/* Sorts the entries by name; order [n] and begin [groups + 1] are made by run_alloc. */
static int number_names(
    forms_state *s, int by_group, int32_t *n_names, int32_t **order, int32_t **begin) {
    named *list = s->host->run_alloc(s->context, (uint64_t)s->n * sizeof *list);
    *order = s->host->run_alloc(s->context, (uint64_t)s->n * sizeof **order);
    *begin = s->host->run_alloc(s->context, ((uint64_t)s->n + 1) * sizeof **begin);
    if (!list || !*order || !*begin) return -1;
    for (int32_t i = 0; i < s->n; i++)
        list[i] = (named){by_group ? forms_at(s, i)->group : forms_at(s, i)->tag, i};
    qsort(list, (size_t)s->n, sizeof *list, compare_named);
    *n_names = 0;
    for (int32_t i = 0; i < s->n; i++) {
        if (i == 0 || strcmp(list[i].name, list[i - 1].name) != 0) (*begin)[(*n_names)++] = i;
        forms_entry *e = forms_at(s, list[i].index);
        *(by_group ? &e->group_id : &e->tag_id) = *n_names - 1;
        (*order)[i] = list[i].index;
    }
    (*begin)[*n_names] = s->n;
    return 0;
}

/* --- pairs ------------------------------------------------------------------------------------ */

static int is_pair(const forms_state *s, int32_t a, int32_t b) {
    return a != b && strcmp(forms_at(s, a)->form, forms_at(s, b)->form) != 0;
}

/* Counts the pairs of all groups, or writes them. */
static int64_t list_pairs(
    forms_state *s, const int32_t *order, const int32_t *begin, forms_pair *out) {
    int64_t n = 0;
    for (int32_t g = 0; g < s->n_groups; g++)
        for (int32_t i = begin[g]; i < begin[g + 1]; i++)
            for (int32_t j = begin[g]; j < begin[g + 1]; j++) {
                const int32_t a = order[i], b = order[j];
                if (!is_pair(s, a, b)) continue;
                const int32_t x = forms_at(s, a)->tokens, y = forms_at(s, b)->tokens;
                if (out) out[n] = (forms_pair){a, b, 0, x > y ? x : y};
                if (++n > FORMS_PAIRS) return n;
            }
    return n;
}

typedef struct tagged {
    int64_t tags; /* form's tag * tags + mate's */
    forms_pair pair;
} tagged;

static int compare_tagged(const void *a, const void *b) {
    const tagged *x = a, *y = b;
    if (x->tags != y->tags) return x->tags < y->tags ? -1 : 1;
    if (x->pair.form != y->pair.form) return x->pair.form < y->pair.form ? -1 : 1;
    return (x->pair.mate > y->pair.mate) - (x->pair.mate < y->pair.mate);
}

/* Orders the pairs by their tags and numbers the pairs of tags. */
static int group_pairs(forms_state *s) {
    const uint64_t n = (uint64_t)s->n_pairs;
    tagged *list = s->host->run_alloc(s->context, (n + 1) * sizeof *list);
    s->pair_begin = s->host->run_alloc(s->context, (n + 1) * sizeof *s->pair_begin);
    if (!list || !s->pair_begin) return -1;
    for (int32_t p = 0; p < s->n_pairs; p++) {
        const forms_pair *pair = &s->pairs[p];
        list[p].pair = *pair;
        list[p].tags =
            (int64_t)forms_at(s, pair->form)->tag_id * s->n_tags + forms_at(s, pair->mate)->tag_id;
    }
    qsort(list, (size_t)n, sizeof *list, compare_tagged);
    s->n_tag_pairs = 0;
    for (int32_t p = 0; p < s->n_pairs; p++) {
        if (p == 0 || list[p].tags != list[p - 1].tags) s->pair_begin[s->n_tag_pairs++] = p;
        s->pairs[p] = list[p].pair;
        s->pairs[p].tags = s->n_tag_pairs - 1;
    }
    s->pair_begin[s->n_tag_pairs] = s->n_pairs;
    return 0;
}

/* --- controls --------------------------------------------------------------------------------- */

static int is_control(const forms_entry *c, const forms_entry *mate) {
    return c->tokens == mate->tokens && c->group_id != mate->group_id &&
           c->frequency < mate->frequency * RATIO && mate->frequency < c->frequency * RATIO;
}

/* found: [n] for the call's use. */
static void draw_controls(forms_state *s, int32_t p, uint64_t *state, int32_t *found) {
    const forms_entry *mate = forms_at(s, s->pairs[p].mate);
    int32_t n = 0;
    for (int32_t i = s->tag_begin[mate->tag_id]; i < s->tag_begin[mate->tag_id + 1]; i++)
        if (is_control(forms_at(s, s->by_tag[i]), mate)) found[n++] = s->by_tag[i];
    for (int32_t d = 0; d < s->draws; d++)
        s->control[(int64_t)p * s->draws + d] = n > 0 ? found[draw_below(state, n)] : -1;
}

int forms_find_pairs(forms_state *s) {
    const psc_host *host = s->host;
    int32_t *order, *begin;
    uint64_t state = (uint64_t)s->seed;
    s->n_pairs = s->n_tag_pairs = 0;
    if (number_names(s, 0, &s->n_tags, &s->by_tag, &s->tag_begin) ||
        number_names(s, 1, &s->n_groups, &order, &begin))
        return -1;
    for (int32_t g = 0; g < s->n_groups; g++)
        if (begin[g + 1] - begin[g] > FORMS_GROUP)
            return host->fail(s->context, "group '%.60s' has %d forms; the most is %d",
                forms_at(s, order[begin[g]])->group, (int)(begin[g + 1] - begin[g]),
                (int)FORMS_GROUP);
    const int64_t n = list_pairs(s, order, begin, NULL);
    if (n > FORMS_PAIRS)
        return host->fail(s->context,
            "the list has more than %d pairs of forms; make its groups smaller", (int)FORMS_PAIRS);
    s->n_pairs = (int32_t)n;
    if (forms_check_memory(s, s->n)) return -1;
    s->pairs = host->run_alloc(s->context, ((uint64_t)n + 1) * sizeof *s->pairs);
    s->control =
        host->run_alloc(s->context, ((uint64_t)n + 1) * (uint64_t)s->draws * sizeof *s->control);
    int32_t *found = host->run_alloc(s->context, (uint64_t)s->n * sizeof *found);
    if (!s->pairs || !s->control || !found) return -1;
    list_pairs(s, order, begin, s->pairs);
    if (group_pairs(s) || forms_check_memory(s, s->n)) return -1;
    for (int32_t p = 0; p < s->n_pairs; p++) draw_controls(s, p, &state, found);
    return 0;
}
