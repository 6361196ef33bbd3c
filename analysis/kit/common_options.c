/* What options' values say: words, numbers, layers, rows. Whatever they do not say is refused with
 * a sentence that names the option and what it takes. */
#include "common.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A position in decimal; null when text does not start with one or it is past every position. */
static const char *parse_position(const char *text, int32_t *out) {
    int64_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
        if (value >= INT32_MAX) return NULL;
    }
    *out = (int32_t)value;
    return p == text ? NULL : p;
}

int psc_option_word(psc_context *context, const psc_host *host, const char *key, const char *value,
    const char *const *words) {
    char list[128] = "";
    for (int i = 0; words[i]; i++) {
        if (strcmp(value, words[i]) == 0) return i;
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", i ? ", " : "", words[i]);
    }
    host->fail(context, "%s=%.40s is none of %s", key, value, list);
    return -1;
}

int psc_option_words(psc_context *context, const psc_host *host, const char *key, const char *value,
    const char *const *words, uint32_t *out) {
    *out = 0;
    for (const char *p = value;; p++) {
        char item[48]; /* what does not fit is no word */
        const size_t length = strcspn(p, "+");
        snprintf(item, sizeof item, "%.*s", (int)(length < 47 ? length : 47), p);
        const int which = psc_option_word(context, host, key, item, words);
        if (which < 0) return -1;
        *out |= strcmp(item, "all") == 0 ? (1u << which) - 1 : 1u << which;
        p += length;
        if (!*p) return 0;
    }
}

int psc_option_count(psc_context *context, const psc_host *host, const char *key, const char *value,
    int32_t low, int32_t high, int32_t *out) {
    const char *rest = parse_position(value, out);
    if (rest && !*rest && *out >= low && *out <= high) return 0;
    return host->fail(context, "%s=%.40s is not a number in %d..%d", key, value, low, high);
}

int psc_option_number(psc_context *context, const psc_host *host, const char *key,
    const char *value, double low, double *out) {
    char *end = NULL;
    *out = strtod(value, &end);
    if (end != value && !*end && isfinite(*out) && *out >= low) return 0;
    return host->fail(context, "%s=%.40s is not a number of at least %g", key, value, low);
}

int psc_option_layers(psc_context *context, const psc_host *host, const char *key,
    const char *value, int32_t *first, int32_t *n) {
    enum { SMALL_MODEL = 128 }; /* d_model */
    const psc_model_info *model = host->model(context);
    const int automatic = strcmp(value, "auto") == 0;
    *first = *n = 0;
    if (strcmp(value, "none") == 0) return 0;
    *n = model->n_layers;
    if (strcmp(value, "all") == 0 || (automatic && model->d_model <= SMALL_MODEL)) return 0;
    *first = (model->n_layers - 1) / 2;
    *n = 1;
    if (automatic) return 0;
    const char *rest = parse_position(value, first);
    if (rest && !*rest && *first < model->n_layers) return 0;
    return host->fail(context, "%s=%.40s is not none, all, auto or a layer 0 to %d", key, value,
        (int)model->n_layers - 1);
}

int psc_rows_parse(psc_context *context, const psc_host *host, const char *key, const char *value,
    psc_filter *out) {
    const psc_filter all = PSC_FILTER_INIT;
    *out = all;
    if (strcmp(value, "all") == 0) return 0;
    if (strcmp(value, "last") == 0) {
        out->rows = PSC_ROWS_LAST;
        return 0;
    }
    int32_t begin = 0, last = 0;
    const char *rest = parse_position(value, &begin);
    last = begin;
    if (rest && *rest == '-') rest = parse_position(rest + 1, &last);
    if (!rest || *rest || last < begin)
        return host->fail(
            context, "%s=%.40s is not last, all or A-B (positions, both included)", key, value);
    out->rows = PSC_ROWS_RANGE;
    out->row_begin = begin;
    out->row_end = last + 1;
    return 0;
}
