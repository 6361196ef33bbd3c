/* The printed summary of one run: what each level's trees share with others, some brackets, and in
 * a continued sequence what the new rows closed and revised. */
#include "spans.h"

#include <stdio.h>
#include <string.h>

/* --- texts ----------------------------------------------------------------------------------- */

/* Removes the quotes of a unit's text. */
static int bare(const char *text, const char **out) {
    const int n = (int)strlen(text), quoted = n >= 2 && text[0] == '\'' && text[n - 1] == '\'';
    *out = text + quoted;
    return n - 2 * quoted;
}

int spans_bracket_text(
    const spans_state *s, int32_t sequence, const psc_bracket *b, char out[SPANS_TEXT]) {
    enum { MOST = 60 };
    const spans_sequence *q = &s->sequences[sequence];
    int n = snprintf(
        out, SPANS_TEXT, "[%d,%d] \"", (int)spans_first(q, b->begin), (int)spans_last(q, b->end));
    for (int32_t u = b->begin; u <= b->end; u++) {
        const char *text = spans_unit_text(s, sequence, u), *piece;
        if (!text) return -1;
        const int length = bare(text, &piece), skip = u == b->begin && piece[0] == ' ';
        if (n + length > MOST) {
            n += snprintf(out + n, (size_t)(SPANS_TEXT - n), "...");
            break;
        }
        n += snprintf(out + n, (size_t)(SPANS_TEXT - n), "%.*s", length - skip, piece + skip);
    }
    snprintf(out + n, (size_t)(SPANS_TEXT - n), "\"");
    return 0;
}

/* --- the whole ------------------------------------------------------------------------------- */

int spans_say_prior(const spans_state *s) {
    char line[200];
    snprintf(line, sizeof line,
        "Prior: under uniform attention power=0.5 gives right-branching trees, power=1 "
        "left-branching ones; here power=%g.",
        s->power);
    return s->host->summary_text(s->context, line);
}

int spans_say_level(const spans_state *s, int32_t level, double n, const double *overlap) {
    char line[240];
    if (!(n > 0.0)) {
        snprintf(
            line, sizeof line, "level %.40s: no brackets inside the whole", s->levels.names[level]);
        return s->host->summary_text(s->context, line);
    }
    snprintf(line, sizeof line,
        "level %-8.40s %.0f brackets; shared with right-branching %.3f, left- %.3f, balanced %.3f, "
        "a random tree %.3f",
        s->levels.names[level], n, overlap[PRIOR_RIGHT], overlap[PRIOR_LEFT],
        overlap[PRIOR_BALANCED], overlap[PRIOR_RANDOM]);
    return s->host->summary_text(s->context, line);
}

static int say_prefixes(const spans_state *s, int32_t level) {
    char line[200];
    const double *stood = s->stood + 3 * level;
    if (!(stood[0] > 0.0) || !(s->n_inner > 0.0)) return 0;
    snprintf(line, sizeof line,
        "level %-8.40s %.3f of the closed brackets of prefixes stand at the end; brackets stand "
        "after %.2f tokens",
        s->levels.names[level], stood[1] / stood[0], stood[2] / s->n_inner);
    return s->host->summary_text(s->context, line);
}

/* The first brackets inside the whole, in pre-order. */
static int list_brackets(const spans_state *s, int32_t level) {
    char line[SPANS_TEXT * 68], text[SPANS_TEXT];
    const psc_bracket *tree = spans_tree(s, level, 0);
    const int32_t n = s->sequences[0].n_spans;
    int used = snprintf(line, sizeof line, "level %.40s:", s->levels.names[level]);
    for (int32_t i = 1; i < n && i <= s->top; i++) {
        if (spans_bracket_text(s, 0, &tree[i], text)) return -1;
        used += snprintf(line + used, sizeof line - (size_t)used, "%s %s", i > 1 ? "," : "", text);
    }
    if (n - 1 > s->top)
        snprintf(line + used, sizeof line - (size_t)used, " and %d more", (int)(n - 1 - s->top));
    return s->host->summary_text(s->context, line);
}

int spans_summary(spans_state *s) {
    if (spans_say_prior(s)) return -1;
    for (int32_t level = 0; level < s->levels.n; level++) {
        double overlap[PRIOR_COUNT];
        for (int p = 0; p < PRIOR_COUNT; p++)
            overlap[p] = s->overlap[level * PRIOR_COUNT + p] / s->n_inner;
        if (spans_say_level(s, level, s->n_inner, overlap)) return -1;
        if (s->prefixes && say_prefixes(s, level)) return -1;
    }
    const int listed = s->n_sequences == 1 && s->sequences[0].n_spans > 1 && s->top > 0;
    for (int32_t level = 0; level < s->levels.n && listed && !s->appended; level++)
        if (list_brackets(s, level)) return -1;
    return spans_say_steps(s) ? -1 : spans_keep_trees(s);
}
