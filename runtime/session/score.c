/* Log-likelihoods of continuations, many requests per run.
 *
 *   ln p(t_i | t_0..t_{i-1}) = z[t_i] - log sum exp z    z [V]: logits of row i-1, begin <= i < n
 *   rows of a request: its tokens 0..n-2, as the last one predicts nothing
 *
 * Requests are put in the order of their tokens. Sequence k of the session takes a contiguous part
 * of that order, one request per run, and keeps the rows that the next request shares:
 *
 *   a b c|d       computes a b c
 *   a b c|e       nothing: its row c was answered for with the first
 *   a b|x y       x; row b was answered for
 *
 * When a row is computed, its logits answer for all later requests of the part that share it. A
 * beginning of all requests is computed once and copied to every sequence. */
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A shorter beginning of all requests is cheaper to compute in each
 * sequence than in a run alone. */
#define LEAST_COMMON 16

/* A request in the order of tokens. */
typedef struct entry {
    const psc_score_request *request;
    int32_t index;  /* of the caller's */
    int32_t shared; /* tokens that it shares with the entry before it; 0 for the first */
    int64_t at;     /* of its first answer */
} entry;

/* A sequence of the session and its part of the entries. */
typedef struct slot {
    int32_t entry, end; /* the entry in work; one beyond the part's last */
    int32_t valid;      /* cached rows that are the entry's own */
    int32_t answers;    /* one beyond the last entry that its rows answer for */
} slot;

typedef struct scoring {
    psc_session *session;
    entry *entries; /* [n] */
    int32_t n, n_slots, common;
    slot *slots;       /* [n_slots] */
    psc_input *inputs; /* [n_slots] */
    bool *wanted;      /* [rows of a run] */
    double *log_p;     /* answers */
    bool *greedy;      /* likewise */
    double *own_log_p; /* log_p, unless it is the caller's */
    int64_t rows;      /* computed so far */
    psc_score_options options;
} scoring;

static int32_t rows_of(const entry *e) {
    return e->request->n - 1;
}

/* --- the order ------------------------------------------------------------------------------- */

static int32_t shared_tokens(const psc_score_request *a, const psc_score_request *b) {
    const int32_t most = a->n < b->n ? a->n : b->n;
    int32_t n = 0;
    while (n < most && a->tokens[n].id == b->tokens[n].id) n++;
    return n;
}

static int by_tokens(const void *x, const void *y) {
    const entry *a = x, *b = y;
    const int32_t n = shared_tokens(a->request, b->request);
    if (n < a->request->n && n < b->request->n)
        return a->request->tokens[n].id < b->request->tokens[n].id ? -1 : 1;
    if (a->request->n != b->request->n) return a->request->n < b->request->n ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

static void put_in_order(scoring *s, const psc_score_request *requests) {
    int64_t at = 0;
    for (int32_t i = 0; i < s->n; i++) {
        s->entries[i] = (entry){&requests[i], i, 0, at};
        at += requests[i].n - requests[i].begin;
    }
    qsort(s->entries, (size_t)s->n, sizeof *s->entries, by_tokens);
    s->common = rows_of(&s->entries[0]);
    for (int32_t i = 1; i < s->n; i++) {
        entry *e = &s->entries[i];
        e->shared = shared_tokens(e[-1].request, e->request);
        if (e->shared < s->common) s->common = e->shared;
        if (rows_of(e) < s->common) s->common = rows_of(e);
    }
}

/* The first entry of part k: near an equal share, where the fewest tokens are shared. */
static int32_t part_begin(const scoring *s, int32_t k) {
    const int64_t middle = (int64_t)s->n * k / s->n_slots, reach = s->n / s->n_slots / 4;
    int64_t best = middle;
    if (k == 0 || k == s->n_slots) return (int32_t)middle;
    for (int64_t i = middle - reach; i <= middle + reach; i++)
        if (s->entries[i].shared < s->entries[best].shared) best = i;
    return (int32_t)best;
}

/* --- answers --------------------------------------------------------------------------------- */

/* Whether id has the largest logit; of equal ones it must be the first. */
static bool is_greedy(const scoring *s, const float *z, int32_t id) {
    int64_t counts[2];
    s->session->kernels->count_from(counts, z, (size_t)s->session->model->info.d_vocab, z[id]);
    if (counts[0] > 0) return false;
    for (int32_t i = 0; counts[1] > 1 && i < id; i++)
        if (z[i] == z[id]) return false;
    return true;
}

/* The logits of a row at a position answer for every entry from `first` on that has the row. */
static void answer(const scoring *s, const float *z, const slot *from, int32_t position) {
    double log_z = NAN;
    int32_t known = -1;
    bool greedy = false; /* of the token `known`: entries that follow each other ask for the same */
    s->session->kernels->log_sum_exp(&log_z, z, (size_t)s->session->model->info.d_vocab);
    const int32_t i = position + 1;
    for (int32_t k = from->entry; k < from->answers; k++) {
        const entry *e = &s->entries[k];
        if (k > from->entry && e->shared <= position) break;
        if (i < e->request->begin || i >= e->request->n) continue;
        const int32_t id = e->request->tokens[i].id;
        s->log_p[e->at + i - e->request->begin] = (double)z[id] - log_z;
        if (id != known) greedy = is_greedy(s, z, id);
        known = id;
        s->greedy[e->at + i - e->request->begin] = greedy;
    }
}

typedef struct reading {
    const scoring *s;
    const psc_row *rows;
    const psc_view *logits;
} reading;

static void read_range(int64_t begin, int64_t end, int thread, void *payload) {
    (void)thread;
    const reading *r = payload;
    for (int64_t i = begin; i < end; i++) {
        const psc_row *row = &r->rows[i];
        if (r->s->wanted[row->index])
            answer(r->s, r->logits->data + i * r->logits->stride[0], &r->s->slots[row->sequence],
                row->position);
    }
}

/* A psc_logits_fn. */
static void read_rows(const psc_row *rows, int32_t n_rows, const psc_view *logits, void *payload) {
    const scoring *s = payload;
    reading r = {s, rows, logits};
    psc_team_for(s->session->team, n_rows, read_range, &r);
}

/* --- runs ------------------------------------------------------------------------------------ */

/* Marks the rows of a slot's entry up to row `end` that predict a token of some continuation. */
static bool *mark(const scoring *s, const slot *from, int32_t end, bool *wanted) {
    const int32_t begin = from->valid;
    memset(wanted, 0, (size_t)(end - begin) * sizeof *wanted);
    int32_t last = end - 1;
    for (int32_t k = from->entry; k < from->answers && last >= begin; k++) {
        const psc_score_request *r = s->entries[k].request;
        if (k > from->entry && s->entries[k].shared <= last) last = s->entries[k].shared - 1;
        const int32_t first = r->begin - 1 > begin ? r->begin - 1 : begin;
        for (int32_t p = first; p <= last && p < r->n - 1; p++) wanted[p - begin] = true;
    }
    return wanted + (end - begin);
}

/* Lists rows valid..end-1 of the slots' entries as inputs and runs them. The caller sets end by
 * slot; a slot whose rows are all there takes no part. */
static psc_status run_slots(scoring *s, int32_t n_slots, int32_t most, psc_error *error) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const psc_run_reader reader = {s->wanted, read_rows, s};
    int32_t n_inputs = 0;
    bool *wanted = s->wanted;
    for (int32_t k = 0; k < n_slots; k++) {
        slot *at = &s->slots[k];
        if (at->entry == at->end) continue;
        const entry *e = &s->entries[at->entry];
        const int32_t end = rows_of(e) < most ? rows_of(e) : most;
        psc_session_truncate(s->session, k, at->valid);
        s->inputs[n_inputs++] = (psc_input){k, end - at->valid, e->request->tokens + at->valid};
        wanted = mark(s, at, end, wanted);
        s->rows += end - at->valid;
    }
    if (n_inputs == 0) return PSC_OK;
    options.stop = s->options.stop;
    options.payload = s->options.payload;
    psc_status status =
        psc_session_run_read(s->session, s->inputs, n_inputs, &options, &reader, error);
    for (int32_t k = 0; k < n_slots; k++) s->slots[k].valid = psc_session_length(s->session, k);
    return status;
}

/* Moves a slot to its next entry that needs rows. */
static void advance(const scoring *s, slot *at) {
    while (at->entry < at->end && at->valid >= rows_of(&s->entries[at->entry])) {
        at->entry++;
        if (at->entry < at->end && s->entries[at->entry].shared < at->valid)
            at->valid = s->entries[at->entry].shared;
    }
}

/* Computes the beginning of all requests in sequence 0 and gives it to the others. */
static psc_status run_common(scoring *s, psc_error *error) {
    psc_kv_cache *cache = s->session->cache;
    s->slots[0].answers = s->n;
    psc_status status = run_slots(s, 1, s->common, error);
    if (status) return status;
    s->slots[0].answers = s->slots[0].end;
    for (int32_t k = 1; k < s->n_slots; k++) {
        psc_kv_cache_copy(cache, k, cache, 0, s->common, 0);
        cache->lengths[k] = s->slots[k].valid = s->common;
    }
    return PSC_OK;
}

static psc_status report(const scoring *s, psc_error *error) {
    int64_t left = 0;
    if (!s->options.progress) return PSC_OK;
    for (int32_t k = 0; k < s->n_slots; k++) left += s->slots[k].end - s->slots[k].entry;
    if (s->options.progress(1 - (double)left / s->n, "score", s->options.payload) == 0)
        return PSC_OK;
    return psc_fail(error, PSC_ERROR_CANCELLED, "cancelled");
}

static psc_status run_all(scoring *s, psc_error *error) {
    psc_status status = PSC_OK;
    bool left = true;
    for (int32_t k = 0; k < s->n_slots; k++) {
        const int32_t end = part_begin(s, k + 1);
        s->slots[k] = (slot){.entry = part_begin(s, k), .end = end, .answers = end};
    }
    if (s->n_slots > 1 && s->common >= LEAST_COMMON) status = run_common(s, error);
    while (!status && left) {
        left = false;
        for (int32_t k = 0; k < s->n_slots; k++) {
            advance(s, &s->slots[k]);
            left = left || s->slots[k].entry < s->slots[k].end;
        }
        status = run_slots(s, s->n_slots, INT32_MAX, error);
        if (!status) status = report(s, error);
    }
    return status;
}

/* --- the call -------------------------------------------------------------------------------- */

static psc_status check_request(
    const psc_session *session, const psc_score_request *r, int32_t i, psc_error *error) {
    const int32_t n_ctx = session->model->info.n_ctx, most = session->model->info.d_vocab - 1;
    if (r->begin < 1 || r->n <= r->begin)
        return psc_fail(error, PSC_ERROR_INPUT,
            "request %d has %d tokens before its continuation and %d of it; both need 1", (int)i,
            (int)r->begin, (int)(r->n - r->begin));
    if (r->n - 1 > n_ctx || r->n - 1 > session->options.capacity)
        return psc_fail(error, PSC_ERROR_INPUT,
            "request %d has %d tokens, but the %s takes %d and one to predict", (int)i, (int)r->n,
            r->n - 1 > n_ctx ? "model's context" : "session's capacity",
            (int)(r->n - 1 > n_ctx ? n_ctx : session->options.capacity));
    for (int32_t t = 0; t < r->n; t++)
        if (r->tokens[t].id < 0 || r->tokens[t].id > most)
            return psc_fail(error, PSC_ERROR_INPUT,
                "token id %d (token %d of request %d) is out of range; the model's ids are 0 to %d",
                (int)r->tokens[t].id, (int)t, (int)i, (int)most);
    return PSC_OK;
}

static psc_status check(const psc_session *session, const psc_score_request *requests, int32_t n,
    int64_t *answers, int32_t *longest, psc_error *error) {
    psc_status status = PSC_OK;
    if (psc_session_busy(session))
        return psc_fail(
            error, PSC_ERROR_STATE, "psc_session_score cannot be called from a callback");
    if (session->n_contexts > 0 && !session->options.accumulate)
        return psc_fail(error, PSC_ERROR_STATE,
            "a session with plugins cannot score; open another session without them, or with editors "
            "and the option accumulate");
    if (n < 0) return psc_fail(error, PSC_ERROR_INPUT, "the number of requests is %d", (int)n);
    for (int32_t i = 0; i < n && !status; i++) {
        status = check_request(session, &requests[i], i, error);
        *answers += requests[i].n - requests[i].begin;
        if (requests[i].n > *longest) *longest = requests[i].n;
    }
    return status;
}

static psc_status make_room(scoring *s, int64_t answers, int32_t longest, psc_error *error) {
    const size_t n = (size_t)s->n, slots = (size_t)s->n_slots;
    s->entries = calloc(n, sizeof *s->entries);
    s->slots = calloc(slots, sizeof *s->slots);
    s->inputs = calloc(slots, sizeof *s->inputs);
    s->wanted = calloc(slots, (size_t)longest * sizeof *s->wanted);
    s->greedy = calloc((size_t)answers, sizeof *s->greedy);
    s->log_p = s->options.log_p;
    if (!s->log_p) s->log_p = s->own_log_p = calloc((size_t)answers, sizeof *s->log_p);
    if (s->entries && s->slots && s->inputs && s->wanted && s->greedy && s->log_p) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to score %d requests", (int)s->n);
}

static psc_status sum_up(psc_score *out, const scoring *s, psc_error *error) {
    for (int32_t i = 0; i < s->n; i++) {
        const entry *e = &s->entries[i];
        psc_score sum = {0, e->request->n - e->request->begin, 0};
        for (int32_t t = 0; t < sum.n; t++) {
            sum.sum += s->log_p[e->at + t];
            sum.n_greedy += s->greedy[e->at + t];
        }
        if (!isfinite(sum.sum))
            return psc_fail(error, PSC_ERROR_INPUT,
                "the logits of request %d contain NaN or infinity", (int)e->index);
        out[e->index] = sum;
    }
    return PSC_OK;
}

psc_status psc_session_score(psc_score *out, psc_session *session,
    const psc_score_request *requests, int32_t n, const psc_score_options *given,
    psc_error *error) {
    scoring s = {.session = session, .n = n, .options = PSC_SCORE_OPTIONS_INIT};
    int64_t answers = 0;
    int32_t longest = 1;
    if (given)
        memcpy(&s.options, given,
            given->struct_size < sizeof s.options ? given->struct_size : sizeof s.options);
    psc_status status = check(session, requests, n, &answers, &longest, error);
    if (!status && s.options.log_p && s.options.log_p_capacity != answers)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "the continuations have %lld tokens, but log_p is for %lld", (long long)answers,
            (long long)s.options.log_p_capacity);
    if (!status && s.options.rows) *s.options.rows = 0;
    if (status || n == 0) return status;
    s.n_slots = n < session->options.n_sequences ? n : session->options.n_sequences;
    for (int32_t k = 0; k < session->options.n_sequences; k++) psc_session_truncate(session, k, 0);
    status = make_room(&s, answers, longest, error);
    if (!status) put_in_order(&s, requests);
    if (!status) status = run_all(&s, error);
    if (!status) status = sum_up(out, &s, error);
    if (s.options.rows) *s.options.rows = s.rows;
    for (int32_t k = 0; k < s.n_slots; k++) psc_session_truncate(session, k, 0);
    free(s.entries);
    free(s.slots);
    free(s.inputs);
    free(s.wanted);
    free(s.greedy);
    free(s.own_log_p);
    return status;
}
