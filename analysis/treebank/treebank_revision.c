/* Revision: the tree of every prefix of a short sentence.
 *
 *   closed bracket   of the tree of a proper prefix, with a token of the prefix after it
 *   revised          closed brackets that the whole sentence's tree has, of all, over all prefixes
 *   lag              n - b for a bracket that the sentence's tree has and that ends before the
 *                    sentence does: b counts its tokens from the sentence's begin, n is the least
 *                    prefix with n > b from which every longer one has it; 1 is at once
 *
 * Prefix sums of a prefix are those of the sentence, so a prefix costs its tree alone. */
#include "treebank.h"

#include <stdio.h>
#include <string.h>

/* Tokens of the shortest sentences' prefixes fit these tables. */
enum { MOST = TREEBANK_ROWS_MOST - 1 };

typedef struct prefixes {
    uint8_t has[MOST + 1][MOST][MOST]; /* [prefix][begin][end] */
} prefixes;

static void fill(treebank_state *s, const treebank_case *c, int32_t level, prefixes *p) {
    memset(p, 0, sizeof *p);
    for (int32_t n = 2; n <= c->n_tokens; n++) {
        treebank_tree(s, c->sequence, level, n, s->tree);
        for (int32_t i = 0; i + 1 < n; i++) p->has[n][s->tree[i].begin][s->tree[i].end] = 1;
    }
}

static void add_level(treebank_state *s, int32_t level, int32_t n, const prefixes *p) {
    treebank_rate *revised = &s->revised[level], *lag = &s->lag[level];
    for (int32_t end = 0; end + 1 < n; end++)
        for (int32_t begin = 0; begin < end; begin++) {
            const int stands = p->has[n][begin][end];
            for (int32_t m = end + 2; m < n; m++) {
                revised->hit += p->has[m][begin][end] && stands;
                revised->n += p->has[m][begin][end];
            }
            if (!stands) continue;
            int32_t least = n;
            while (least > end + 2 && p->has[least - 1][begin][end]) least--;
            lag->hit += least - (end + 1);
            lag->n += 1.0;
        }
}

void treebank_revision_add(treebank_state *s, const treebank_case *c) {
    prefixes p;
    for (int32_t l = 0; l < s->levels.n; l++) {
        fill(s, c, l, &p);
        add_level(s, l, c->n_tokens, &p);
    }
}

int treebank_revision_report(treebank_state *s) {
    static const char *const axes[] = {"levels"};
    double *standing = s->host->array(s->context, "standing", PSC_F64, 1, axes);
    double *lag = s->host->array(s->context, "lag", PSC_F64, 1, axes);
    char line[160];
    if (!standing || !lag || s->host->value_number(s->context, "short_sentences", s->n_short))
        return -1;
    for (int32_t l = 0; l < s->levels.n; l++) {
        standing[l] = treebank_share(&s->revised[l]);
        lag[l] = treebank_share(&s->lag[l]);
        snprintf(line, sizeof line,
            "level %.40s: closed brackets that stand at the end %.3f, after a lag of %.2f tokens",
            s->levels.names[l], standing[l], lag[l]);
        if (s->host->summary_text(s->context, line)) return -1;
    }
    return 0;
}
