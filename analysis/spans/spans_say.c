/* Texts of units and brackets, and the sentences that a run and a corpus share. */
#include "spans.h"

#include <stdio.h>
#include <string.h>

/* --- texts ----------------------------------------------------------------------------------- */

/* A token's own bytes, since tokens split characters; with control characters, or without bytes,
 * its shown text without the quotes. */
static const char *token_piece(const spans_state *s, int32_t token, size_t *length) {
    uint64_t n = 0;
    const char *bytes = s->host->token_bytes(s->context, token, &n);
    *length = (size_t)n;
    for (uint64_t i = 0; bytes && i < n; i++)
        if ((unsigned char)bytes[i] < 0x20 || bytes[i] == 0x7f) bytes = NULL;
    if (bytes) return bytes;
    const char *text = s->host->token_text(s->context, token);
    const size_t all = strlen(text);
    const int quoted = all >= 2 && text[0] == '\'' && text[all - 1] == '\'';
    *length = all - (quoted ? 2 : 0);
    return text + quoted;
}

const char *spans_unit_text(const spans_state *s, int32_t sequence, int32_t unit) {
    enum { MOST = 200 };
    const spans_sequence *q = &s->sequences[sequence];
    const int32_t *tokens = s->reads.sequences[sequence].tokens;
    const int32_t first = spans_first(q, unit), last = spans_last(q, unit);
    if (first == last) return s->host->token_text(s->context, tokens[first]);
    char *out = s->host->run_alloc(s->context, MOST + 3);
    if (!out) return NULL;
    size_t used = 1, length;
    out[0] = '\'';
    for (int32_t t = first; t <= last && used < MOST; t++) {
        const char *piece = token_piece(s, tokens[t], &length);
        if (length > MOST - used) length = MOST - used;
        memcpy(out + used, piece, length);
        used += length;
    }
    if (used == MOST) { /* the last character may be cut: leave it out */
        while (used > 1 && ((unsigned char)out[used - 1] & 0xc0) == 0x80) used--;
        if (used > 1 && (unsigned char)out[used - 1] >= 0xc0) used--;
    }
    out[used] = '\'';
    out[used + 1] = 0;
    return out;
}

/* Removes the quotes of a unit's text. */
static int bare(const char *text, const char **out) {
    const int n = (int)strlen(text), quoted = n >= 2 && text[0] == '\'' && text[n - 1] == '\'';
    *out = text + quoted;
    return n - 2 * quoted;
}

int spans_bracket_text(
    const spans_state *s, int32_t sequence, const psc_bracket *b, int most, char out[SPANS_TEXT]) {
    const spans_sequence *q = &s->sequences[sequence];
    int n = snprintf(
        out, SPANS_TEXT, "[%d,%d] \"", (int)spans_first(q, b->begin), (int)spans_last(q, b->end));
    for (int32_t u = b->begin; u <= b->end; u++) {
        const char *text = spans_unit_text(s, sequence, u), *piece;
        if (!text) return -1;
        const int length = bare(text, &piece), skip = u == b->begin && piece[0] == ' ';
        if (n + length > most) {
            n += snprintf(out + n, (size_t)(SPANS_TEXT - n), "...");
            break;
        }
        n += snprintf(out + n, (size_t)(SPANS_TEXT - n), "%.*s", length - skip, piece + skip);
    }
    snprintf(out + n, (size_t)(SPANS_TEXT - n), "\"");
    return 0;
}

/* --- sentences ------------------------------------------------------------------------------- */

static int say_prior(const spans_state *s) {
    char line[200];
    snprintf(line, sizeof line,
        "Prior: under uniform attention power=0.5 gives right-branching trees, power=1 "
        "left-branching ones; here power=%g.",
        s->power);
    return s->host->summary_text(s->context, line);
}

enum { LEVEL = 12 }; /* columns of a level's name, at least */

int spans_name_width(const spans_state *s, int least) {
    enum { MOST = 24 };
    for (int32_t level = 0; level < s->levels.n; level++) {
        const size_t n = strlen(s->levels.names[level]);
        if (n > (size_t)least) least = n < MOST ? (int)n : MOST;
    }
    return least;
}

static int say_row(const spans_state *s, int32_t level, double n, const double *overlap) {
    char line[320], figures[PRIOR_COUNT][PSC_FIGURE];
    for (int p = 0; p < PRIOR_COUNT; p++) psc_figure(figures[p], 9, 3, overlap[p], "");
    const int width = spans_name_width(s, LEVEL);
    snprintf(line, sizeof line, "%-*.*s %9.0f %s %s %s %s", width, width, s->levels.names[level], n,
        figures[PRIOR_RIGHT], figures[PRIOR_LEFT], figures[PRIOR_BALANCED], figures[PRIOR_RANDOM]);
    return s->host->summary_text(s->context, line);
}

/* What levels share with each other; more of them do not fit. */
static int say_shared(const spans_state *s, const double *shared) {
    enum { MOST = 8, NARROW = 7 };
    char line[320];
    const int width = spans_name_width(s, NARROW), first = spans_name_width(s, LEVEL);
    if (s->levels.n < 2 || s->levels.n > MOST) return 0;
    int used = snprintf(line, sizeof line, "%-*s", first, "and with");
    for (int32_t b = 0; b < s->levels.n; b++)
        used += snprintf(
            line + used, sizeof line - (size_t)used, " %*.*s", width, width, s->levels.names[b]);
    if (s->host->summary_text(s->context, line)) return -1;
    for (int32_t a = 0; a < s->levels.n; a++) {
        used = snprintf(line, sizeof line, "%-*.*s", first, first, s->levels.names[a]);
        for (int32_t b = 0; b < s->levels.n; b++)
            used += snprintf(line + used, sizeof line - (size_t)used, " %*.3f", width,
                shared[a * s->levels.n + b]);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return 0;
}

int spans_say_overlaps(
    const spans_state *s, double n, const double *overlap, const double *shared) {
    const psc_host *host = s->host;
    char line[160];
    if (say_prior(s)) return -1;
    if (!(n > 0.0))
        return host->summary_text(s->context, "There are no brackets inside the whole.");
    snprintf(line, sizeof line, "%-*s  brackets    right-     left-  balanced    random",
        spans_name_width(s, LEVEL), "level");
    if (host->summary_text(s->context,
            "Shares of each level's brackets, without the whole, that other trees have too:") ||
        host->summary_text(s->context, line))
        return -1;
    for (int32_t level = 0; level < s->levels.n; level++)
        if (say_row(s, level, n, overlap + level * PRIOR_COUNT)) return -1;
    return say_shared(s, shared);
}
