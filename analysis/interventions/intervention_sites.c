/* Where an edit acts: component labels and hook points, joined by '+'; '*' means every layer or
 * every head.
 *
 *   embed -> hook_embed   L0H3 -> blocks.0.attn.hook_z of head 3 (its write is W_O z)
 *   0_attn_out, 0_mlp_out -> their hook points   L0N12 -> blocks.0.mlp.hook_post at neuron 12
 *
 * A cut of attention acts on blocks.0.attn.hook_attn_scores of the heads named. */
#include "intervention.h"

#include <stdio.h>
#include <string.h>

enum { ALL = -1, MAX_SITES = 65536 };

typedef struct point_row {
    const char *name, *shape;
    int layered;
} point_row;

static const point_row POINTS[PSC_POINT_COUNT] = {
#define POINT_ROW(id, name, shape, layered) {name, shape, layered},
    PSC_POINTS(POINT_ROW)
#undef POINT_ROW
};

/* A place as written; ALL for a '*' or a missing number. */
typedef struct place {
    psc_point point;
    int32_t layer, head, neuron;
} place;

void intervention_point_name(const intervention_site *site, char *out, uint64_t size) {
    const point_row *row = &POINTS[site->point];
    if (row->layered)
        snprintf(out, size, "blocks.%d.%s", (int)site->layer, row->name);
    else
        snprintf(out, size, "%s", row->name);
}

void intervention_site_name(const intervention_site *site, char *out, uint64_t size) {
    char point[64];
    intervention_point_name(site, point, sizeof point);
    if (site->head >= 0 && site->point == PSC_HOOK_Z)
        snprintf(out, size, "L%dH%d", (int)site->layer, (int)site->head);
    else if (site->head >= 0)
        snprintf(out, size, "%s.H%d", point, (int)site->head);
    else
        snprintf(out, size, "%s", point);
}

/* --- reading names --------------------------------------------------------------------------- */

/* Reads a number below 10^8 or '*'; null if text starts with neither. */
static const char *take_number(const char *text, int32_t *out) {
    if (*text == '*') {
        *out = ALL;
        return text + 1;
    }
    int32_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9' && p - text < 8; p++) value = value * 10 + (*p - '0');
    *out = value;
    return p == text || (*p >= '0' && *p <= '9') ? NULL : p;
}

/* L0H3 or L0N12. */
static int take_unit(const char *name, place *out) {
    const char *p = name[0] == 'L' ? take_number(name + 1, &out->layer) : NULL;
    if (!p || (*p != 'H' && *p != 'N')) return 0;
    int32_t unit = 0;
    const char *end = take_number(p + 1, &unit);
    if (!end || *end) return 0;
    out->point = *p == 'H' ? PSC_HOOK_Z : PSC_HOOK_MLP_POST;
    out->head = *p == 'H' ? unit : ALL;
    out->neuron = *p == 'N' ? unit : ALL;
    return 1;
}

/* 0_attn_out or 0_mlp_out. */
static int take_sum(const char *name, place *out) {
    const char *p = take_number(name, &out->layer);
    if (!p || (strcmp(p, "_attn_out") != 0 && strcmp(p, "_mlp_out") != 0)) return 0;
    out->point = p[1] == 'a' ? PSC_HOOK_ATTN_OUT : PSC_HOOK_MLP_OUT;
    return 1;
}

static int take_point(const char *name, place *out) {
    const int layered = strncmp(name, "blocks.", 7) == 0;
    const char *suffix = name;
    if (layered) {
        suffix = take_number(name + 7, &out->layer);
        if (!suffix || *suffix++ != '.') return 0;
    }
    for (int i = 0; i < PSC_POINT_COUNT; i++) {
        if (POINTS[i].layered != layered || strcmp(POINTS[i].name, suffix) != 0) continue;
        out->point = (psc_point)i;
        return 1;
    }
    return 0;
}

static int is_inside(const place *p, const psc_model_info *m) {
    return p->layer < m->n_layers && p->head < m->n_heads && p->neuron < m->d_mlp;
}

/* "; did you mean L3H7?" for l3h7, or "". */
static void suggest_unit(char out[64], const char *name, const psc_model_info *m) {
    char upper[24] = "";
    place unit = {PSC_HOOK_EMBED, ALL, ALL, ALL};
    *out = 0;
    if (strlen(name) >= sizeof upper) return;
    for (size_t i = 0; name[i]; i++) {
        upper[i] = name[i];
        if (strchr("lhn", name[i])) upper[i] = (char)(name[i] - 32);
    }
    if (take_unit(upper, &unit) && is_inside(&unit, m))
        snprintf(out, 64, "; did you mean %s?", upper);
}

static int unknown(const intervention *self, const char *name) {
    const psc_model_info *m = self->host->model(self->context);
    const int l = (int)m->n_layers - 1;
    char hint[64];
    suggest_unit(hint, name, m);
    return self->host->fail(self->context,
        "at=%.60s is not a component of this model%s%s it has embed, heads L0H0 to L%dH%d, neurons "
        "L0N0 to L%dN%d, 0_attn_out to %d_attn_out, 0_mlp_out to %d_mlp_out, and hook points like "
        "blocks.0.hook_resid_pre",
        name, hint, *hint ? "" : ":", l, (int)m->n_heads - 1, l, (int)m->d_mlp - 1, l, l);
}

static int take_place(const intervention *self, const char *name, place *out) {
    const psc_model_info *m = self->host->model(self->context);
    *out = (place){PSC_HOOK_EMBED, ALL, ALL, ALL};
    if (strcmp(name, "embed") != 0 && !take_unit(name, out) && !take_sum(name, out) &&
        !take_point(name, out))
        return unknown(self, name);
    if (!is_inside(out, m)) return unknown(self, name);
    if (out->point == PSC_HOOK_RESID_MID && m->parallel_residual)
        return self->host->fail(self->context,
            "at=%.60s: this model has no hook_resid_mid, because its attention and MLP read the "
            "same residual",
            name);
    return 0;
}

/* --- sites ----------------------------------------------------------------------------------- */

int32_t intervention_site_heads(const intervention_site *site) {
    if (POINTS[site->point].shape[0] != 'H') return 0;
    return site->head >= 0 ? 1 : site->owner->host->model(site->owner->context)->n_heads;
}

static int64_t site_width(const psc_model_info *m, const place *p) {
    int64_t width = 1;
    for (const char *axis = POINTS[p->point].shape; *axis && p->neuron < 0; axis++) {
        if (*axis == 'K') return 0;
#define AXIS(letter, member)                                                                       \
    if (*axis == letter) width *= letter == 'H' && p->head >= 0 ? 1 : m->member;
        PSC_AXES(AXIS)
#undef AXIS
    }
    return width;
}

static int add_site(intervention *self, const place *p) {
    const psc_host *host = self->host;
    if (self->n_sites == self->capacity) {
        const int32_t capacity = self->capacity ? 2 * self->capacity : 8;
        if (capacity > MAX_SITES)
            return host->fail(self->context, "at= names too many places; narrow it");
        intervention_site *sites =
            host->life_alloc(self->context, (uint64_t)capacity * sizeof *sites);
        if (!sites) return -1;
        if (self->n_sites) memcpy(sites, self->sites, (size_t)self->n_sites * sizeof *sites);
        self->sites = sites;
        self->capacity = capacity;
    }
    const intervention_site site = {.owner = self,
        .point = p->point,
        .layer = p->layer,
        .head = p->head,
        .neuron = p->neuron,
        .width = site_width(host->model(self->context), p)};
    self->sites[self->n_sites++] = site;
    return 0;
}

static int is_within(const psc_range *range, int32_t i) {
    return i >= range->first && i < range->first + range->n;
}

/* Adds one site per layer, or one per head if heads= selects some. */
static int add_layers(intervention *self, const place *written) {
    const psc_model_info *m = self->host->model(self->context);
    const int layered = POINTS[written->point].layered;
    const int some_heads = self->heads.n < m->n_heads;
    for (int32_t l = 0; l < (layered ? m->n_layers : 1); l++) {
        place p = *written;
        if (layered && written->layer >= 0 && written->layer != l) continue;
        if (layered && (!is_within(&self->layers, l))) continue;
        p.layer = layered ? l : -1;
        if (POINTS[p.point].shape[0] != 'H' || p.head >= 0 || !some_heads) {
            const int out = p.head >= 0 && !is_within(&self->heads, p.head);
            if (!out && add_site(self, &p)) return -1;
            continue;
        }
        for (p.head = self->heads.first; is_within(&self->heads, p.head); p.head++)
            if (add_site(self, &p)) return -1;
    }
    return 0;
}

/* Checks that the kind can act at this place. */
static int check_place(const intervention *self, place *p, const char *name) {
    const psc_host *host = self->host;
    if (self->kind == INTERVENTION_KNOCKOUT) {
        if (p->point != PSC_HOOK_Z && p->point != PSC_HOOK_ATTN_SCORES)
            return host->fail(
                self->context, "at=%.60s: a knockout acts on heads only: L0H3, L0H* or L*H*", name);
        p->point = PSC_HOOK_ATTN_SCORES;
        return 0;
    }
    const int keys = strchr(POINTS[p->point].shape, 'K') != NULL;
    if (self->kind == INTERVENTION_DIRECTION && (keys || p->neuron >= 0))
        return host->fail(self->context,
            keys ? "at=%.60s: its width is the number of keys, so a direction cannot act there"
                 : "at=%.60s is one number, in which there are no directions; use mlp.hook_post",
            name);
    if (keys && self->values != VALUES_NONE &&
        (self->values != VALUES_ROWS || self->by == BY_RESAMPLE))
        return host->fail(self->context,
            "at=%.60s: its width is the number of keys, so a vector cannot act there; use by=zero, "
            "scale, patch or knockout",
            name);
    return 0;
}

int intervention_parse_sites(intervention *self) {
    const char *p = self->at;
    if (!*p)
        return self->host->fail(self->context, "at= is missing; name a component or a hook point");
    for (;;) {
        char name[128];
        place written;
        const size_t length = strcspn(p, "+");
        if (length >= sizeof name) return unknown(self, p);
        memcpy(name, p, length);
        name[length] = 0;
        if (take_place(self, name, &written) || check_place(self, &written, name) ||
            add_layers(self, &written))
            return -1;
        if (!p[length]) break;
        p += length + 1;
    }
    if (self->n_sites > 0) return 0;
    return self->host->fail(
        self->context, "at=%.60s: layers= and heads= leave no place to edit", self->at);
}
