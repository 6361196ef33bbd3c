/* A plugin that needs a beginning-of-text token: it reports the first token of the run's sequences,
 * over a corpus how many windows begin with which token. */
#include <stddef.h>

#include "psc_plugin.h"

typedef struct front_state {
    const psc_host *host;
    int counts; /* accumulator [V]; over a corpus only */
    int32_t corpus;
} front_state;

static int front_open(psc_context *context, const psc_host *host, void **state) {
    front_state *s = *state = host->life_alloc(context, sizeof *s);
    if (!s) return -1;
    s->host = host;
    s->corpus = host->accumulating(context);
    if (!s->corpus) return 0;
    s->counts =
        host->accumulator(context, "first", PSC_ACCUMULATE_COUNT, host->model(context)->d_vocab, 0);
    return s->counts < 0;
}

static int front_run_end(psc_context *context, void *state, int status) {
    front_state *s = state;
    const double one = 1;
    int32_t n;
    const psc_row *rows = s->host->rows(context, &n);
    for (int32_t r = 0; !status && s->corpus && r < n; r++)
        if (rows[r].position == 0 &&
            s->host->accumulate(context, s->counts, rows[r].token, 1, &one))
            return -1;
    return 0;
}

static int front_report(psc_context *context, void *state) {
    front_state *s = state;
    int32_t n;
    const psc_row *rows = s->host->rows(context, &n);
    for (int32_t r = 0; !s->corpus && r < n; r++)
        if (rows[r].position == 0 && s->host->append_number(context, "first", rows[r].token))
            return -1;
    for (int32_t id = 0; s->corpus && id < s->host->model(context)->d_vocab; id++) {
        double count;
        if (s->host->accumulated(context, s->counts, id, 1, &count)) return -1;
        if (count > 0 && s->host->append_number(context, "first", id)) return -1;
    }
    return s->host->summary_text(context, "The first tokens are in the list `first`.");
}

static const psc_plugin front = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof front,
    .name = "front",
    .version = "1.0",
    .summary = "the first token of each sequence",
    .open = front_open,
    .run_end = front_run_end,
    .report = front_report,
    .needs_bos = 1,
};
PSC_PLUGIN_EXPORT {
    return &front;
}
