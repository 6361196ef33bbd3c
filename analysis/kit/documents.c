/* The names of the documents that kept contexts come from (host->document_name). */
#include "common.h"

#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int psc_name_documents(
    psc_context *context, const psc_host *host, const double *documents, int64_t n) {
    double *sorted = host->run_alloc(context, (uint64_t)n * sizeof *sorted + 1);
    int64_t kept = 0;
    if (!sorted) return -1;
    for (int64_t i = 0; i < n; i++)
        if (documents[i] >= 0.0) sorted[kept++] = documents[i]; /* NaN: no context */
    qsort(sorted, (size_t)kept, sizeof *sorted, compare);
    for (int64_t i = 0; i < kept; i++) {
        if (i > 0 && sorted[i] == sorted[i - 1]) continue;
        const char *name = host->document_name(context, (int64_t)sorted[i]);
        if (name[0] && (host->append_number(context, "document_numbers", sorted[i]) ||
                           host->append_text(context, "document_names", name)))
            return -1;
    }
    return 0;
}

const char *psc_document_place(char out[PSC_PLACE], psc_context *context, const psc_host *host,
    int64_t document, int32_t position) {
    const char *name = host->document_name(context, document);
    if (name[0])
        snprintf(out, PSC_PLACE, "in %.*s at token %d", PSC_PLACE - 40, name, (int)position);
    else
        snprintf(out, PSC_PLACE, "in document %lld at %d", (long long)document, (int)position);
    return out;
}

int psc_show_context(psc_context *context, const psc_host *host, const char *label,
    const psc_top *top, const char *more) {
    char line[1400], place[PSC_PLACE];
    int used = snprintf(line, sizeof line, "%s %.2f %s%s:", label, top->value,
        psc_document_place(place, context, host, top->document, top->position), more);
    for (int i = 0; i < PSC_TOP_BEFORE + 1 + PSC_TOP_AFTER; i++) {
        const int at = i == PSC_TOP_BEFORE;
        if (top->tokens[i] < 0 || used < 0 || used >= (int)sizeof line) continue;
        used += snprintf(line + used, sizeof line - (size_t)used, " %s%.40s%s", at ? ">>" : "",
            host->token_text(context, top->tokens[i]), at ? "<<" : "");
    }
    return host->summary_text(context, line);
}
