/* The budget of the arrays. Patterns and contexts come first, because a reader looks at them most:
 * up to 40 % of the room, in equal parts. Then, from the smallest to the largest (by turn_of), each
 * array takes a small encoding while there is room, and after that each a better one. A page is
 * small where it can be: an array takes a tenth of the room at most, in a corpus a sixth; a twelfth
 * as exact floats; two fifths if it is rounded to bytes. */
#include "page_contexts.h"

#include <stdlib.h>
#include <string.h>

/* --- the list -------------------------------------------------------------------------------- */

static int count_arrays(const psc_results *results, int *sections) {
    int64_t n = psc_results_capture_count(results);
    for (int32_t i = 0; i < psc_results_section_count(results); i++) {
        psc_result_section section = PSC_RESULT_SECTION_INIT;
        if (!psc_results_section_at(&section, results, i, NULL)) n += section.n_arrays;
    }
    *sections += psc_results_section_count(results);
    return (int)n;
}

static void add(
    psc_page_plan *plan, const psc_results *results, int run, int section, const psc_array *view) {
    psc_page_array *array = &plan->arrays[plan->n++];
    *array = (psc_page_array){.view = *view,
        .run = run,
        .section = section,
        .token_ids = psc_results_array_holds_token_ids(results, view->name) != 0};
    psc_page_examine(&array->facts, view);
}

static psc_status add_run(
    psc_page_plan *plan, const psc_results *results, int run, psc_error *error) {
    psc_status status = PSC_OK;
    psc_array view;
    for (int32_t i = 0; !status && i < psc_results_section_count(results); i++) {
        psc_result_section section = PSC_RESULT_SECTION_INIT;
        const int first = plan->n;
        if (psc_results_section_at(&section, results, i, NULL)) continue;
        for (int32_t k = 0; k < section.n_arrays; k++)
            if (!psc_results_array_at(&view, results, i, k, NULL))
                add(plan, results, run, i, &view);
        status = psc_page_group_make(plan, first, results, error);
    }
    for (int32_t k = 0; !status && k < psc_results_capture_count(results); k++)
        if (!psc_results_capture_at(&view, results, k, NULL)) add(plan, results, run, -1, &view);
    return status;
}

psc_status psc_page_plan_make(psc_page_plan *out, const psc_page_source *source, psc_error *error) {
    int n = 0, sections = 0;
    for (int run = 0; run < 2; run++)
        if (source->runs[run]) n += count_arrays(source->runs[run], &sections);
    *out = (psc_page_plan){.arrays = calloc((size_t)n + 1, sizeof *out->arrays),
        .groups = calloc((size_t)sections + 1, sizeof *out->groups)};
    out->is_corpus = psc_results_token_count(source->runs[0]) == 0;
    psc_status status = PSC_OK;
    if (!out->arrays || !out->groups)
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    for (int run = 0; !status && run < 2; run++)
        if (source->runs[run]) status = add_run(out, source->runs[run], run, error);
    if (status) psc_page_plan_free(out);
    return status;
}

void psc_page_plan_free(psc_page_plan *plan) {
    for (int i = 0; i < plan->n_groups; i++) psc_page_group_free(&plan->groups[i]);
    free(plan->groups);
    free(plan->arrays);
    *plan = (psc_page_plan){0};
}

/* --- the choice ------------------------------------------------------------------------------ */

/* Something to choose for: an array, or a group. */
typedef struct item {
    psc_page_array *array; /* null: a group */
    psc_page_group *group;
    int64_t turn, bytes, most; /* turn_of; what its encoding takes so far, and may take */
    int order;
    bool is_first; /* a pattern or contexts */
} item;

static int by_turn(const void *a, const void *b) {
    const item *x = a, *y = b;
    if (x->is_first != y->is_first) return x->is_first ? -1 : 1;
    if (x->turn != y->turn) return x->turn < y->turn ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

/* What decides the turn: elements, of a long last axis only as many as a good TOP keeps. */
static int64_t turn_of(const psc_page_facts *facts) {
    enum { LONG = 128 };
    return facts->slices * (facts->last < LONG ? facts->last : LONG);
}

/* In the order of their turns; *n_first: patterns and contexts. */
static int make_items(item *items, psc_page_plan *plan, int *n_first) {
    int n = 0;
    *n_first = plan->n_groups;
    for (int i = 0; i < plan->n; i++) {
        psc_page_array *array = &plan->arrays[i];
        if (array->group > 0 || array->skipped) continue;
        items[n] = (item){array, NULL, turn_of(&array->facts), 0, 0, n, array->facts.is_pattern};
        *n_first += array->facts.is_pattern;
        n++;
    }
    for (int i = 0; i < plan->n_groups; i++) {
        items[n] = (item){NULL, &plan->groups[i], plan->groups[i].n, 0, 0, n, true};
        n++;
    }
    qsort(items, (size_t)n, sizeof *items, by_turn);
    return n;
}

static int64_t least_of(int64_t a, int64_t b) {
    return a < b ? a : b;
}

static bool is_whole(psc_page_encoding encoding) {
    return encoding.code != PSC_PAGE_TOP && encoding.code != PSC_PAGE_OMITTED;
}

static psc_page_encoding best_of(const psc_page_array *array, int64_t room, int64_t whole) {
    psc_page_encoding best =
        psc_page_choose(&array->facts, &array->view, least_of(room, whole / 12));
    if (is_whole(best)) return best;
    best = psc_page_choose(&array->facts, &array->view, room);
    if (best.code == PSC_PAGE_F32) /* larger than exact floats may be */
        best = psc_page_choose(&array->facts, &array->view, best.bytes - 1);
    return best;
}

/* Chooses an encoding in `room` bytes; returns what it leaves of them. */
static int64_t choose(psc_page_plan *plan, item *one, int64_t room, int64_t whole, bool small) {
    const int64_t most = least_of(room, one->most);
    if (!one->array) {
        one->bytes = psc_page_group_choose(plan, one->group, most);
        return room - one->bytes;
    }
    psc_page_array *array = one->array;
    psc_page_encoding best = small ? psc_page_choose_small(&array->facts, &array->view, most)
                                   : best_of(array, most, whole);
    if (!one->is_first && !is_whole(best)) {
        const psc_page_encoding rounded =
            psc_page_round(&array->facts, &array->view, least_of(room, whole / 5 * 2));
        if (is_whole(rounded)) best = rounded;
    }
    array->encoding = best;
    one->bytes = best.bytes;
    return room - best.bytes;
}

/* Most bytes of an item. */
static int64_t most_of(const psc_page_plan *plan, const item *one, int64_t whole, int n_first) {
    if (one->is_first) return whole / 100 * 40 / n_first;
    return plan->is_corpus ? whole / 6 : whole / 10;
}

psc_status psc_page_plan_choose(psc_page_plan *plan, int64_t room, psc_error *error) {
    item *items = malloc(((size_t)plan->n + (size_t)plan->n_groups + 1) * sizeof *items);
    if (!items) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    const int64_t whole = room;
    int n_first;
    const int n = make_items(items, plan, &n_first);
    for (int i = 0; i < n; i++) {
        items[i].most = most_of(plan, &items[i], whole, n_first);
        room = choose(plan, &items[i], room, whole, !items[i].is_first);
    }
    for (int i = n_first; i < n; i++)
        room = choose(plan, &items[i], room + items[i].bytes, whole, false);
    free(items);
    return PSC_OK;
}

/* --- notes ----------------------------------------------------------------------------------- */

static bool is_of_kind(const psc_page_array *array, int kind) {
    const psc_page_code code = array->encoding.code;
    if (kind == 0) return code == PSC_PAGE_F16;
    if (kind == 1) return code == PSC_PAGE_TOP && !array->facts.is_pattern;
    if (kind == 2) return code == PSC_PAGE_TOP && array->facts.is_pattern;
    if (kind == 3) return code == PSC_PAGE_SLICES;
    if (kind == 4) return code == PSC_PAGE_Q8;
    if (kind == 5) return code == PSC_PAGE_SUMS;
    return code == PSC_PAGE_OMITTED;
}

/* Whether the run beside has an array that a note already names. */
static bool is_repeated(const psc_page_plan *plan, const psc_page_array *array, int kind) {
    if (array->run == 0) return false;
    for (int i = 0; i < plan->n && plan->arrays[i].run == 0; i++)
        if (is_of_kind(&plan->arrays[i], kind) &&
            strcmp(plan->arrays[i].view.name, array->view.name) == 0)
            return true;
    return false;
}

/* "logits.contributions, lens.kl and 3 more arrays"; the number of arrays. */
static int name_arrays(char *out, size_t size, const psc_page_plan *plan, int kind) {
    enum { NAMED = 8 };
    const char *names[NAMED];
    int n = 0;
    size_t used = 0;
    for (int i = 0; i < plan->n; i++) {
        const psc_page_array *array = &plan->arrays[i];
        if (!is_of_kind(array, kind) || is_repeated(plan, array, kind)) continue;
        if (n < NAMED) names[n] = array->view.name;
        n++;
    }
    *out = 0;
    for (int i = 0; i < n && i < NAMED && used < size; i++) {
        const char *between = i == 0 ? "" : i + 1 == n ? " and " : ", ";
        used += (size_t)snprintf(out + used, size - used, "%s%.80s", between, names[i]);
    }
    if (n > NAMED && used < size)
        snprintf(out + used, size - used, " and %d more arrays", n - NAMED);
    return n;
}

/* How many entries per slice the arrays of a kind keep: the fewest, or the most. */
static int kept_of(const psc_page_plan *plan, int kind, bool most) {
    int32_t kept = 0;
    for (int i = 0; i < plan->n; i++) {
        const int32_t own = plan->arrays[i].encoding.kept;
        if (!is_of_kind(&plan->arrays[i], kind)) continue;
        if (kept == 0 || (most ? own > kept : own < kept)) kept = own;
    }
    return kept;
}

bool psc_page_plan_note(char *text, size_t size, const psc_page_plan *plan, int kind) {
    char names[800];
    const int n = name_arrays(names, sizeof names, plan, kind);
    if (n == 0) return false;
    static const char *const formats[PSC_PAGE_NOTES] = {
        "%s %s rounded to 16 bits: an error of at most 0.05 %%.",
        "%s %s only the largest entries here, at least %d per slice, rounded to 16 bits, and the sum "
        "of the rest.",
        "%s %s only entries from 0.005 up here, at most %d per row, rounded to about 1 %%, and the "
        "sum of the rest.",
        "%s %s only some slices here, each whole; tensors.safetensors has all.",
        "%s %s rounded to 8 bits: an error of at most 0.2 %% of each column's range.",
        "%s %s only sums over neurons here; tensors.safetensors has all.",
        "%s %s too large for this page; tensors.safetensors has all."};
    const bool is = kind == 0 || kind == 4 || kind == 6;
    const char *verb = is ? (n == 1 ? "is" : "are") : n == 1 ? "has" : "have";
    snprintf(text, size, formats[kind], names, verb, kept_of(plan, kind, kind == 2));
    return true;
}
