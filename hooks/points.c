/* Hook points: PSC_POINTS as a table, full names, and further properties for the forward pass and
 * the host. */
#include "registry.h"
#include "suggest.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct point_row {
    const char *name, *shape;
    int layered;
} point_row;

static const point_row points[PSC_POINT_COUNT] = {
#define POINT_ROW(id, name, shape, layered) {name, shape, layered},
    PSC_POINTS(POINT_ROW)
#undef POINT_ROW
};

const char *psc_point_suffix(psc_point point) {
    return points[point].name;
}

const char *psc_point_shape(psc_point point) {
    return points[point].shape;
}

bool psc_point_has_layer(psc_point point) {
    return points[point].layered;
}

bool psc_point_has_heads(psc_point point) {
    return points[point].shape[0] == 'H';
}

bool psc_point_has_keys(psc_point point) {
    return strchr(points[point].shape, 'K') != NULL;
}

float psc_point_beyond(psc_point point) {
    return point == PSC_HOOK_ATTN_SCORES ? -INFINITY : 0.0f;
}

/* No default: the compiler then reports a missing point. */
bool psc_point_is_late(psc_point point) {
    switch (point) {
    case PSC_HOOK_EMBED:
    case PSC_HOOK_RESID_PRE:
    case PSC_HOOK_LN1_SCALE:
    case PSC_HOOK_LN1_NORMALIZED:
    case PSC_HOOK_Q:
    case PSC_HOOK_K:
    case PSC_HOOK_V:
    case PSC_HOOK_ROT_K:
    case PSC_POINT_COUNT:
        return false;
    case PSC_HOOK_ROT_Q:
    case PSC_HOOK_ATTN_SCORES:
    case PSC_HOOK_PATTERN:
    case PSC_HOOK_Z:
    case PSC_HOOK_RESULT:
    case PSC_HOOK_ATTN_OUT:
    case PSC_HOOK_RESID_MID:
    case PSC_HOOK_LN2_SCALE:
    case PSC_HOOK_LN2_NORMALIZED:
    case PSC_HOOK_MLP_PRE:
    case PSC_HOOK_MLP_POST:
    case PSC_HOOK_MLP_OUT:
    case PSC_HOOK_RESID_POST:
    case PSC_HOOK_LN_FINAL_SCALE:
    case PSC_HOOK_LN_FINAL_NORMALIZED:
    case PSC_HOOK_LOGITS:
        return true;
    }
    return false;
}

int64_t psc_axis_extent(char letter, const psc_model_info *info, int64_t n_keys) {
    switch (letter) {
#define AXIS(name, member)                                                                         \
    case name:                                                                                     \
        return info->member;
        PSC_AXES(AXIS)
#undef AXIS
    case 'K':
        return n_keys;
    default:
        return 1;
    }
}

void psc_point_name(char *out, size_t size, psc_point point, int32_t layer) {
    if (!psc_point_has_layer(point))
        snprintf(out, size, "%s", points[point].name);
    else if (layer >= 0)
        snprintf(out, size, "blocks.%d.%s", (int)layer, points[point].name);
    else
        snprintf(out, size, "blocks.{l}.%s", points[point].name);
}

/* Parses the text after "blocks.": returns the layer, -2 for '*', or -1 for anything else; *rest
 * starts after the '.'. */
static int32_t parse_layer(const char *text, const char **rest) {
    if (text[0] == '*' && text[1] == '.') {
        *rest = text + 2;
        return -2;
    }
    int32_t layer = 0;
    const char *s = text;
    for (; *s >= '0' && *s <= '9' && layer < 100000; s++) layer = layer * 10 + (*s - '0');
    if (s == text || *s != '.') return -1;
    *rest = s + 1;
    return layer;
}

/* suffix: of name, after its layer if it has one. */
static psc_status refuse_name(
    const char *name, const char *suffix, bool layered, psc_error *error) {
    char hint[PSC_SUGGEST_TEXT], prefix[40];
    psc_suggestion near = psc_suggest(suffix, strlen(suffix));
    const char *block = layered ? name : "blocks.*.";
    for (int i = 0; i < PSC_POINT_COUNT; i++)
        if (points[i].layered || !layered) psc_suggest_name(&near, points[i].name);
    bool in_block = false;
    for (int i = 0; i < PSC_POINT_COUNT; i++)
        if (points[i].name == near.best) in_block = points[i].layered;
    snprintf(prefix, sizeof prefix, "%.*s",
        !in_block ? 0
        : layered ? (int)(suffix - name)
                  : 9,
        block);
    return psc_fail(error, PSC_ERROR_INPUT,
        "unknown hook point '%.100s'%s%s names are like hook_embed, blocks.0.attn.hook_z or "
        "blocks.*.hook_resid_post",
        name, psc_suggest_text(hint, &near, prefix), near.best ? "" : ":");
}

psc_status psc_point_parse(psc_point *point, int32_t *layer, const char *name, psc_error *error) {
    const char *suffix = name;
    *layer = -1;
    bool layered = strncmp(name, "blocks.", 7) == 0;
    if (layered) *layer = parse_layer(name + 7, &suffix);
    for (int i = 0; i < PSC_POINT_COUNT; i++) {
        if (strcmp(points[i].name, suffix) != 0 || points[i].layered != (int)layered) continue;
        if (layered && *layer == -1) break;
        *point = (psc_point)i;
        return PSC_OK;
    }
    return refuse_name(name, suffix, layered && *layer != -1, error);
}
