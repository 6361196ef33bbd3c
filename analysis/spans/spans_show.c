/* Shows a run in the notations: labels= before the run, then spans_notation.h's structure of every
 * sequence, as text in the summary, and as the documents spans.txt and spans.xml. */
#include "spans_show.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SHOWN_LINKS = 1 << 17 }; /* of a kind in the documents */

/* --- texts of sequences ---------------------------------------------------------------------- */

/* A sequence's text, and where its positions begin in it: at[0]..at[1] is BOS, without bytes. */
typedef struct sequence_text {
    const char *bytes;
    uint32_t *at;   /* [n + 1] */
    uint32_t start; /* of bytes in the run's text */
    int given;      /* nonzero: they are the run's text, not made of the tokens' bytes */
} sequence_text;

/* The run's text, if the whole sequence is in it. */
static int given_text(
    const spans_state *s, const psc_reads_sequence *q, const char *text, sequence_text *out) {
    const psc_row *rows = s->rows + q->row;
    out->start = q->n > 1 ? rows[1].start : 0;
    out->bytes = text + out->start;
    out->given = 1;
    for (int32_t t = 1; t < q->n; t++) {
        if (rows[t].start - out->start != out->at[t] || rows[t].end < rows[t].start) return 0;
        out->at[t + 1] = rows[t].end - out->start;
    }
    return 1;
}

static int made_text(const spans_state *s, const psc_reads_sequence *q, sequence_text *out) {
    uint64_t n, sum = 0;
    for (int32_t t = 1; t < q->n; t++) {
        s->host->token_bytes(s->context, q->tokens[t], &n);
        sum += n;
        out->at[t + 1] = (uint32_t)sum;
    }
    char *bytes = s->host->run_alloc(s->context, sum + 1);
    if (!bytes) return -1;
    for (int32_t t = 1; t < q->n; t++) {
        const char *token = s->host->token_bytes(s->context, q->tokens[t], &n);
        if (token) memcpy(bytes + out->at[t], token, n);
    }
    out->bytes = bytes;
    out->given = 0;
    return 0;
}

static int find_text(const spans_state *s, int32_t sequence, sequence_text *out) {
    const psc_reads_sequence *q = &s->reads.sequences[sequence];
    uint64_t bytes;
    const char *text = s->host->text(s->context, &bytes);
    out->at = s->host->run_alloc(s->context, ((uint64_t)q->n + 1) * sizeof *out->at);
    if (!out->at) return -1;
    if (text && q->first == 0 && given_text(s, q, text, out)) return 0;
    return made_text(s, q, out);
}

/* --- labels ---------------------------------------------------------------------------------- */

/* The labels that the caller gave to the run's text, those of this sequence. */
static int given_sentences(const spans_state *s, const sequence_text *text, uint32_t bytes,
    const psc_sentence **out, int32_t *n) {
    int32_t all = 0, used = 0;
    const psc_sentence *given = s->host->sentences(s->context, &all);
    psc_sentence *copies = s->host->run_alloc(s->context, (uint64_t)all * sizeof *copies + 1);
    if (!copies) return -1;
    for (int32_t i = 0; i < all && text->given; i++) {
        if (given[i].start < text->start || given[i].start - text->start + given[i].bytes > bytes)
            continue;
        copies[used] = given[i];
        copies[used++].start -= text->start;
    }
    *out = copies;
    *n = used;
    return 0;
}

static int find_labels(spans_state *s, int32_t sequence, const psc_sentence *file, int32_t n_file) {
    const psc_reads_sequence *q = &s->reads.sequences[sequence];
    spans_marks *marks = &s->shown.marks[sequence];
    const psc_sentence *sentences;
    sequence_text text = {0};
    int32_t n;
    if (find_text(s, sequence, &text)) return -1;
    const uint32_t bytes = text.at[q->n];
    marks->text = text.bytes;
    marks->at = text.at;
    if (file ? spans_align(s->context, s->host, s->shown.labels, file, n_file, text.bytes, bytes,
                   q->first > 0, &sentences, &n)
             : given_sentences(s, &text, bytes, &sentences, &n))
        return -1;
    return spans_find_yields(s->context, s->host, sentences, n, &marks->yields);
}

int spans_show_open(const spans_state *s) {
    int32_t n;
    const int corpus = s->host->accumulating(s->context);
    if (corpus && (s->shown.labels[0] || s->shown.xml[0]))
        return s->host->fail(s->context, "%s= needs one text; leave it out over a corpus",
            s->shown.labels[0] ? "labels" : "xml");
    if (s->shown.labels[0] && !s->host->read_sentences(s->context, s->shown.labels, &n)) return -1;
    return s->shown.xml[0] ? s->host->save_file(s->context, s->shown.xml, NULL, 0) : 0;
}

int spans_show_begin(spans_state *s) {
    const psc_sentence *file = NULL;
    int32_t n = 0;
    s->shown.marks = NULL;
    if (s->host->accumulating(s->context)) return 0;
    if (s->shown.labels[0])
        file = s->host->read_sentences(s->context, s->shown.labels, &n);
    else
        s->host->sentences(s->context, &n);
    if (s->shown.labels[0] && !file) return -1;
    if (n == 0) return 0;
    s->shown.marks =
        s->host->run_alloc(s->context, (uint64_t)s->n_sequences * sizeof *s->shown.marks + 1);
    if (!s->shown.marks) return -1;
    for (int32_t q = 0; q < s->n_sequences; q++)
        if (find_labels(s, q, file, n)) return -1;
    return 0;
}

/* The labels of a level's spans; each is also an entry of the list `labels`. */
static const spans_label *label_tree(const spans_state *s, int32_t level, int32_t sequence) {
    const spans_sequence *q = &s->sequences[sequence];
    const spans_marks *marks = &s->shown.marks[sequence];
    const psc_bracket *tree = spans_tree(s, level, sequence);
    spans_label *labels = s->host->run_alloc(s->context, (uint64_t)q->n_spans * sizeof *labels + 1);
    for (int32_t i = 0; labels && i < q->n_spans; i++) {
        char text[400];
        const int32_t first = spans_first(q, tree[i].begin), last = spans_last(q, tree[i].end);
        if (spans_find_label(s->context, s->host, &marks->yields, marks->text, marks->at[first],
                marks->at[last + 1], &labels[i]))
            return NULL;
        if (!labels[i].label) continue;
        snprintf(text, sizeof text, "%.60s [%d,%d] %.60s %.60s %.160s", s->levels.names[level],
            (int)first, (int)last, labels[i].label, labels[i].function ? labels[i].function : "-",
            labels[i].operators ? labels[i].operators : "-");
        if (s->host->append_text(s->context, "labels", text)) return NULL;
    }
    return labels;
}

/* --- the structure --------------------------------------------------------------------------- */

/* A token's text without the quotes around it, and without the escapes that they need. */
static const char *bare(const spans_state *s, int32_t token) {
    const char *text = s->host->token_text(s->context, token);
    const size_t n = strlen(text);
    if (n < 2 || text[0] != '\'' || text[n - 1] != '\'') return text;
    char *copy = s->host->run_alloc(s->context, n - 1);
    for (size_t i = 1, used = 0; copy && i + 1 < n; i++) {
        const int pair = text[i] == '\\' && i + 2 < n;
        if (pair && text[i + 1] != '\'') copy[used++] = text[i];
        i += (size_t)pair;
        copy[used++] = text[i];
    }
    return copy;
}

static int fill_tokens(const spans_state *s, int32_t sequence, spans_notation *out) {
    const spans_sequence *q = &s->sequences[sequence];
    const int32_t *tokens = s->reads.sequences[sequence].tokens;
    const int32_t first = q->units.begin[0], n = q->units.begin[q->units.n] - first;
    spans_token *to = s->host->run_alloc(s->context, (uint64_t)n * sizeof *to + 1);
    for (int32_t i = 0; to && i < n; i++) {
        to[i].id = tokens[first + i];
        to[i].shown = bare(s, to[i].id);
        to[i].bytes = s->host->token_bytes(s->context, to[i].id, &to[i].n);
        if (!to[i].shown) return -1;
    }
    out->tokens = to;
    return to ? 0 : -1;
}

/* "L1+L2H5" */
static const char *parts_text(const spans_state *s, const psc_level *level) {
    const uint64_t size = 32 * (uint64_t)level->n + 1;
    char *text = s->host->run_alloc(s->context, size);
    size_t used = 0;
    for (int32_t i = 0; text && i < level->n; i++) {
        const psc_level_part *part = &level->parts[i];
        used +=
            (size_t)snprintf(text + used, size - used, "%sL%d", i > 0 ? "+" : "", (int)part->layer);
        if (part->head >= 0)
            used += (size_t)snprintf(text + used, size - used, "H%d", (int)part->head);
    }
    return text;
}

static int fill_levels(const spans_state *s, int32_t sequence, spans_notation *out) {
    static const char *const by[] = {"none", "reads", "causal", "residual"};
    spans_shown_level *to = s->host->run_alloc(s->context, (uint64_t)s->levels.n * sizeof *to + 1);
    for (int32_t l = 0; to && l < s->levels.n; l++) {
        const int64_t first = (int64_t)l * s->n_spans + s->sequences[sequence].first_span;
        const int headed = s->effects.heads != HEAD_NONE;
        to[l] = (spans_shown_level){.name = s->levels.names[l],
            .of = parts_text(s, &s->levels.at[l]),
            .brackets = spans_tree(s, l, sequence),
            .heads = headed ? s->effects.head + first : NULL,
            .heads_by = headed ? by[s->effects.heads] : NULL,
            .labels = s->shown.marks ? label_tree(s, l, sequence) : NULL};
        if (!to[l].of || (s->shown.marks && !to[l].labels)) return -1;
    }
    out->levels = to;
    return to ? 0 : -1;
}

static int descending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x < y) - (x > y);
}

/* The least effect that is among the SHOWN_LINKS largest of n links; NaN counts as none. */
static int least_shown(
    const spans_state *s, int64_t n, const spans_shown_link *links, double *least) {
    *least = -INFINITY;
    if (n <= SHOWN_LINKS) return 0;
    double *sorted = s->host->run_alloc(s->context, (uint64_t)n * sizeof *sorted);
    if (!sorted) return -1;
    for (int64_t i = 0; i < n; i++) sorted[i] = isnan(links[i].kl) ? -INFINITY : links[i].kl;
    qsort(sorted, (size_t)n, sizeof *sorted, descending);
    *least = sorted[SHOWN_LINKS - 1];
    return 0;
}

/* One kind of links, in the order of psc_links_list. */
static int fill_kind(const spans_state *s, int32_t sequence, int causal, spans_shown_links *out) {
    const int64_t n = psc_links_count(s->sequences[sequence].units.n, s->effects.distance);
    const psc_link *links = s->effects.link + s->effects.first_link[sequence];
    spans_shown_link *to = s->host->run_alloc(s->context, (uint64_t)n * sizeof *to + 1);
    double least;
    if (!to) return -1;
    for (int64_t i = 0; i < n; i++)
        to[i] = (spans_shown_link){links[i].from, links[i].to,
            causal ? links[i].kl : links[i].frozen, causal ? links[i].dlogp : links[i].dfrozen};
    if (least_shown(s, n, to, &least)) return -1;
    *out = (spans_shown_links){causal ? "causal" : "frozen", 0, to};
    for (int64_t i = 0; i < n && out->n < SHOWN_LINKS; i++)
        if (to[i].kl >= least) to[out->n++] = to[i];
    return 0;
}

static int fill_links(const spans_state *s, int32_t sequence, spans_notation *out) {
    spans_shown_links *to = s->host->run_alloc(s->context, 2 * sizeof *to);
    if (!to) return -1;
    for (int causal = 1; causal >= 0; causal--)
        if (s->effects.links & (causal ? LINK_CAUSAL : LINK_FROZEN))
            if (fill_kind(s, sequence, causal, &to[out->n_links++])) return -1;
    out->links = to;
    return 0;
}

static int fill(const spans_state *s, int32_t sequence, spans_notation *out) {
    const spans_sequence *q = &s->sequences[sequence];
    *out = (spans_notation){.units = s->unit == UNIT_WORDS ? "words" : "tokens",
        .reads = s->read == READ_WEIGHT ? "weight" : "norm",
        .power = s->power,
        .n_units = q->units.n,
        .begin = q->units.begin,
        .n_spans = q->n_spans,
        .n_levels = s->levels.n};
    if (fill_tokens(s, sequence, out) || fill_levels(s, sequence, out)) return -1;
    return s->effects.links == LINK_NONE ? 0 : fill_links(s, sequence, out);
}

/* --- showing --------------------------------------------------------------------------------- */

/* One summary text per line. */
static int say_lines(const spans_state *s, char *text) {
    for (char *line = text; *line;) {
        char *end = strchr(line, '\n');
        *end = 0;
        if (s->host->summary_text(s->context, line)) return -1;
        line = end + 1;
    }
    return s->host->summary_text(s->context, "");
}

static int say_notation(const spans_state *s, const spans_notation *notation) {
    psc_growing text = {0};
    char line[120];
    const int32_t tokens = notation->begin[notation->n_units] - notation->begin[0];
    spans_write_text(&text, notation, SPANS_SHOWN, SPANS_WIDTH, s->top);
    int failed = text.failed ? s->host->fail(s->context, "not enough memory for the notation") : 0;
    if (!failed && text.used > 0) failed = say_lines(s, text.data);
    free(text.data);
    if (failed || tokens <= SPANS_SHOWN) return failed;
    snprintf(line, sizeof line,
        "The first %s of %s tokens; spans.txt in the output folder has all.",
        PSC_COMMAS(SPANS_SHOWN), PSC_COMMAS(tokens));
    return s->host->summary_text(s->context, line);
}

static int write_documents(const spans_state *s, const spans_notation *all) {
    const psc_host *host = s->host;
    psc_growing text = {0}, xml = {0};
    char line[340];
    for (int32_t q = 0; q < s->n_sequences; q++) {
        if (q > 0) psc_growing_put(&text, "\n");
        spans_write_text(&text, &all[q], 0, SPANS_WIDTH, s->top);
    }
    spans_write_xml(&xml, all, s->n_sequences);
    int failed = text.failed || xml.failed
                     ? host->fail(s->context, "not enough memory for the notation")
                     : host->document(s->context, "txt", text.data ? text.data : "", text.used) ||
                           host->document(s->context, "xml", xml.data, xml.used);
    if (!failed && s->shown.xml[0])
        failed = host->save_file(s->context, s->shown.xml, xml.data, xml.used);
    free(text.data);
    free(xml.data);
    if (failed || !s->shown.xml[0]) return failed;
    snprintf(line, sizeof line, "The XML is in %.300s.", s->shown.xml);
    return host->summary_text(s->context, line);
}

int spans_show(const spans_state *s) {
    /* Of a text that grows, documents are written for the XML file only. */
    const int documents = !s->appended || s->shown.xml[0];
    if (!documents && !spans_shows_notation(s)) return 0;
    spans_notation *all =
        s->host->run_alloc(s->context, (uint64_t)s->n_sequences * sizeof *all + 1);
    if (!all) return -1;
    for (int32_t q = 0; q < s->n_sequences; q++)
        if (fill(s, q, &all[q])) return -1;
    if (documents && write_documents(s, all)) return -1;
    return spans_shows_notation(s) ? say_notation(s, &all[0]) : 0;
}
