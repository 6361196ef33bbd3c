/* Small helpers of the built-in plugins: figures of summaries, edited runs, an axis of numbers. */
#include "common.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

const char *psc_figure(
    char out[PSC_FIGURE], int width, int precision, double value, const char *unit) {
    if (isnan(value))
        snprintf(out, PSC_FIGURE, "%*s", width > 0 ? width + (int)strlen(unit) : 0, "n/a");
    else
        snprintf(out, PSC_FIGURE, "%*.*f%s", width, precision, value, unit);
    return out;
}

void *psc_kept_alloc(psc_kept *kept, psc_context *context, const psc_host *host, uint64_t bytes) {
    if (kept->at && bytes <= kept->bytes) return kept->at;
    const uint64_t grown = bytes > 2 * kept->bytes ? bytes : 2 * kept->bytes;
    kept->at = host->life_alloc(context, grown);
    kept->bytes = kept->at ? grown : 0;
    return kept->at;
}

const char *psc_probability(char out[PSC_FIGURE], double p) {
    snprintf(out, PSC_FIGURE, p > 0.0 && p < 0.001 ? "%.1g" : "%.3f", p);
    return out;
}

int psc_edits_refused(psc_context *context, const psc_host *host, const char *what) {
    for (int point = 0; point < PSC_POINT_COUNT; point++)
        if (host->has_editor(context, (psc_point)point)) return host->fail(context, "%s", what);
    return 0;
}

const char *psc_bare_token(psc_context *context, const psc_host *host, int32_t token, size_t *n) {
    const char *shown = host->token_text(context, token);
    const size_t all = strlen(shown);
    const int quoted = all >= 2 && shown[0] == '\'' && shown[all - 1] == '\'';
    *n = quoted ? all - 2 : all;
    return shown + quoted;
}

int32_t *psc_token_ids_array(psc_context *context, const psc_host *host, const char *name,
    int32_t n_axes, const char *const *axes) {
    int32_t *ids = host->array(context, name, PSC_I32, n_axes, axes);
    return ids && !host->token_ids(context, name) ? ids : NULL;
}

int psc_count_axis(
    psc_context *context, const psc_host *host, const char *name, int32_t first, int64_t n) {
    int32_t *numbers = host->run_alloc(context, (uint64_t)n * sizeof *numbers + 1);
    if (!numbers) return -1;
    for (int64_t i = 0; i < n; i++) numbers[i] = first + (int32_t)i;
    return host->axis_numbers(context, name, n, numbers);
}

const char *psc_commas(double number, char out[PSC_COUNT]) {
    char digits[24];
    if (!(number >= 0.0 && number < 0x1p63)) { /* a total from a file may be anything */
        snprintf(out, PSC_COUNT, "%.6g", number);
        return out;
    }
    const int n = snprintf(digits, sizeof digits, "%" PRId64, (int64_t)number);
    int at = 0;
    for (int i = 0; i < n; i++) {
        if (i > 0 && (n - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

const char *psc_many(double number, const char *noun, char out[2 * PSC_COUNT]) {
    snprintf(out, 2 * PSC_COUNT, "%s %.24s%s", PSC_COMMAS(number), noun, number == 1.0 ? "" : "s");
    return out;
}
