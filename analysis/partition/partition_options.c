/* Options of `partition`: which perturbations, of which components, and the tables that they need.
 *
 * Components are in forward order: embed; then per layer attn_out, its heads, attn_bias, mlp_out.
 * Changes are in their axis's order: steps, lenses, then all components per kind and factor. */
#include "partition.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const kind_names[] = {
    "step", "lens", "frozen_ln", "recomputed_ln", "ablation", NULL};
static const char *const level_names[] = {"layer", "head", NULL};

const psc_option_description partition_options[] = {
    {"rows", "auto", "rows of the changes; auto: last, over a corpus all", PSC_OPTION_ROWS,
        offsetof(partition_state, rows_choice), 0, 0, NULL},
    {"perturbations", "step+lens+frozen_ln+recomputed_ln", "kinds of changes", PSC_OPTION_WORDS,
        offsetof(partition_state, kinds), 0, 0, kind_names},
    {"level", "layer", "components that are changed: layers' sums, or heads", PSC_OPTION_WORDS,
        offsetof(partition_state, levels), 0, 0, level_names},
    {"components", "all", "all of the level, or labels of any level joined by +", PSC_OPTION_TEXT,
        offsetof(partition_state, named), 0, 0, NULL},
    {"alphas", "0", "factors of a component, 0 to 1, joined by +; 0 removes it", PSC_OPTION_TEXT,
        offsetof(partition_state, alphas_text), 0, 0, NULL},
    {0},
};

/* --- lists joined by + ----------------------------------------------------------------------- */

/* Copies the next item of a list and returns the rest; null after the last. An item that is too
 * long is cut, and then matches no known word. */
static const char *next_item(const char *list, char item[PARTITION_LABEL]) {
    if (!list) return NULL;
    const size_t length = strcspn(list, "+");
    snprintf(item, PARTITION_LABEL, "%.*s", (int)(length < 47 ? length : 47), list);
    return list + length;
}

static const char *after_item(const char *rest) {
    return *rest == '+' ? rest + 1 : NULL;
}

static int read_alphas(partition_state *s) {
    char item[PARTITION_LABEL];
    for (const char *at = s->alphas_text; at;) {
        const char *rest = next_item(at, item);
        char *end = item;
        const double alpha = strtod(item, &end);
        const int number = item[0] >= '0' && item[0] <= '9' && !strpbrk(item, "xX") && !*end;
        if (!number || !(alpha >= 0.0 && alpha <= 1.0))
            return s->host->fail(s->context, "alphas=%.40s is not a number from 0 to 1", item);
        if (s->n_alphas == PARTITION_MOST_ALPHAS)
            return s->host->fail(
                s->context, "alphas has more than %d numbers; give fewer", PARTITION_MOST_ALPHAS);
        s->alphas[s->n_alphas++] = alpha;
        at = after_item(rest);
    }
    return 0;
}

/* --- components ------------------------------------------------------------------------------ */

static int add_component(partition_state *s, psc_component_kind kind, int32_t layer, int32_t head) {
    partition_component *c = &s->components[s->n_components++];
    c->kind = kind;
    c->layer = layer;
    c->head = head;
    c->label = s->host->label(s->context, kind, layer < 0 ? 0 : layer, head < 0 ? 0 : head);
    return c->label ? 0 : -1;
}

static int add_layer(partition_state *s, int32_t layer, const int level[2]) {
    if (level[0] && add_component(s, PSC_COMPONENT_ATTN_OUT, layer, -1)) return -1;
    for (int32_t h = 0; level[1] && h < s->n_heads; h++)
        if (add_component(s, PSC_COMPONENT_HEAD, layer, h)) return -1;
    if (level[1] && add_component(s, PSC_COMPONENT_ATTN_BIAS, layer, -1)) return -1;
    return add_component(s, PSC_COMPONENT_MLP_OUT, layer, -1);
}

/* Lists all components of the levels. */
static int list_components(partition_state *s, const int level[2]) {
    const uint64_t most = 1 + (uint64_t)s->n_layers * ((uint64_t)s->n_heads + 3);
    s->components = s->host->life_alloc(s->context, most * sizeof *s->components);
    if (!s->components || add_component(s, PSC_COMPONENT_EMBED, -1, -1)) return -1;
    for (int32_t l = 0; l < s->n_layers; l++)
        if (add_layer(s, l, level)) return -1;
    return 0;
}

/* Keeps the named components, in forward order. */
static int choose_components(partition_state *s) {
    char item[PARTITION_LABEL];
    int *chosen = s->host->life_alloc(s->context, (uint64_t)s->n_components * sizeof *chosen);
    if (!chosen) return -1;
    for (const char *at = s->named; at;) {
        const char *rest = next_item(at, item);
        int32_t c = 0;
        while (c < s->n_components && strcmp(s->components[c].label, item) != 0) c++;
        if (c == s->n_components)
            return s->host->fail(s->context,
                "components=%.40s is not a component of this model with %d layers and %d heads; "
                "labels are embed, L0H0, 0_attn_out, 0_attn_bias, 0_mlp_out and so on",
                item, (int)s->n_layers, (int)s->n_heads);
        chosen[c] = 1;
        at = after_item(rest);
    }
    int32_t kept = 0;
    for (int32_t c = 0; c < s->n_components; c++)
        if (chosen[c]) s->components[kept++] = s->components[c];
    s->n_components = kept;
    return 0;
}

/* --- changes --------------------------------------------------------------------------------- */

static partition_change *add_change(partition_state *s, int32_t kind, int32_t at) {
    partition_change *change = &s->changes[s->n_changes++];
    change->kind = kind;
    change->at = at;
    return change;
}

static void add_component_changes(partition_state *s, int32_t kind) {
    for (int32_t a = 0; a < s->n_alphas; a++) {
        for (int32_t c = 0; c < s->n_components; c++) {
            partition_change *change = add_change(s, kind, c);
            const char *label = s->components[c].label;
            change->alpha = a;
            if (s->alphas[a] == 0.0)
                snprintf(change->label, PARTITION_LABEL, "%s:%.24s", kind_names[kind], label);
            else
                snprintf(change->label, PARTITION_LABEL, "%s:%.18s*%.4g", kind_names[kind], label,
                    s->alphas[a]);
        }
    }
}

static int list_changes(partition_state *s) {
    const uint64_t most =
        2 * (uint64_t)s->n_layers + 3 * (uint64_t)s->n_components * (uint64_t)s->n_alphas;
    s->changes = s->host->life_alloc(s->context, most * sizeof *s->changes);
    if (!s->changes) return -1;
    for (int32_t kind = 0; kind < PARTITION_KINDS; kind++) {
        s->first[kind] = s->n_changes;
        if (!s->asked[kind]) continue;
        if (kind >= PARTITION_FROZEN) add_component_changes(s, kind);
        for (int32_t l = 0; kind < PARTITION_FROZEN && l < s->n_layers; l++)
            snprintf(add_change(s, kind, l)->label, PARTITION_LABEL,
                kind == PARTITION_STEP ? "step:%d" : "lens:%d_pre", (int)l);
    }
    return 0;
}

/* --- vectors --------------------------------------------------------------------------------- */

static void add_vector(
    partition_state *s, int32_t kind, int32_t layer, int32_t head, int32_t component) {
    s->vectors[s->n_vectors++] = (partition_vector){kind, layer, head, component};
}

/* The component that is this write, or -1; none where only ablations are requested. */
static int32_t component_of(const partition_state *s, int32_t kind, int32_t layer) {
    if (!s->asked[PARTITION_FROZEN] && !s->asked[PARTITION_RECOMPUTED]) return -1;
    for (int32_t c = 0; c < s->n_components; c++)
        if (s->components[c].kind == kind && s->components[c].layer == layer) return c;
    return -1;
}

/* The writes below the earlier lenses, then the components that are none of them. */
static int list_vectors(partition_state *s) {
    const uint64_t most = 2 * (uint64_t)s->n_layers + (uint64_t)s->n_components;
    const int measured = s->asked[PARTITION_FROZEN] || s->asked[PARTITION_RECOMPUTED];
    s->vectors = s->host->life_alloc(s->context, most * sizeof *s->vectors);
    if (!s->vectors) return -1;
    for (int32_t l = -1; s->n_lenses > 1 && l < s->n_layers - 1; l++) {
        const int32_t embed = PSC_COMPONENT_EMBED, attn = PSC_COMPONENT_ATTN_OUT;
        const int32_t first = l < 0 ? embed : attn, mlp = PSC_COMPONENT_MLP_OUT;
        add_vector(s, first, l, -1, component_of(s, first, l));
        if (l >= 0) add_vector(s, mlp, l, -1, component_of(s, mlp, l));
    }
    s->n_lens_vectors = s->n_vectors;
    for (int32_t c = 0; measured && c < s->n_components; c++) {
        int listed = 0;
        for (int32_t v = 0; v < s->n_lens_vectors; v++) listed |= s->vectors[v].component == c;
        const partition_component *own = &s->components[c];
        if (!listed) add_vector(s, own->kind, own->layer, own->head, c);
    }
    return 0;
}

/* --- memory ---------------------------------------------------------------------------------- */

static int reserve(partition_state *s) {
    const psc_host *host = s->host;
    const uint64_t n = (uint64_t)s->n_dims, v = (uint64_t)s->n_vocab * sizeof(float);
    const uint64_t lenses = (uint64_t)s->n_lenses, heads = (uint64_t)s->n_heads;
    const int32_t least = s->n_lens_vectors + 1;
    s->n_items = least > PARTITION_ITEMS ? least : PARTITION_ITEMS;
    s->n_groups = (s->n_vocab + 255) / 256 * 16;
    const uint64_t items = (uint64_t)s->n_items;
    s->before = host->life_alloc(s->context, lenses * sizeof *s->before);
    s->z = host->life_alloc(s->context, lenses * v);
    s->lens_ratios = host->life_alloc(s->context, lenses * sizeof *s->lens_ratios);
    s->x = host->life_alloc(s->context, items * n * sizeof(float));
    s->y = host->life_alloc(s->context, items * v);
    s->heads = host->life_alloc(s->context, heads * heads * (uint64_t)s->d_head * sizeof(float));
    s->writes = host->life_alloc(s->context, (items + heads) * n * sizeof(float));
    s->parts = host->life_alloc(s->context, 2 * items * sizeof(double));
    s->finals = host->life_alloc(s->context, 3 * items * sizeof(double));
    s->measures = host->life_alloc(s->context, ((uint64_t)s->n_changes + 1) * sizeof *s->measures);
    if (!s->before || !s->z || !s->lens_ratios || !s->x || !s->y || !s->heads || !s->writes ||
        !s->parts || !s->finals || !s->measures)
        return -1;
    for (int32_t i = 0; i < s->n_lenses; i++)
        if (partition_before_reserve(s, &s->before[i])) return -1;
    return 0;
}

int partition_options_read(partition_state *s) {
    const int all = strcmp(s->named, "all") == 0;
    if (read_alphas(s)) return -1;
    for (int kind = 0; kind < PARTITION_KINDS; kind++) s->asked[kind] = (int)(s->kinds >> kind & 1);
    const int level[2] = {!all || (s->levels & 1), !all || (s->levels & 2)};
    if (list_components(s, level) || (!all && choose_components(s))) return -1;
    const int lenses = s->asked[PARTITION_STEP] || s->asked[PARTITION_LENS];
    s->n_lenses = lenses ? (int32_t)s->n_layers + 1 : 1;
    return list_changes(s) || list_vectors(s) || reserve(s) ? -1 : 0;
}
