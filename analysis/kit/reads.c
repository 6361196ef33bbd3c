/* Reads of every level, streamed from hook_v and hook_pattern:
 *
 *   R_kj = sum_h A^h_kj |W_O,h v_j|   in f64: ascending layer, then ascending head, from the first
 *
 * One thread computes a row, and lanes are keys, so the bits depend on neither threads nor ISA. Of
 * the triangles [k, j <= k] only the used part of the capacity is ever touched. */
#include "reads.h"

#include "gram.h"

#include <math.h>
#include <string.h>

enum { LANES = 16 };

/* --- open ------------------------------------------------------------------------------------ */

/* Which heads a level sums in each layer. */
static void list_heads(psc_reads *r, int32_t level) {
    const psc_level *of = &r->levels.at[level];
    const int64_t n_heads = r->model->n_heads;
    r->first_layer[level] = r->layer_place[of->parts[0].layer];
    for (int32_t p = 0; p < of->n; p++) {
        const int64_t at = level * (int64_t)r->n_layers + r->layer_place[of->parts[p].layer];
        int32_t *heads = r->heads + at * n_heads;
        if (of->parts[p].head >= 0)
            heads[r->n_heads[at]++] = of->parts[p].head;
        else
            while (r->n_heads[at] < n_heads)
                heads[r->n_heads[at]] = r->n_heads[at], r->n_heads[at]++;
    }
}

int psc_reads_open(psc_reads *r, psc_context *context, const psc_host *host,
    const psc_levels *levels, int plain, int closure, int32_t mebibytes) {
    const psc_model_info *model = host->model(context);
    const uint64_t n_layers = (uint64_t)model->n_layers, n_levels = (uint64_t)levels->n;
    *r = (psc_reads){.context = context, .host = host, .model = model, .levels = *levels};
    r->plain = plain;
    r->closure = closure;
    r->most_bytes = (uint64_t)mebibytes << 20;
    r->layers = host->life_alloc(context, n_layers * sizeof(int32_t));
    r->layer_place = host->life_alloc(context, n_layers * sizeof(int32_t));
    r->first_layer = host->life_alloc(context, n_levels * sizeof(int32_t));
    if (!r->layers || !r->layer_place || !r->first_layer) return -1;
    for (int32_t i = 0; i < levels->n; i++)
        for (int32_t p = 0; p < levels->at[i].n; p++)
            r->layer_place[levels->at[i].parts[p].layer] = 1;
    for (int32_t l = 0; l < model->n_layers; l++) {
        const int used = r->layer_place[l];
        r->layer_place[l] = used ? r->n_layers : -1;
        if (used) r->layers[r->n_layers++] = l;
    }
    const uint64_t cells = n_levels * (uint64_t)r->n_layers;
    r->n_heads = host->life_alloc(context, cells * sizeof(int32_t));
    r->heads = host->life_alloc(context, cells * (uint64_t)model->n_heads * sizeof(int32_t));
    if (!r->n_heads || !r->heads) return -1;
    for (int32_t i = 0; i < levels->n; i++) list_heads(r, i);
    return 0;
}

/* --- room ------------------------------------------------------------------------------------ */

static uint64_t triangle_bytes(const psc_reads *r, int32_t capacity) {
    return (uint64_t)r->levels.n * (uint64_t)psc_triangle(capacity) * sizeof(double);
}

static uint64_t slot_bytes(const psc_reads *r, int32_t capacity) {
    const uint64_t rows = (uint64_t)capacity,
                   heads = (uint64_t)r->n_layers * (uint64_t)r->model->n_heads;
    const int extra = r->closure && !r->plain;
    return triangle_bytes(r, capacity) * (uint64_t)(2 + extra) + rows * sizeof(int32_t) +
           (r->plain ? 0 : rows * heads * sizeof(double));
}

/* Copies the held rows of a table [levels, triangle] into one of another capacity. */
static void move_triangles(const psc_reads *r, double *to, int32_t capacity, const double *from,
    const psc_reads_slot *old) {
    for (int32_t i = 0; i < r->levels.n; i++)
        memcpy(to + i * psc_triangle(capacity), from + i * psc_triangle(old->capacity),
            (size_t)psc_triangle(old->held) * sizeof *to);
}

static void move_slot(const psc_reads *r, psc_reads_slot *to, const psc_reads_slot *from) {
    const int64_t heads = (int64_t)r->n_layers * r->model->n_heads;
    to->held = from->held;
    if (from->held == 0) return;
    memcpy(to->tokens, from->tokens, (size_t)from->held * sizeof *to->tokens);
    move_triangles(r, to->reads, to->capacity, from->reads, from);
    move_triangles(r, to->sums, to->capacity, from->sums, from);
    if (to->weights && to->weights != to->reads)
        move_triangles(r, to->weights, to->capacity, from->weights, from);
    for (int64_t h = 0; to->norms && h < heads; h++)
        memcpy(to->norms + h * to->capacity, from->norms + h * from->capacity,
            (size_t)from->held * sizeof *to->norms);
}

/* Makes room for n positions. Rows that come one by one grow the tables by halves. */
static int grow_slot(psc_reads *r, psc_reads_slot *slot, int32_t n) {
    const psc_host *host = r->host;
    psc_reads_slot new_slot = {.sequence = slot->sequence, .capacity = n};
    if (n <= slot->capacity) return 0;
    int32_t wide = slot->capacity + slot->capacity / 2;
    if (wide > r->model->n_ctx) wide = r->model->n_ctx;
    if (wide > n && r->bytes + slot_bytes(r, wide) <= r->most_bytes) new_slot.capacity = wide;
    const uint64_t bytes = slot_bytes(r, new_slot.capacity);
    if (r->bytes + bytes > r->most_bytes)
        return host->fail(r->context,
            "the reads of %d positions at %d level%s need %.1f MiB beside %.1f MiB in use, more than "
            "memory=%llu MiB; name fewer levels=, shorten the text, or raise memory=",
            (int)n, (int)r->levels.n, r->levels.n == 1 ? "" : "s", (double)bytes / (1 << 20),
            (double)r->bytes / (1 << 20), (unsigned long long)(r->most_bytes >> 20));
    const uint64_t rows = (uint64_t)new_slot.capacity,
                   triangle = triangle_bytes(r, new_slot.capacity);
    const uint64_t heads = (uint64_t)r->n_layers * (uint64_t)r->model->n_heads;
    new_slot.tokens = host->life_alloc(r->context, rows * sizeof(int32_t));
    new_slot.reads = host->life_alloc(r->context, triangle);
    new_slot.sums = host->life_alloc(r->context, triangle);
    if (!new_slot.tokens || !new_slot.reads || !new_slot.sums) return -1;
    if (r->plain) {
        new_slot.weights = new_slot.reads;
    } else {
        new_slot.norms = host->life_alloc(r->context, rows * heads * sizeof(double));
        new_slot.weights = r->closure ? host->life_alloc(r->context, triangle) : NULL;
        if (!new_slot.norms || (r->closure && !new_slot.weights)) return -1;
    }
    r->bytes += bytes;
    move_slot(r, &new_slot, slot);
    *slot = new_slot;
    return 0;
}

/* A slot for a sequence; over documents, the run's number of it. */
static psc_reads_slot *find_slot(psc_reads *r, int32_t sequence) {
    for (int32_t i = 0; i < r->n_slots; i++)
        if (r->slots[i].sequence == sequence) return &r->slots[i];
    if (r->n_slots == r->slots_capacity) {
        const int32_t capacity = r->slots_capacity ? 2 * r->slots_capacity : 8;
        psc_reads_slot *slots = r->host->life_alloc(r->context, (uint64_t)capacity * sizeof *slots);
        if (!slots) return NULL;
        if (r->n_slots) memcpy(slots, r->slots, (size_t)r->n_slots * sizeof *slots);
        r->slots = slots;
        r->slots_capacity = capacity;
    }
    psc_reads_slot *slot = &r->slots[r->n_slots++];
    *slot = (psc_reads_slot){.sequence = sequence};
    return slot;
}

/* --- run_begin ------------------------------------------------------------------------------- */

static int begin_sequence(psc_reads *r, psc_reads_sequence *s, const psc_row *rows, int documents) {
    psc_reads_slot *slot = find_slot(r, documents ? r->n : s->sequence);
    if (!slot) return -1;
    if (documents) slot->held = 0;
    if (s->first > slot->held)
        return r->host->fail(r->context,
            "sequence %d begins at position %d, but only its positions below %d were seen; run it "
            "from position 0",
            (int)s->sequence, (int)s->first, (int)slot->held);
    slot->held = s->first; /* the caller truncated it if it was longer */
    if (grow_slot(r, slot, s->n)) return -1;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): grow_slot made room for them
    for (int32_t k = s->first; k < s->n; k++) slot->tokens[k] = rows[k - s->first].token;
    s->tokens = slot->tokens;
    s->slot = (int32_t)(slot - r->slots);
    return 0;
}

static int find_sequences(psc_reads *r, const psc_row *rows, int32_t n_rows) {
    const int documents = r->host->accumulating(r->context);
    const uint64_t room = (uint64_t)n_rows;
    r->n = 0;
    r->sequences = r->host->run_alloc(r->context, room * sizeof *r->sequences + 1);
    r->of_row = r->host->run_alloc(r->context, room * sizeof *r->of_row + 1);
    if (!r->sequences || !r->of_row) return -1;
    for (int32_t i = 0; i < n_rows; r->n++) {
        psc_reads_sequence *s = &r->sequences[r->n];
        *s = (psc_reads_sequence){rows[i].sequence, rows[i].position, 0, rows[i].index, NULL, 0};
        const int32_t from = i;
        for (; i < n_rows && rows[i].sequence == s->sequence; i++) r->of_row[i] = r->n;
        s->n = rows[i - 1].position + 1;
        if (begin_sequence(r, s, rows + from, documents)) return -1;
    }
    return 0;
}

/* The Gram matrices of the levels' layers, once per instance. */
static int make_gram(psc_reads *r) {
    const uint64_t heads = (uint64_t)r->model->n_heads, size = (uint64_t)r->model->d_head;
    const uint64_t layer = heads * size * size;
    if (r->gram || r->plain) return 0;
    double *gram = r->host->life_alloc(r->context, (uint64_t)r->n_layers * layer * sizeof *r->gram);
    r->lanes = r->host->life_alloc(r->context, heads * size * LANES * sizeof *r->lanes);
    if (!gram || !r->lanes) return -1;
    for (int32_t i = 0; i < r->n_layers; i++)
        if (psc_output_gram_layer(r->context, r->host, r->layers[i], gram + (uint64_t)i * layer))
            return -1;
    r->gram = gram;
    return 0;
}

static int on_values(const psc_event *event, void *payload);
static int on_pattern(const psc_event *event, void *payload);

int psc_reads_begin(psc_reads *r) {
    int32_t n_rows = 0;
    const psc_row *rows = r->host->rows(r->context, &n_rows);
    psc_filter filter = PSC_FILTER_INIT;
    filter.layers = r->layers;
    filter.n_layers = r->n_layers;
    if (find_sequences(r, rows, n_rows) || make_gram(r)) return -1;
    if (!r->plain && r->host->observe(r->context, PSC_HOOK_V, &filter, on_values, r)) return -1;
    return r->host->observe(r->context, PSC_HOOK_PATTERN, &filter, on_pattern, r);
}

/* --- events ---------------------------------------------------------------------------------- */

typedef struct reads_task {
    const psc_reads *r;
    const psc_event *event;
} reads_task;

static const psc_reads_slot *slot_of(const reads_task *task, int64_t row) {
    const psc_reads *r = task->r;
    return &r->slots[r->sequences[r->of_row[task->event->rows[row].index]].slot];
}

/* |W_O,h v| of all rows of heads begin..end-1, 16 rows at a time. */
static void take_values(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const reads_task *task = payload;
    const psc_reads *r = task->r;
    const psc_view *v = &task->event->tensor;
    const int64_t size = r->model->d_head, heads = r->model->n_heads;
    const int64_t place = r->layer_place[task->event->layer];
    double norms[LANES];
    (void)thread;
    for (int64_t h = begin; h < end; h++) {
        const double *gram = r->gram + (place * heads + h) * size * size;
        for (int64_t row = 0; row < task->event->n_rows; row += LANES) {
            const int64_t left = task->event->n_rows - row, n = left < LANES ? left : LANES;
            psc_output_norms(gram, v->data + row * v->stride[0] + h * v->stride[1], v->stride[0], n,
                size, r->lanes + h * size * LANES, norms);
            for (int64_t i = 0; i < n; i++) {
                const psc_reads_slot *slot = slot_of(task, row + i);
                slot->norms[(place * heads + h) * slot->capacity +
                            task->event->rows[row + i].position] = norms[i];
            }
        }
    }
}

static int on_values(const psc_event *event, void *payload) {
    psc_reads *r = payload;
    reads_task task = {r, event};
    r->host->parallel_for(r->context, r->model->n_heads, take_values, &task);
    return 0;
}

/* out[j] (+)= sum_h a_h[j] w_h[j] of one block of keys, each key a chain of its own. */
static inline void add_block(double *out, const float *a, int64_t a_stride, const double *w,
    int64_t w_stride, const int32_t *heads, int32_t n_heads, int set, int64_t n) {
    double sum[LANES];
    for (int64_t j = 0; j < n; j++) sum[j] = set ? 0.0 : out[j];
    for (int32_t i = 0; i < n_heads; i++) {
        const float *from = a + heads[i] * a_stride;
        const double *by = w + heads[i] * w_stride;
        for (int64_t j = 0; j < n; j++) sum[j] += (double)from[j] * by[j];
    }
    for (int64_t j = 0; j < n; j++) out[j] = sum[j];
}

static inline void add_plain_block(double *out, const float *a, int64_t a_stride,
    const int32_t *heads, int32_t n_heads, int set, int64_t n) {
    double sum[LANES];
    for (int64_t j = 0; j < n; j++) sum[j] = set ? 0.0 : out[j];
    for (int32_t i = 0; i < n_heads; i++) {
        const float *from = a + heads[i] * a_stride;
        for (int64_t j = 0; j < n; j++) sum[j] += (double)from[j];
    }
    for (int64_t j = 0; j < n; j++) out[j] = sum[j];
}

/* Adds one layer's part of row k to its level. */
static void add_row(const reads_task *task, int64_t row, int32_t level) {
    const psc_reads *r = task->r;
    const psc_view *a = &task->event->tensor;
    const psc_reads_slot *slot = slot_of(task, row);
    const int32_t k = task->event->rows[row].position;
    const int64_t heads = r->model->n_heads, place = r->layer_place[task->event->layer];
    const int64_t cell = level * (int64_t)r->n_layers + place;
    const int64_t from = level * psc_triangle(slot->capacity) + psc_triangle(k);
    const float *pattern = a->data + row * a->stride[0];
    const int32_t *which = r->heads + cell * heads, n_heads = r->n_heads[cell];
    const int set = place == r->first_layer[level];
    if (n_heads == 0) return;
    for (int64_t j = 0; j <= k && !r->plain; j += LANES) {
        const double *norms = slot->norms + place * heads * slot->capacity + j;
        double *out = slot->reads + from + j;
        if (k + 1 - j >= LANES)
            add_block(
                out, pattern + j, a->stride[1], norms, slot->capacity, which, n_heads, set, LANES);
        else
            add_block(out, pattern + j, a->stride[1], norms, slot->capacity, which, n_heads, set,
                k + 1 - j);
    }
    for (int64_t j = 0; j <= k && slot->weights; j += LANES) {
        double *out = slot->weights + from + j;
        if (k + 1 - j >= LANES)
            add_plain_block(out, pattern + j, a->stride[1], which, n_heads, set, LANES);
        else
            add_plain_block(out, pattern + j, a->stride[1], which, n_heads, set, k + 1 - j);
    }
}

/* Rows alternate between both ends of the event, so that contiguous parts cost the same: later
 * rows have more keys. */
static void take_pattern(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const reads_task *task = payload;
    const int64_t n = task->event->n_rows;
    (void)thread;
    for (int64_t i = begin; i < end; i++)
        for (int32_t level = 0; level < task->r->levels.n; level++)
            add_row(task, i % 2 ? n - 1 - i / 2 : i / 2, level);
}

static int on_pattern(const psc_event *event, void *payload) {
    psc_reads *r = payload;
    reads_task task = {r, event};
    r->host->parallel_for(r->context, event->n_rows, take_pattern, &task);
    return 0;
}

/* --- run_end and after ----------------------------------------------------------------------- */

static double *table_of(const psc_reads_slot *slot, double *table, int32_t level) {
    return table + level * psc_triangle(slot->capacity);
}

/* Prefix sums of the run's rows; i counts levels within sequences. */
static void sum_rows(int64_t begin, int64_t end, int32_t thread, void *payload) {
    const psc_reads *r = payload;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const psc_reads_sequence *s = &r->sequences[i / r->levels.n];
        const psc_reads_slot *slot = &r->slots[s->slot];
        const int32_t level = (int32_t)(i % r->levels.n);
        double *sums = table_of(slot, slot->sums, level);
        const double *reads = table_of(slot, slot->reads, level);
        for (int32_t k = s->first; k < s->n; k++) psc_cuts_extend(sums, k, reads + psc_triangle(k));
    }
}

int psc_reads_end(psc_reads *r) {
    r->host->parallel_for(r->context, (int64_t)r->n * r->levels.n, sum_rows, r);
    for (int32_t s = 0; s < r->n; s++) r->slots[r->sequences[s].slot].held = r->sequences[s].n;
    return 0;
}

const double *psc_reads_row(const psc_reads *r, int32_t s, int32_t level, int32_t position) {
    const psc_reads_slot *slot = &r->slots[r->sequences[s].slot];
    return table_of(slot, slot->reads, level) + psc_triangle(position);
}

const double *psc_reads_sums(const psc_reads *r, int32_t s, int32_t level) {
    const psc_reads_slot *slot = &r->slots[r->sequences[s].slot];
    return table_of(slot, slot->sums, level);
}

double psc_reads_closure(const psc_reads *r, int32_t s, int32_t level, int32_t t) {
    const psc_reads_slot *slot = &r->slots[r->sequences[s].slot];
    const int32_t n = r->sequences[s].n;
    if (t < 2) return (double)NAN;
    if (t + 1 >= n) return 0.0;
    const double *weights = table_of(slot, slot->weights, level);
    double sum = 0.0;
    for (int32_t k = t + 1; k < n; k++) sum += weights[psc_triangle(k) + t - 1];
    return -sum / ((double)r->levels.at[level].n_heads * (double)(n - 1 - t));
}
