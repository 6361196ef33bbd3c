/* Levels from a text: level = part + part ..., part = layer | LlayerHhead, levels joined by , or / */
#include "levels.h"

#include <stdio.h>
#include <string.h>

typedef struct level_parser {
    psc_context *context;
    const psc_host *host;
    const char *key, *text;
    const psc_model_info *model;
    const char *at; /* what is left of the text */
} level_parser;

static int refuse(const level_parser *p) {
    return p->host->fail(p->context,
        "%s=%.60s is not each, or levels like 1+2/3 or L2H5 of layers 0..%d and heads 0..%d, each "
        "layer or head once per level",
        p->key, p->text, (int)p->model->n_layers - 1, (int)p->model->n_heads - 1);
}

/* Reads a whole number below end. */
static int parse_number(level_parser *p, int32_t end, int32_t *out) {
    int64_t value = 0;
    const char *from = p->at;
    for (; *p->at >= '0' && *p->at <= '9'; p->at++) {
        value = value * 10 + (*p->at - '0');
        if (value >= end) return -1;
    }
    *out = (int32_t)value;
    return p->at == from ? -1 : 0;
}

static int parse_part(level_parser *p, psc_level_part *out) {
    const int named = *p->at == 'L';
    p->at += named;
    out->head = -1;
    if (parse_number(p, p->model->n_layers, &out->layer)) return -1;
    if (!named || *p->at != 'H') return 0;
    p->at++;
    return parse_number(p, p->model->n_heads, &out->head);
}

/* Inserts a part in ascending order; nonzero if it overlaps another. */
static int insert_part(psc_level_part *parts, int32_t n, psc_level_part new_part) {
    int32_t i = n;
    for (int32_t j = 0; j < n; j++)
        if (parts[j].layer == new_part.layer &&
            (parts[j].head < 0 || new_part.head < 0 || parts[j].head == new_part.head))
            return -1;
    for (; i > 0 && (parts[i - 1].layer > new_part.layer || (parts[i - 1].layer == new_part.layer &&
                                                                parts[i - 1].head > new_part.head));
         i--)
        parts[i] = parts[i - 1];
    parts[i] = new_part;
    return 0;
}

/* Parses one level; parts has room for all of them. */
static int parse_level(level_parser *p, psc_level *level, psc_level_part *parts) {
    const char *from = p->at;
    for (level->n = 0;; p->at++) {
        psc_level_part part;
        if (parse_part(p, &part) || insert_part(parts, level->n, part)) return refuse(p);
        level->n++;
        level->n_heads += part.head < 0 ? p->model->n_heads : 1;
        if (*p->at != '+') break;
    }
    if (*p->at != 0 && *p->at != ',' && *p->at != '/') return refuse(p);
    level->parts = parts;
    char *name = p->host->life_alloc(p->context, (uint64_t)(p->at - from) + 1);
    if (!name) return -1;
    memcpy(name, from, (size_t)(p->at - from));
    level->name = name;
    return 0;
}

static int parse_list(level_parser *p, psc_level *levels, psc_level_part *parts, psc_levels *out) {
    const char **names = (const char **)out->names;
    for (;; p->at++) {
        psc_level *level = &levels[out->n];
        if (parse_level(p, level, parts)) return -1;
        for (int32_t i = 0; i < out->n; i++)
            if (strcmp(names[i], level->name) == 0)
                return p->host->fail(p->context, "%s=%.60s names the level %.40s twice", p->key,
                    p->text, level->name);
        names[out->n++] = level->name;
        parts += level->n;
        if (*p->at == 0) return 0;
    }
}

static int each_layer(level_parser *p, psc_level *levels, psc_level_part *parts, psc_levels *out) {
    const char **names = (const char **)out->names;
    for (int32_t l = 0; l < p->model->n_layers; l++) {
        char *name = p->host->life_alloc(p->context, 12);
        if (!name) return -1;
        snprintf(name, 12, "%d", (int)l);
        parts[l] = (psc_level_part){l, -1};
        levels[l] = (psc_level){names[l] = name, 1, &parts[l], p->model->n_heads};
    }
    out->n = p->model->n_layers;
    return 0;
}

int psc_levels_parse(psc_context *context, const psc_host *host, const char *key, const char *text,
    psc_levels *out) {
    level_parser p = {context, host, key, text, host->model(context), text};
    const int each = strcmp(text, "each") == 0;
    const uint64_t most = each ? (uint64_t)p.model->n_layers : strlen(text) / 2 + 1;
    psc_level *levels = host->life_alloc(context, most * sizeof *levels);
    psc_level_part *parts = host->life_alloc(context, most * sizeof *parts);
    const char **names = host->life_alloc(context, most * sizeof *names);
    if (!levels || !parts || !names) return -1;
    *out = (psc_levels){0, levels, names};
    return each ? each_layer(&p, levels, parts, out) : parse_list(&p, levels, parts, out);
}
