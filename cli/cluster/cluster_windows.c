/* Dealing. A worker holds one batch in work and one more, so it does not wait for rank 0, which
 * computes as well and deals again between the layers of its own batch.
 * Whoever is faster gets more.
 *
 *   deal ... deal | all done | REDUCE: totals += totals of the workers, which become zero | save
 *
 * Totals are integers, extremes and top lists, so neither the dealing nor the order of the
 * reduction changes a bit (docs/corpus.md). At a save every window that was read is in the totals:
 * the state is that of one process at the same place. */
#include "cluster_windows.h"

#include <stdlib.h>
#include <string.h>

enum { AHEAD = 2 }; /* batches that a worker holds */

/* --- beginning ------------------------------------------------------------------------------- */

typedef struct beginning {
    window_batch batch;
    char version[32];
} beginning;

/* Waits until there is a message. */
static psc_status wait_for(cluster_message *out, psc_error *error) {
    psc_status status = cluster_wait(out, error);
    while (!status && out->kind == 0) status = cluster_wait(out, error);
    return status;
}

/* BEGIN has one; the identity of the totals follows as soon as rank 0 has a session. */
psc_status cluster_windows_ask(window_batch *batch, psc_error *error) {
    cluster_message m;
    beginning b;
    psc_status status = wait_for(&m, error);
    if (status) return status;
    if (m.kind != CLUSTER_BEGIN || m.n != sizeof b) {
        cluster_drop(&m);
        return psc_fail(error, PSC_ERROR_SUPPORT, "rank 0 runs another version of pythiascope");
    }
    memcpy(&b, m.bytes, sizeof b);
    cluster_drop(&m);
    if (strncmp(b.version, psc_version(), sizeof b.version - 1) != 0)
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "this is version %.30s of pythiascope, but rank 0 runs version %.30s", psc_version(),
            b.version);
    *batch = b.batch;
    return PSC_OK;
}

psc_status cluster_windows_begin(const window_batch *batch, psc_error *error) {
    beginning b = {.batch = *batch};
    const char *version = psc_version();
    psc_status status = PSC_OK;
    for (size_t i = 0; version[i] && i + 1 < sizeof b.version; i++) b.version[i] = version[i];
    for (int i = 1; !status && i < cluster_size(); i++)
        status = cluster_send(i, CLUSTER_BEGIN, &b, sizeof b, error);
    return status;
}

/* Each worker compares its identity with rank 0's. */
static psc_status compare(cluster_windows *w, psc_error *error) {
    char identity[33];
    cluster_message m = {0};
    psc_status status = psc_session_totals_identity(identity, w->session, error);
    if (cluster_is_worker()) {
        if (!status) status = wait_for(&m, error);
        if (!status && (m.n != sizeof identity || memcmp(m.bytes, identity, m.n) != 0))
            status = psc_fail(error, PSC_ERROR_INPUT,
                "its model, targets, plugins, their versions or options differ from those of rank 0");
        cluster_drop(&m);
        return status ? status : cluster_send(0, CLUSTER_READY, NULL, 0, error);
    }
    for (int i = 1; !status && i < cluster_size(); i++)
        status = cluster_send(i, CLUSTER_READY, identity, sizeof identity, error);
    for (int i = 1; !status && i < cluster_size(); i++) {
        status = wait_for(&m, error);
        cluster_drop(&m);
    }
    return status;
}

psc_status cluster_windows_open(cluster_windows *w, psc_error *error) {
    const size_t most = (size_t)w->batch.most, tokens = (size_t)w->batch.tokens;
    w->room = 8 + 32 * most + 4 * tokens;
    w->own = malloc(w->room);
    w->dealt = malloc(w->room);
    w->waiting = calloc((size_t)cluster_size(), sizeof *w->waiting);
    w->inputs = calloc(most, sizeof *w->inputs);
    w->documents = calloc(most, sizeof *w->documents);
    w->repeated = calloc(most, sizeof *w->repeated);
    w->tokens = calloc(tokens, sizeof *w->tokens);
    if (w->own && w->dealt && w->waiting && w->inputs && w->documents && w->repeated && w->tokens)
        return compare(w, error);
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a batch of windows");
}

void cluster_windows_close(cluster_windows *w) {
    free(w->own);
    free(w->dealt);
    free(w->waiting);
    free(w->inputs);
    free(w->documents);
    free(w->repeated);
    free(w->tokens);
    *w = (cluster_windows){0};
}

/* --- a batch as a message -------------------------------------------------------------------- */

/* i64 windows, then for each: i64 document, i64 first, i64 repeated tokens, i64 tokens, i32 ids
 * [tokens]. */
static char *put64(char *to, int64_t value) {
    memcpy(to, &value, sizeof value);
    return to + sizeof value;
}

static const char *get64(int64_t *value, const char *from, const char *end) {
    *value = -1;
    if (end - from < (ptrdiff_t)sizeof *value) return end;
    memcpy(value, from, sizeof *value);
    return from + sizeof *value;
}

/* Reads up to a batch of windows; *bytes is 0 at the end of the corpus. */
static psc_status read_batch(size_t *bytes, char *to, cluster_windows *w, psc_error *error) {
    char *at = to + 8;
    window_batch batch = w->batch;
    *bytes = 0;
    while (window_batch_has_room(&batch) && !w->ended) {
        psc_window window = {.n = 0};
        psc_status status = psc_corpus_next(&window, w->corpus, error);
        if (status) return status;
        w->ended = window.n == 0;
        if (w->ended) break;
        at = put64(at, window.document.number);
        at = put64(at, window.document.first);
        at = put64(at, psc_corpus_repeated(w->corpus, &window));
        at = put64(at, window.n);
        for (int32_t i = 0; i < window.n; i++, at += 4) memcpy(at, &window.tokens[i].id, 4);
        window_batch_take(&batch, window.n);
    }
    (void)put64(to, batch.n);
    if (batch.n > 0) *bytes = (size_t)(at - to);
    return PSC_OK;
}

/* The inputs and documents of a batch; -1 for one that rank 0 cannot have sent. */
static int32_t unpack(cluster_windows *w, const char *from, size_t bytes) {
    const char *end = from + bytes;
    psc_token *token = w->tokens;
    window_batch batch = w->batch;
    int64_t windows;
    from = get64(&windows, from, end);
    if (windows < 1 || windows > batch.most) return -1;
    for (int32_t i = 0; i < windows; i++) {
        int64_t n, repeated;
        from = get64(&w->documents[i].number, from, end);
        from = get64(&w->documents[i].first, from, end);
        from = get64(&repeated, from, end);
        from = get64(&n, from, end);
        if (n < 1 || n > batch.window || end - from < 4 * n || !window_batch_has_room(&batch))
            return -1;
        window_batch_take(&batch, (int32_t)n);
        if (repeated < 0 || repeated >= n) return -1;
        w->repeated[i] = (int32_t)repeated;
        w->inputs[i] = (psc_input){i, (int32_t)n, token};
        for (int64_t k = 0; k < n; k++, from += 4) {
            *token = (psc_token){0};
            memcpy(&token->id, from, 4);
            token++;
        }
    }
    return (int32_t)windows;
}

static psc_status run_batch(cluster_windows *w, const char *from, size_t bytes,
    int (*stop)(void *payload), psc_error *error) {
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    const int32_t n = unpack(w, from, bytes);
    if (n < 0) return psc_fail(error, PSC_ERROR_STATE, "a batch of windows arrived damaged");
    run.no_logits = 1;
    run.documents = w->documents;
    for (int32_t i = 0; i < n; i++)
        if (w->repeated[i] > 0) run.repeated = w->repeated; /* refused without --stride here */
    run.stop = stop;
    run.payload = w;
    return psc_session_run(w->session, w->inputs, n, &run, error);
}

/* --- the reduction --------------------------------------------------------------------------- */

static psc_status add(void *to, const void *from, int64_t n, void *payload, psc_error *error) {
    return psc_totals_add(payload, to, from, n, error);
}

static psc_status add_counts(
    void *to, const void *from, int64_t n, void *payload, psc_error *error) {
    int64_t sum[2], more[2];
    (void)payload;
    (void)error;
    for (int64_t i = 0; i < n; i++) {
        memcpy(sum, (char *)to + 16 * i, 16);
        memcpy(more, (const char *)from + 16 * i, 16);
        sum[0] += more[0];
        sum[1] += more[1];
        memcpy((char *)to + 16 * i, sum, 16);
    }
    return PSC_OK;
}

/* A table that overflows does not keep the others waiting: the first failure
 * is returned at the end. */
static psc_status reduce_tables(cluster_windows *w, psc_error *error) {
    psc_status first = PSC_OK;
    for (int32_t i = 0; i < psc_session_totals_count(w->session); i++) {
        psc_totals table = PSC_TOTALS_INIT;
        psc_error here;
        psc_status status = psc_session_totals_at(&table, w->session, i, &here);
        const cluster_slots slots = {table.slots, table.n, table.slot_bytes, add, &table};
        if (!status && table.n > 0) status = cluster_reduce(&slots, &here);
        if (status && !first && error) *error = here;
        if (status && !first) first = status;
        if (status == PSC_ERROR_IO || status == PSC_ERROR_CANCELLED) break;
    }
    return first;
}

/* All processes: the workers' totals into rank 0's, then the workers' become zero. */
static psc_status reduce(cluster_windows *w, psc_error *error) {
    _Alignas(16) int64_t counts[2], before[2];
    psc_session_totals_counts(&before[0], &before[1], w->session);
    memcpy(counts, before, sizeof counts);
    const cluster_slots slots = {counts, 1, sizeof counts, add_counts, NULL};
    psc_status status = cluster_reduce(&slots, error);
    if (!status) status = reduce_tables(w, error);
    if (status) return status;
    if (cluster_is_worker()) return psc_session_totals_clear(w->session, error);
    return psc_session_totals_count_more(
        w->session, counts[0] - before[0], counts[1] - before[1], error);
}

/* --- rank 0 ---------------------------------------------------------------------------------- */

static bool is_stopped(const cluster_windows *w) {
    return w->asked || w->stopped(w->payload);
}

/* Fills up the workers: the one with the fewest batches first. */
static psc_status deal(cluster_windows *w, psc_error *error) {
    for (int level = 0; level < AHEAD; level++)
        for (int i = 1; i < cluster_size() && !w->ended && !is_stopped(w); i++) {
            size_t bytes;
            if (w->waiting[i] > level) continue;
            psc_status status = read_batch(&bytes, w->dealt, w, error);
            if (!status && bytes > 0)
                status = cluster_send(i, CLUSTER_WORK, w->dealt, bytes, error);
            if (status) return status;
            if (bytes > 0) w->waiting[i]++;
        }
    return PSC_OK;
}

static void hear(cluster_windows *w, cluster_message *m) {
    if (m->kind == CLUSTER_DONE && w->waiting[m->from] > 0) w->waiting[m->from]--;
    if (m->kind == CLUSTER_STOP) w->asked = true;
    cluster_drop(m);
}

/* Takes what the workers say, without waiting. */
static psc_status listen(cluster_windows *w, psc_error *error) {
    cluster_message m;
    for (;;) {
        psc_status status = cluster_take(&m, error);
        if (status || m.kind == 0) return status;
        hear(w, &m);
    }
}

static bool is_busy(const cluster_windows *w) {
    for (int i = 1; i < cluster_size(); i++)
        if (w->waiting[i] > 0) return true;
    return false;
}

/* Between the layers of rank 0's own batch. */
static int deal_meanwhile(void *payload) {
    cluster_windows *w = payload;
    if (!w->status) w->status = listen(w, &w->error);
    if (!w->status) w->status = deal(w, &w->error);
    if (!w->status) w->show(w->payload);
    return w->status != PSC_OK;
}

static psc_status run_own(cluster_windows *w, psc_error *error) {
    size_t bytes = 0;
    psc_status status = is_stopped(w) ? PSC_OK : read_batch(&bytes, w->own, w, error);
    if (!status && bytes > 0) status = run_batch(w, w->own, bytes, deal_meanwhile, error);
    if (!w->status) return status;
    if (error) *error = w->error; /* why the batch was cancelled */
    return w->status;
}

/* Waits for all batches, then brings the totals together. */
static psc_status gather(cluster_windows *w, psc_error *error) {
    cluster_message m;
    psc_status status = PSC_OK;
    while (!status && is_busy(w)) {
        status = cluster_wait(&m, error);
        if (!status) hear(w, &m);
        if (!status) w->show(w->payload);
    }
    for (int i = 1; !status && i < cluster_size(); i++)
        status = cluster_send(i, CLUSTER_REDUCE, NULL, 0, error);
    if (!status) status = reduce(w, error);
    for (int n = 1; !status && n < cluster_size();) { /* each says that nothing overflowed in it */
        status = cluster_wait(&m, error);
        n += !status && m.kind == CLUSTER_READY;
        if (!status) hear(w, &m);
    }
    return status;
}

psc_status cluster_windows_read(cluster_windows *w, psc_error *error) {
    psc_status status = PSC_OK;
    w->show(w->payload);
    while (!status && !w->ended && !is_stopped(w)) {
        status = listen(w, error);
        if (!status) status = deal(w, error);
        if (!status) status = run_own(w, error);
        if (!status) w->show(w->payload);
        if (status || w->ended || !w->is_due(w->payload)) continue;
        status = gather(w, error);
        if (!status) status = w->save(w->payload, error);
    }
    if (!status) status = gather(w, error);
    for (int i = 1; !status && i < cluster_size(); i++)
        status = cluster_send(i, CLUSTER_FINISH, NULL, 0, error);
    return status;
}

/* --- a worker -------------------------------------------------------------------------------- */

/* A signal is rank 0's to act on, so that the state is saved. */
static psc_status pass_on_signal(cluster_windows *w, psc_error *error) {
    if (w->asked || !w->stopped(w->payload)) return PSC_OK;
    w->asked = true;
    return cluster_send(0, CLUSTER_STOP, NULL, 0, error);
}

static int look_at_rank_0(void *payload) {
    cluster_windows *w = payload;
    return cluster_is_over() || pass_on_signal(w, NULL) != PSC_OK;
}

static psc_status do_work(cluster_windows *w, const cluster_message *m, psc_error *error) {
    psc_status status = run_batch(w, m->bytes, m->n, look_at_rank_0, error);
    return status ? status : cluster_send(0, CLUSTER_DONE, NULL, 0, error);
}

psc_status cluster_windows_serve(cluster_windows *w, psc_error *error) {
    psc_status status = PSC_OK;
    for (bool finished = false; !status && !finished;) {
        cluster_message m;
        status = pass_on_signal(w, error);
        if (!status) status = cluster_wait(&m, error);
        if (status) return status;
        if (m.kind == CLUSTER_WORK) status = do_work(w, &m, error);
        if (m.kind == CLUSTER_REDUCE) {
            status = reduce(w, error);
            if (!status) status = cluster_send(0, CLUSTER_READY, NULL, 0, error);
        }
        finished = m.kind == CLUSTER_FINISH;
        cluster_drop(&m);
    }
    return status;
}
