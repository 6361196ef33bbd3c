/* Windows of several sentences: brackets that cross a sentence's border.
 *
 * A bracket crosses if it holds tokens of several sentences and not all tokens of each. The whole
 * is left out. A token belongs to the sentence that holds its last byte, because a token may begin
 * with the space before the sentence. */
#include "treebank.h"

#include <stdio.h>

/* Marks each token's sentence, counted from 0 in the window. */
static void mark(treebank_state *s, const psc_row *rows, int32_t n_tokens, int32_t *of_token) {
    int32_t n_sentences = 0, at = 0;
    const psc_sentence *sentences = s->host->sentences(s->context, &n_sentences);
    for (int32_t t = 0; t < n_tokens; t++) {
        const psc_row *row = &rows[t + 1];
        while (at + 1 < n_sentences && row->end > sentences[at + 1].start) at++;
        of_token[t] = at;
    }
}

static void add_tree(treebank_rate *r, int32_t n, const psc_bracket *tree, const int32_t *of) {
    for (int32_t i = 1; i + 1 < n; i++) {
        const int32_t a = tree[i].begin, b = tree[i].end;
        const int whole = (a == 0 || of[a - 1] != of[a]) && (b == n - 1 || of[b + 1] != of[b]);
        r->hit += of[a] != of[b] && !whole;
        r->n += 1.0;
    }
}

void treebank_windows_add(treebank_state *s, int32_t sequence, const psc_row *rows, int32_t n) {
    const int32_t n_tokens = n - 1;
    mark(s, rows, n_tokens, s->marks);
    for (int32_t l = 0; l < s->levels.n; l++) {
        treebank_tree(s, sequence, l, n_tokens, s->tree);
        add_tree(&s->crossing[l], n_tokens, s->tree, s->marks);
    }
    psc_tree_fixed(PSC_TREE_RANDOM, n_tokens, psc_tree_random(&s->window_random), s->tree);
    add_tree(&s->crossing[s->levels.n], n_tokens, s->tree, s->marks);
    psc_tree_fixed(PSC_TREE_RIGHT, n_tokens, 0, s->tree);
    add_tree(&s->crossing[s->levels.n + 1], n_tokens, s->tree, s->marks);
    s->n_windows++;
}

int treebank_windows_report(treebank_state *s) {
    static const char *const axes[] = {"levels"};
    const double random = treebank_share(&s->crossing[s->levels.n]);
    const double right = treebank_share(&s->crossing[s->levels.n + 1]);
    char line[512];
    double *out = s->host->array(s->context, "crossing", PSC_F64, 1, axes);
    if (!out || s->host->value_number(s->context, "windows", s->n_windows) ||
        s->host->value_number(s->context, "crossing_random", random) ||
        s->host->value_number(s->context, "crossing_right", right))
        return -1;
    snprintf(line, sizeof line,
        "%d window%s: brackets that cross a sentence's border (random tree %.3f, right-branching "
        "%.3f):",
        (int)s->n_windows, s->n_windows == 1 ? "" : "s", random, right);
    if (s->host->summary_text(s->context, line)) return -1;
    for (int32_t l = 0; l < s->levels.n; l++) {
        out[l] = treebank_share(&s->crossing[l]);
        snprintf(line, sizeof line, "level %-18.40s %7.3f", s->levels.names[l], out[l]);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return 0;
}
