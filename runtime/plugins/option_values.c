/* Parses option values: words, numbers, rows, layers. The error for any other value names the
 * option and the values that it takes. Fields are written by memcpy, since the host knows a
 * plugin's structure by offsets only. */
#include "plugin_options.h"

#include "suggest.h"

#include <float.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_MODEL = 128 }; /* d_model up to which layers=auto takes all layers */

/* A value of any kind. */
typedef union option_value {
    const char *text;
    int32_t integer;
    uint32_t bits;
    double number;
    psc_filter rows;
    psc_range range;
} option_value;

static size_t size_of_kind(int32_t kind) {
    switch (kind) {
    case PSC_OPTION_TEXT:
        return sizeof(const char *);
    case PSC_OPTION_WORDS:
        return sizeof(uint32_t);
    case PSC_OPTION_NUMBER:
        return sizeof(double);
    case PSC_OPTION_ROWS:
        return sizeof(psc_filter);
    case PSC_OPTION_LAYERS:
    case PSC_OPTION_HEADS:
        return sizeof(psc_range);
    default:
        return sizeof(int32_t);
    }
}

/* A whole number in decimal below 2^31 - 1; null when text does not start with one. */
static const char *parse_whole(const char *text, int32_t *out) {
    int64_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++) {
        value = value * 10 + (*p - '0');
        if (value >= INT32_MAX) return NULL;
    }
    *out = (int32_t)value;
    return p == text ? NULL : p;
}

static bool is_whole(const char *text, double low, double high, int32_t *out) {
    const char *rest = parse_whole(text, out);
    return rest && !*rest && *out >= low && *out <= high;
}

static bool is_number(const char *text, double low, double high, double *out) {
    char *end = NULL;
    *out = strtod(text, &end);
    return end != text && !*end && isfinite(*out) && *out >= low && *out <= high;
}

static int find_word(const char *const *words, const char *text, size_t length) {
    for (int i = 0; words[i]; i++)
        if (strlen(words[i]) == length && strncmp(words[i], text, length) == 0) return i;
    return -1;
}

/* Words joined by +; "all" means every word before it. Returns null, or the first word that is
 * unknown or that an earlier one named. */
static const char *find_words(const char *const *words, const char *text, uint32_t *out) {
    *out = 0;
    for (const char *p = text;; p++) {
        const size_t length = strcspn(p, "+");
        const int which = find_word(words, p, length);
        if (which < 0) return p;
        const uint32_t bits = strcmp(words[which], "all") == 0 ? (1u << which) - 1 : 1u << which;
        if (*out & bits) return p;
        *out |= bits;
        p += length;
        if (!*p) return NULL;
    }
}

/* "A" or "A-B", both included: positions A..B. */
static bool is_range(const char *text, int32_t *first, int32_t *last) {
    const char *rest = parse_whole(text, first);
    *last = *first;
    if (rest && *rest == '-') rest = parse_whole(rest + 1, last);
    return rest && !*rest && *last >= *first;
}

static bool find_rows(const char *text, bool corpus, psc_filter *out) {
    *out = (psc_filter)PSC_FILTER_INIT;
    const bool automatic = strcmp(text, "auto") == 0;
    if (strcmp(text, "all") == 0 || (automatic && corpus)) return true;
    out->rows = PSC_ROWS_LAST;
    if (strcmp(text, "last") == 0 || automatic) return true;
    int32_t last = 0;
    out->rows = PSC_ROWS_RANGE;
    if (!is_range(text, &out->row_begin, &last)) return false;
    out->row_end = last + 1;
    return true;
}

/* A range below n. */
static bool find_range(const char *text, int32_t n, psc_range *out) {
    int32_t last = n - 1;
    out->first = 0;
    if (strcmp(text, "all") != 0 && !is_range(text, &out->first, &last)) return false;
    out->n = last + 1 - out->first;
    return last < n;
}

static bool find_layers(const char *text, const psc_model_info *model, psc_range *out) {
    *out = (psc_range){0, 0};
    if (strcmp(text, "none") == 0) return true;
    if (strcmp(text, "auto") != 0) return find_range(text, model->n_layers, out);
    const bool small = model->d_model <= SMALL_MODEL;
    *out = small ? (psc_range){0, model->n_layers} : (psc_range){(model->n_layers - 1) / 2, 1};
    return true;
}

static bool find_value(const psc_option_description *option, const char *text,
    const psc_option_setting *setting, option_value *out) {
    static const char *const yes_no[] = {"no", "yes", NULL};
    const bool word = option->kind == PSC_OPTION_WORD;
    const psc_model_info *model = setting->model;
    switch (option->kind) {
    case PSC_OPTION_TEXT:
        out->text = text;
        return true;
    case PSC_OPTION_WORD:
    case PSC_OPTION_YES_NO:
        out->integer = find_word(word ? option->words : yes_no, text, strlen(text));
        return out->integer >= 0;
    case PSC_OPTION_WORDS:
        return !find_words(option->words, text, &out->bits);
    case PSC_OPTION_COUNT:
        return is_whole(text, option->low, option->high, &out->integer);
    case PSC_OPTION_NUMBER:
        return is_number(text, option->low, option->high, &out->number);
    case PSC_OPTION_ROWS:
        return find_rows(text, setting->corpus, &out->rows);
    case PSC_OPTION_LAYER:
        return is_whole(text, 0, model->n_layers - 1, &out->integer);
    case PSC_OPTION_LAYERS:
        return find_layers(text, model, &out->range);
    case PSC_OPTION_HEADS:
        return find_range(text, model->n_heads, &out->range);
    default:
        return false;
    }
}

/* "one of a, b, c" */
static void list_words(char *out, size_t size, const psc_option_description *option) {
    const bool several = option->kind == PSC_OPTION_WORDS;
    int used = snprintf(out, size, several ? "one or more of " : "one of ");
    for (int i = 0; option->words[i] && (size_t)used < size; i++)
        used += snprintf(out + used, size - (size_t)used, "%s%s", i ? ", " : "", option->words[i]);
    if (several && (size_t)used < size)
        snprintf(out + used, size - (size_t)used, " joined by +, each once");
}

/* Describes the values that the option takes, for a message. */
static void describe(
    char *out, size_t size, const psc_option_description *option, const psc_model_info *model) {
    switch (option->kind) {
    case PSC_OPTION_WORD:
    case PSC_OPTION_WORDS:
        list_words(out, size, option);
        break;
    case PSC_OPTION_YES_NO:
        snprintf(out, size, "yes or no");
        break;
    case PSC_OPTION_COUNT:
        snprintf(out, size, "a whole number in %.0f..%.0f", option->low, option->high);
        break;
    case PSC_OPTION_NUMBER:
        if (option->low <= -FLT_MAX)
            snprintf(out, size, "a finite number");
        else if (option->high < HUGE_VAL)
            snprintf(out, size, "a number in %g..%g", option->low, option->high);
        else
            snprintf(out, size, "a number of at least %g", option->low);
        break;
    case PSC_OPTION_ROWS:
        snprintf(out, size, "last, all, auto, or positions A or A-B (both included)");
        break;
    case PSC_OPTION_LAYER:
        snprintf(out, size, "a layer, 0 to %d", (int)model->n_layers - 1);
        break;
    case PSC_OPTION_LAYERS:
        snprintf(out, size, "none, all, auto or layers A-B of 0 to %d", (int)model->n_layers - 1);
        break;
    case PSC_OPTION_HEADS:
        snprintf(out, size, "all or heads A-B of 0 to %d", (int)model->n_heads - 1);
        break;
    default:
        snprintf(out, size, "of a kind that this program knows");
    }
}

/* "; did you mean WORD?" for the first of the words joined by + that the option does not take, or
 * "; WORD repeats what an earlier word names". */
static const char *suggest_word(
    char out[PSC_SUGGEST_TEXT], const psc_option_description *option, const char *text) {
    uint32_t bits;
    *out = 0;
    if (option->kind != PSC_OPTION_WORD && option->kind != PSC_OPTION_WORDS) return out;
    if (option->kind == PSC_OPTION_WORDS) text = find_words(option->words, text, &bits);
    const size_t length = strcspn(text, "+");
    if (find_word(option->words, text, length) >= 0) {
        snprintf(
            out, PSC_SUGGEST_TEXT, "; %.*s repeats what an earlier word names", (int)length, text);
        return out;
    }
    psc_suggestion near = psc_suggest(text, length);
    for (int i = 0; option->words[i]; i++) psc_suggest_name(&near, option->words[i]);
    return psc_suggest_text(out, &near, "");
}

psc_status psc_options_read(void *fields, const psc_option *options, int32_t n,
    const psc_plugin *plugin, const psc_option_setting *setting, psc_error *error) {
    for (int32_t i = 0; i < n; i++) {
        const psc_option_description *option = &plugin->options[i];
        option_value value;
        if (!find_value(option, options[i].value, setting, &value)) {
            char takes[256], hint[PSC_SUGGEST_TEXT];
            describe(takes, sizeof takes, option, setting->model);
            return psc_fail(error, PSC_ERROR_INPUT, "plugin %s: %s=%.40s is not %s%s", plugin->name,
                option->key, options[i].value, takes, suggest_word(hint, option, options[i].value));
        }
        if (fields) memcpy((char *)fields + option->offset, &value, size_of_kind(option->kind));
    }
    return PSC_OK;
}
