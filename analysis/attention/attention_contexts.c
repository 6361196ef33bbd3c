/* Over documents: the windows where each head's attention is largest, and a sample of all windows.
 *
 *   largest     max of A_kj over rows k > 0 and keys j > 0 of a window
 *   top         per head the `kept` windows with the largest; ties to the lower document, position
 *   sample      the windows with the largest priority, a hash of document and position: a uniform
 *               sample that does not depend on the order, so shards merge to the same one
 *   ranked      `largest` of every head in the windows of a larger such sample, for quantiles
 *
 * Windows of one row are left out. Sums are f64 by sequence in row order;
 * each head has one thread. */
#include "attention_contexts.h"
#include "attention.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- open ------------------------------------------------------------------------------------ */

/* Bytes of the lists and of the files that are made of them: some 16 per kept weight and 32 per
 * token. */
static double needed(const attention_contexts *c) {
    const double cells = (double)c->n_cells, record = (double)(sizeof(psc_top) + c->record_bytes);
    if (!c->folder) return cells * c->kept * record;
    const double lists = cells * (c->kept + HEADVIS_SAMPLED) * record +
                         HEADVIS_RANKED * (sizeof(psc_top) + 4.0 * cells);
    const double written = c->kept + (HEADVIS_BUCKETS - 1) * HEADVIS_SAMPLES;
    return lists + cells * written * c->window * (16.0 * HEADVIS_KEYS + 32.0);
}

static int check_memory(const attention_contexts *c, int32_t memory) {
    const double mebibytes = needed(c) / (1 << 20);
    if (mebibytes <= (double)memory) return 0;
    if (!c->folder)
        return c->host->fail(c->context,
            "contexts=%d of %d heads need %.1f MiB, more than memory=%d MiB; ask for fewer, or raise "
            "memory=",
            (int)c->kept, (int)c->n_cells, mebibytes, (int)memory);
    return c->host->fail(c->context,
        "headvis= with windows of %d tokens of %d heads needs up to %.1f MiB, more than memory=%d "
        "MiB; pass a smaller window= and --window, or raise memory=",
        (int)c->window, (int)c->n_cells, mebibytes, (int)memory);
}

static int open_folder(attention_contexts *c) {
    const psc_host *host = c->host;
    const int64_t cells = c->n_cells;
    const uint64_t ranked = ((uint64_t)cells * sizeof(float) + 7) / 8 * 8;
    c->sample = host->accumulator_records(
        c->context, "headvis.sample", cells, HEADVIS_SAMPLED, c->record_bytes);
    if (c->sample < 0) return -1;
    c->ranked = host->accumulator_records(c->context, "headvis.ranked", 1, HEADVIS_RANKED, ranked);
    if (c->ranked < 0) return -1;
    const struct {
        int *handle;
        const char *name;
        psc_accumulate kind;
        int64_t n;
    } tables[] = {{&c->sums, "headvis.sums", PSC_ACCUMULATE_SUM, cells * SUM_COUNT},
        {&c->counts, "headvis.counts", PSC_ACCUMULATE_COUNT, COUNT_COUNT},
        {&c->histogram, "headvis.histogram", PSC_ACCUMULATE_COUNT, cells * HEADVIS_BINS},
        {&c->longest, "headvis.longest", PSC_ACCUMULATE_MAX, 1}};
    for (int i = 0; i < 4; i++) {
        *tables[i].handle =
            host->accumulator(c->context, tables[i].name, tables[i].kind, tables[i].n, 0);
        if (*tables[i].handle < 0) return -1;
    }
    return 0;
}

int attention_contexts_open(attention_contexts *c, int32_t memory) {
    const psc_model_info *model = c->host->model(c->context);
    c->n_cells = (int64_t)model->n_layers * model->n_heads;
    c->n_vocab = model->d_vocab;
    if (!c->folder || c->window > model->n_ctx) c->window = model->n_ctx;
    if (c->folder && c->kept == 0) c->kept = HEADVIS_CONTEXTS;
    c->record_bytes = c->folder ? attention_record_bytes(c->window) : sizeof(head_window);
    if (check_memory(c, memory)) return -1;
    c->top =
        c->host->accumulator_records(c->context, "contexts", c->n_cells, c->kept, c->record_bytes);
    return c->top < 0 ? -1 : c->folder ? open_folder(c) : 0;
}

/* --- a run ----------------------------------------------------------------------------------- */

/* Index of the first row after the sequence that begins at row `begin`. */
static int32_t end_of(const attention_contexts *c, int32_t begin) {
    int32_t end = begin;
    while (end < c->n_rows && c->rows[end].sequence == c->rows[begin].sequence) end++;
    return end;
}

static int check_windows(const attention_contexts *c) {
    for (int32_t begin = 0, end; begin < c->n_rows; begin = end) {
        end = end_of(c, begin);
        if (c->rows[begin].position != 0)
            return c->host->fail(c->context,
                "contexts= and headvis= need whole windows, but a sequence continues at position %d",
                (int)c->rows[begin].position);
        if (end - begin > c->window)
            return c->host->fail(c->context,
                "a window of %d tokens is longer than headvis= keeps; pass window=%d, or --window %d",
                (int)(end - begin), (int)(end - begin), (int)c->window);
    }
    return 0;
}

int attention_contexts_begin(attention_contexts *c) {
    const psc_host *host = c->host;
    c->rows = host->rows(c->context, &c->n_rows);
    if (check_windows(c) || psc_sequences_find(c->context, host, &c->sequences)) return -1;
    const uint64_t cells = (uint64_t)c->n_cells, rows = (uint64_t)c->n_rows;
    c->best = host->run_alloc(
        c->context, cells * (uint64_t)c->sequences.n * sizeof *c->best + sizeof *c->best);
    if (!c->best) return -1;
    if (!c->folder) return 0;
    const uint64_t bytes = cells * rows * HEADVIS_KEYS * sizeof(uint16_t);
    c->keys = host->run_alloc(c->context, bytes + 1);
    c->weights = host->run_alloc(c->context, bytes + 1);
    c->room = host->run_alloc(c->context, cells * (SUM_COUNT + HEADVIS_BINS) * sizeof(double));
    return c->keys && c->weights && c->room ? 0 : -1;
}

void attention_contexts_take(
    attention_contexts *c, int64_t cell, const psc_row *row, const float *a) {
    const int32_t k = row->position, sequence = c->sequences.place[row->index] / 2;
    head_window *best = &c->best[cell * c->sequences.n + sequence];
    best->n = k + 1;
    for (int32_t j = 1; j <= k; j++) {
        if (best->row > 0 && a[j] <= best->largest) continue;
        best->row = k;
        best->key = j;
        best->largest = a[j];
    }
    if (!c->folder) return;
    const int64_t at = (cell * c->n_rows + row->index) * HEADVIS_KEYS;
    attention_record_keys(k + 1, a, c->keys + at, c->weights + at);
}

/* --- a run's addition ------------------------------------------------------------------------ */

/* A whole number below 2^53 over 2^53, from the place of a window: splitmix64's last steps. */
static double priority_of(int64_t document, int32_t position) {
    uint64_t x = (uint64_t)document * 0x9e3779b97f4a7c15u + (uint64_t)(int64_t)position;
    for (int i = 0; i < 2; i++) {
        x += 0x9e3779b97f4a7c15u;
        x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
        x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
        x ^= x >> 31;
    }
    return (double)(x >> 11) * 0x1p-53;
}

static const head_window *best_of(const attention_contexts *c, int64_t cell, int32_t sequence) {
    return &c->best[cell * c->sequences.n + sequence];
}

/* Offers the window that begins at row `begin` to the heads' lists of the largest. */
static int add_top(attention_contexts *c, int32_t begin, int32_t sequence, void *record) {
    for (int64_t cell = 0; cell < c->n_cells; cell++) {
        const head_window *best = best_of(c, cell, sequence);
        const psc_row *row = &c->rows[begin + best->row];
        const double largest = (double)best->largest;
        const int ranks = c->host->accumulate_record(c->context, c->top, cell, largest, row, NULL);
        if (ranks < 0) return -1;
        if (!ranks) continue;
        attention_record_fill(c, cell, begin, best, record);
        if (c->host->accumulate_record(c->context, c->top, cell, largest, row, record) < 0)
            return -1;
    }
    return 0;
}

/* Offers the window to the samples. Its priority is the same for every head. */
static int add_samples(attention_contexts *c, int32_t begin, int32_t sequence, void *record) {
    const psc_host *host = c->host;
    const psc_row *row = &c->rows[begin];
    int64_t document;
    int32_t position;
    if (host->place(c->context, row, &document, &position)) return -1;
    const double priority = priority_of(document, position);
    int ranks = host->accumulate_record(c->context, c->ranked, 0, priority, row, NULL);
    if (ranks < 0) return -1;
    if (ranks) {
        float *largest = record;
        if (c->n_cells % 2) largest[c->n_cells] = 0.0f;
        for (int64_t cell = 0; cell < c->n_cells; cell++)
            largest[cell] = best_of(c, cell, sequence)->largest;
        if (host->accumulate_record(c->context, c->ranked, 0, priority, row, record) < 0) return -1;
    }
    ranks = host->accumulate_record(c->context, c->sample, 0, priority, row, NULL);
    if (ranks < 0) return -1;
    for (int64_t cell = 0; ranks && cell < c->n_cells; cell++) {
        attention_record_fill(c, cell, begin, best_of(c, cell, sequence), record);
        if (host->accumulate_record(c->context, c->sample, cell, priority, row, record) < 0)
            return -1;
    }
    return 0;
}

/* Adds one row's statistics to a head's sums. */
static void sum_row(const double *x, double *sums) {
    sums[SUM_SELF] += x[STAT_SELF];
    sums[SUM_PREVIOUS] += isnan(x[STAT_PREVIOUS]) ? 0.0 : x[STAT_PREVIOUS];
    sums[SUM_ENTROPY] += x[STAT_ENTROPY];
    sums[SUM_DISTANCE] += x[STAT_DISTANCE];
    sums[SUM_SQUARE] += x[STAT_VARIANCE] + x[STAT_DISTANCE] * x[STAT_DISTANCE];
    sums[SUM_INDUCTION] += isnan(x[STAT_INDUCTION]) ? 0.0 : x[STAT_INDUCTION];
}

static int bin_of(float largest) {
    if (!(largest > 0.0f) || largest >= 1.0f) return largest > 0.0f ? HEADVIS_BINS - 1 : 0;
    const int bin = (int)(largest * (float)HEADVIS_BINS);
    return bin < HEADVIS_BINS ? bin : HEADVIS_BINS - 1;
}

/* The metrics' sums and counts, and the histogram, of rows begin..end-1. */
static int add_sums(
    attention_contexts *c, const double *stats, int32_t begin, int32_t end, int32_t sequence) {
    const psc_host *host = c->host;
    double *sums = c->room, *bins = sums + c->n_cells * SUM_COUNT, length = end - begin;
    double counts[COUNT_COUNT] = {[COUNT_ROWS] = length, [COUNT_LATER] = length - 1, 0, 1};
    memset(c->room, 0, (size_t)(c->n_cells * (SUM_COUNT + HEADVIS_BINS)) * sizeof *c->room);
    for (int32_t r = begin; r < end; r++)
        counts[COUNT_REPEATS] += !isnan(stats[r * STAT_COUNT + STAT_INDUCTION]);
    for (int64_t cell = 0; cell < c->n_cells; cell++) {
        const float largest = best_of(c, cell, sequence)->largest;
        for (int32_t r = begin; r < end; r++)
            sum_row(stats + (cell * c->n_rows + r) * STAT_COUNT, sums + cell * SUM_COUNT);
        sums[cell * SUM_COUNT + SUM_LARGEST] = (double)largest;
        bins[cell * HEADVIS_BINS + bin_of(largest)] = 1.0;
    }
    return host->accumulate(c->context, c->sums, 0, c->n_cells * SUM_COUNT, sums) ||
           host->accumulate(c->context, c->counts, 0, COUNT_COUNT, counts) ||
           host->accumulate(c->context, c->histogram, 0, c->n_cells * HEADVIS_BINS, bins) ||
           host->accumulate(c->context, c->longest, 0, 1, &length);
}

int attention_contexts_add(attention_contexts *c, const double *stats) {
    const uint64_t ranked = (uint64_t)(c->n_cells + 1) * sizeof(float);
    void *record =
        c->host->run_alloc(c->context, c->record_bytes > ranked ? c->record_bytes : ranked);
    if (!record) return -1;
    for (int32_t begin = 0, end, sequence = 0; begin < c->n_rows; begin = end, sequence++) {
        end = end_of(c, begin);
        if (end - begin < 2) continue;
        if (add_top(c, begin, sequence, record)) return -1;
        if (c->folder &&
            (add_samples(c, begin, sequence, record) || add_sums(c, stats, begin, end, sequence)))
            return -1;
    }
    return 0;
}

/* --- the report ------------------------------------------------------------------------------ */

enum { SHOWN = 4 };

/* The windows with the largest attention, of one head each, as the summary prints them. */
typedef struct shown_windows {
    int32_t n;
    int64_t cell[SHOWN];
    psc_top top[SHOWN];
    int32_t key[SHOWN];
} shown_windows;

/* Of equal values the head that comes first stays first. */
static void choose_shown(shown_windows *shown, int64_t cell, const psc_top *top, int32_t key) {
    int32_t at = shown->n;
    while (at > 0 && top->value > shown->top[at - 1].value) at--;
    if (at == SHOWN) return;
    if (shown->n < SHOWN) shown->n++;
    for (int32_t i = shown->n - 1; i > at; i--) {
        shown->cell[i] = shown->cell[i - 1];
        shown->top[i] = shown->top[i - 1];
        shown->key[i] = shown->key[i - 1];
    }
    shown->cell[at] = cell;
    shown->top[at] = *top;
    shown->key[at] = key;
}

static int show_windows(const attention_contexts *c, const shown_windows *shown) {
    const psc_host *host = c->host;
    const int64_t n_heads = host->model(c->context)->n_heads;
    for (int32_t i = 0; i < shown->n; i++) {
        char more[48];
        const int64_t cell = shown->cell[i];
        if (shown->key[i] == shown->top[i].position)
            snprintf(more, sizeof more, ", reads itself");
        else
            snprintf(more, sizeof more, ", reads token %d", (int)shown->key[i]);
        const char *label = host->label(
            c->context, PSC_COMPONENT_HEAD, (int32_t)(cell / n_heads), (int32_t)(cell % n_heads));
        if (psc_show_context(c->context, host, label, &shown->top[i], more)) return -1;
    }
    return 0;
}

int attention_contexts_report(attention_contexts *c) {
    static const char *const axes[] = {"layers", "heads", "contexts", "window"};
    const psc_host *host = c->host;
    const int64_t window = PSC_TOP_BEFORE + 1 + PSC_TOP_AFTER;
    psc_top *entries = host->run_alloc(c->context, (uint64_t)c->kept * sizeof *entries);
    char *records = host->run_alloc(c->context, (uint64_t)c->kept * c->record_bytes);
    if (!entries || !records || psc_count_axis(c->context, host, "contexts", 0, c->kept) ||
        psc_count_axis(c->context, host, "window", -PSC_TOP_BEFORE, window))
        return -1;
    double *value = host->array(c->context, "context_value", PSC_F64, 3, axes);
    double *document = host->array(c->context, "context_document", PSC_F64, 3, axes);
    int32_t *position = host->array(c->context, "context_position", PSC_I32, 3, axes);
    int32_t *key = host->array(c->context, "context_key", PSC_I32, 3, axes);
    int32_t *tokens = psc_token_ids_array(c->context, host, "context_tokens", 4, axes);
    if (!value || !document || !position || !key || !tokens) return -1;
    shown_windows shown = {0};
    for (int64_t cell = 0; cell < c->n_cells; cell++) {
        const int32_t n = host->accumulated_records(c->context, c->top, cell, entries, records);
        if (n < 0) return -1;
        for (int32_t e = 0; e < n; e++) {
            const int64_t at = cell * c->kept + e;
            const head_record record =
                attention_record_at(c, records + (uint64_t)e * c->record_bytes);
            if (attention_record_check(c, &record)) return -1;
            value[at] = entries[e].value;
            document[at] = (double)entries[e].document;
            position[at] = entries[e].position;
            key[at] = (int32_t)((int64_t)position[at] - record.head->row + record.head->key);
            memcpy(tokens + at * window, entries[e].tokens, (size_t)window * sizeof *tokens);
            if (e == 0) choose_shown(&shown, cell, entries, key[at]);
        }
    }
    if (show_windows(c, &shown)) return -1;
    return psc_name_documents(c->context, host, document, c->n_cells * c->kept);
}
