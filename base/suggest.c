/* Optimal string alignment: d(i, j) is the least of d(i-1, j) + 1, d(i, j-1) + 1,
 * d(i-1, j-1) + (a_i != b_j), and d(i-2, j-2) + 1 where two neighbors are swapped. A name is near
 * if at most a third of the given characters differ, or if the given text begins it. */
#include "suggest.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { LONGEST = 64 };

static char lower(char c) {
    return (char)(c >= 'A' && c <= 'Z' ? c + 32 : c);
}

int psc_edit_distance(const char *a, size_t n, const char *b, size_t m, int most) {
    int rows[3][LONGEST + 1];
    if (n > LONGEST || m > LONGEST) return most + 1;
    for (size_t j = 0; j <= m; j++) rows[0][j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int *now = rows[i % 3];
        const int *last = rows[(i - 1) % 3], *before = rows[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            const char x = lower(a[i - 1]), y = lower(b[j - 1]);
            int d = last[j - 1] + (x != y);
            if (last[j] + 1 < d) d = last[j] + 1;
            if (now[j - 1] + 1 < d) d = now[j - 1] + 1;
            const bool is_swap = i > 1 && j > 1 && x == lower(b[j - 2]) && y == lower(a[i - 2]);
            if (is_swap && before[j - 2] + 1 < d) d = before[j - 2] + 1;
            now[j] = d;
        }
    }
    return rows[n % 3][m] > most ? most + 1 : rows[n % 3][m];
}

psc_suggestion psc_suggest(const char *given, size_t bytes) {
    const int most = bytes < 3 ? 0 : bytes < 6 ? 1 : (int)(bytes / 3);
    return (psc_suggestion){given, bytes, NULL, most + 1};
}

void psc_suggest_name(psc_suggestion *s, const char *name) {
    const size_t bytes = strlen(name);
    const bool begins = s->bytes >= 3 && bytes > s->bytes && !strncmp(name, s->given, s->bytes);
    const int distance =
        begins ? 1 : psc_edit_distance(s->given, s->bytes, name, bytes, s->distance);
    if (distance >= s->distance) return;
    s->distance = distance;
    s->best = name;
}

const char *psc_suggest_text(
    char out[PSC_SUGGEST_TEXT], const psc_suggestion *suggestion, const char *prefix) {
    out[0] = 0;
    if (suggestion->best)
        snprintf(out, PSC_SUGGEST_TEXT, "; did you mean %s%.100s?", prefix, suggestion->best);
    return out;
}
