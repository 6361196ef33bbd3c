/* Units: tokens, or words. */
#include "units.h"

int psc_units_tokens(
    psc_context *context, const psc_host *host, const int32_t *tokens, int32_t n, psc_units *out) {
    const uint64_t room = (uint64_t)n + 1;
    out->n = n > 0 ? n - 1 : 0;
    out->begin = host->run_alloc(context, room * sizeof *out->begin);
    out->content = host->run_alloc(context, room);
    if (!out->begin || !out->content) return -1;
    (void)tokens;
    for (int32_t u = 0; u <= out->n; u++) out->begin[u] = u + 1;
    for (int32_t u = 0; u < out->n; u++) out->content[u] = 1;
    return 0;
}
