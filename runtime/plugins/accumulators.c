/* Accumulators (docs/numerics.md: statistics over documents).
 *
 *   SUM    integers of 128 bits in units of 2^-40; a partial p becomes the integer nearest p 2^40
 *   COUNT  integers of 64 bits          MIN, MAX  f64, -0 taken as +0
 *   TOP    the k first entries by (value descending, document, position, tokens), each perhaps
 *          with bytes of the plugin's own, which do not rank
 *
 * Integer sums, minima and the first k of a total order do not depend on the order of merging.
 * Therefore any split, shard or resumption gives the same bits. */
#include "accumulators.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef __int128 fixed; /* units of 2^-40 */
__extension__ typedef unsigned __int128 unsigned_fixed;

static const char *const KINDS[] = {"sum", "count", "minimum", "maximum", "top list"};

/* --- a list ---------------------------------------------------------------------------------- */

static uint64_t slot_bytes(psc_accumulate kind, int32_t k, uint64_t extra) {
    if (kind == PSC_ACCUMULATE_SUM) return sizeof(fixed);
    if (kind == PSC_ACCUMULATE_COUNT) return sizeof(int64_t);
    return kind == PSC_ACCUMULATE_TOP ? (uint64_t)k * (sizeof(psc_top) + extra) : sizeof(double);
}

/* Entry i of a slot of TOP; its own bytes follow it. */
static psc_top *entry_at(const psc_accumulator *a, int64_t slot, int32_t i) {
    char *slots = a->slots;
    return (psc_top *)(void *)(slots + (uint64_t)(slot * a->k + i) * (sizeof(psc_top) + a->extra));
}

static psc_status check_new(const psc_accumulators *accumulators, const char *name,
    psc_accumulate kind, int64_t n, int32_t k, uint64_t extra, psc_error *error) {
    static const char good[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/";
    size_t length = name ? strspn(name, good) : 0;
    if (length == 0 || length > PSC_ACCUMULATOR_NAME || name[length])
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "accumulator name '%.80s' must have 1 to %d letters, digits or _ . - /",
            name ? name : "", PSC_ACCUMULATOR_NAME);
    for (int32_t i = 0; i < accumulators->n; i++)
        if (strcmp(accumulators->list[i].name, name) == 0)
            return psc_fail(error, PSC_ERROR_PLUGIN, "accumulator '%s' is declared twice", name);
    if ((int)kind < PSC_ACCUMULATE_SUM || kind > PSC_ACCUMULATE_TOP)
        return psc_fail(
            error, PSC_ERROR_PLUGIN, "accumulator '%s' has unknown kind %d", name, (int)kind);
    bool top = kind == PSC_ACCUMULATE_TOP;
    if (top ? k < 1 : k != 0)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "accumulator '%s' asks for %d entries per slot; a top list needs at least 1, other "
            "kinds need 0",
            name, (int)k);
    if (n < 0 || extra > SIZE_MAX / 8 / ((uint64_t)k + 1) ||
        (uint64_t)n > SIZE_MAX / 4 / slot_bytes(kind, k, extra))
        return psc_fail(
            error, PSC_ERROR_PLUGIN, "accumulator '%s' cannot have %" PRId64 " slots", name, n);
    return PSC_OK;
}

static int add(psc_accumulators *accumulators, const char *name, psc_accumulate kind, int64_t n,
    int32_t k, uint64_t extra, psc_error *error) {
    if (check_new(accumulators, name, kind, n, k, extra, error) != PSC_OK) return -1;
    psc_accumulator *list =
        realloc(accumulators->list, ((size_t)accumulators->n + 1) * sizeof *list);
    if (list) accumulators->list = list;
    uint64_t bytes = (uint64_t)n * slot_bytes(kind, k, extra);
    void *slots = list ? calloc(1, (size_t)bytes + 1) : NULL;
    if (!slots) {
        psc_fail(error, PSC_ERROR_MEMORY,
            "not enough memory for the %" PRIu64 " bytes of accumulator '%s'", bytes, name);
        return -1;
    }
    psc_accumulator *a = &list[accumulators->n];
    memset(a, 0, sizeof *a);
    a->kind = kind;
    a->n = n;
    a->k = k;
    a->extra = extra;
    a->slots = slots;
    a->bytes = bytes;
    memcpy(a->name, name, strlen(name) + 1);
    psc_accumulator_clear(a);
    return accumulators->n++;
}

int psc_accumulators_add(psc_accumulators *accumulators, const char *name, psc_accumulate kind,
    int64_t n, int32_t k, psc_error *error) {
    return add(accumulators, name, kind, n, k, 0, error);
}

int psc_accumulators_add_records(psc_accumulators *accumulators, const char *name, int64_t n,
    int32_t k, uint64_t bytes, psc_error *error) {
    if (bytes > 0 && bytes % 8 == 0)
        return add(accumulators, name, PSC_ACCUMULATE_TOP, n, k, bytes, error);
    psc_fail(error, PSC_ERROR_PLUGIN,
        "accumulator '%.64s' cannot have records of %" PRIu64
        " bytes; a record's size is a multiple of 8",
        name ? name : "", bytes);
    return -1;
}

void psc_accumulators_close(psc_accumulators *accumulators) {
    for (int32_t i = 0; i < accumulators->n; i++) {
        free(accumulators->list[i].slots);
        free(accumulators->list[i].held);
    }
    free(accumulators->list);
    *accumulators = (psc_accumulators){0};
}

static void clear_slots(const psc_accumulator *a, void *slots) {
    double *extremes = slots;
    memset(slots, 0, (size_t)a->bytes);
    if (a->kind == PSC_ACCUMULATE_MIN || a->kind == PSC_ACCUMULATE_MAX)
        for (int64_t i = 0; i < a->n; i++)
            extremes[i] = a->kind == PSC_ACCUMULATE_MIN ? INFINITY : -INFINITY;
}

void psc_accumulator_clear(psc_accumulator *a) {
    clear_slots(a, a->slots);
    if (a->kind == PSC_ACCUMULATE_TOP)
        for (int64_t i = 0; i < a->n * a->k; i++)
            entry_at(a, i / a->k, (int32_t)(i % a->k))->value = NAN;
}

/* --- one slot -------------------------------------------------------------------------------- */

static psc_status refuse(
    const psc_accumulator *a, int64_t slot, double value, const char *why, psc_error *error) {
    return psc_fail(error, PSC_ERROR_PLUGIN, "accumulator '%s', slot %" PRId64 ": %g %s", a->name,
        slot, isnan(value) ? (double)NAN : value, why); /* never -nan */
}

/* The integer nearest value * 2^40, ties to even; |value| < 2^86. */
static fixed to_grid(double value) {
    const double scaled = fabs(value) * 0x1p40; /* exact */
    if (scaled < 0x1p52) return (fixed)(int64_t)rint(value < 0 ? -scaled : scaled);
    const double high = floor(scaled * 0x1p-64); /* whole numbers from here on: all exact */
    const fixed grid = (fixed)(int64_t)high * ((fixed)1 << 64) + (uint64_t)(scaled - high * 0x1p64);
    return value < 0 ? -grid : grid;
}

static psc_status add_sum(psc_accumulator *a, int64_t slot, double value, psc_error *error) {
    fixed *sum = (fixed *)a->slots + slot;
    if (!isfinite(value)) return refuse(a, slot, value, "is not finite", error);
    if (!(fabs(value) < 0x1p86))
        return refuse(a, slot, value, "is outside the range of sums, -2^86 to 2^86", error);
    if (__builtin_add_overflow(*sum, to_grid(value), sum))
        return refuse(a, slot, value, "makes the sum overflow", error);
    return PSC_OK;
}

static psc_status add_count(psc_accumulator *a, int64_t slot, double value, psc_error *error) {
    int64_t *count = (int64_t *)a->slots + slot;
    if (!(value >= 0) || value != floor(value) || value > 0x1p53)
        return refuse(a, slot, value, "is not a count; counts are integers from 0 to 2^53", error);
    if (__builtin_add_overflow(*count, (int64_t)value, count))
        return refuse(a, slot, value, "makes the count overflow", error);
    return PSC_OK;
}

/* Slots that take up to TOGETHER partials without a look at each. */
enum { TOGETHER = 256 };

/* Adds n partials if all are small, such as those of short sequences, and no sum overflows: with
 * |value 2^40| < 2^51, adding 1.5 2^52 leaves the nearest integer, ties to
 * even, in the low bits. */
static bool add_small(fixed *sums, const double *partial, int64_t n) {
    union {
        double value[TOGETHER];
        int64_t bits[TOGETHER];
    } shifted;
    const union {
        double value;
        int64_t bits;
    } shift = {0x1.8p52};
    int large = 0;
    int64_t overflow = 0; /* its sign: of any sum */
    for (int64_t i = 0; i < n; i++) large |= !(fabs(partial[i]) < 0x1p11);
    if (large) return false;
    for (int64_t i = 0; i < n; i++) shifted.value[i] = partial[i] * 0x1p40 + shift.value;
    for (int64_t i = 0; i < n; i++) {
        const int64_t units = shifted.bits[i] - shift.bits, before = (int64_t)(sums[i] >> 64);
        sums[i] = (fixed)((unsigned_fixed)sums[i] + (unsigned_fixed)(fixed)units);
        const int64_t after = (int64_t)(sums[i] >> 64);
        overflow |= (before ^ after) & ((units >> 63) ^ after);
    }
    for (int64_t i = 0; i < n && overflow < 0; i++) /* back to what they were */
        sums[i] = (fixed)((unsigned_fixed)sums[i] -
                          (unsigned_fixed)(fixed)(shifted.bits[i] - shift.bits));
    return overflow >= 0;
}

static psc_status add_sums(
    psc_accumulator *a, int64_t begin, int64_t n, const double *partial, psc_error *error) {
    psc_status status = PSC_OK;
    for (int64_t i = 0, end; i < n && status == PSC_OK; i = end) {
        end = n - i < TOGETHER ? n : i + TOGETHER;
        if (add_small((fixed *)a->slots + begin + i, partial + i, end - i)) continue;
        for (int64_t k = i; k < end && status == PSC_OK; k++)
            status = add_sum(a, begin + k, partial[k], error);
    }
    return status;
}

static psc_status add_extremes(
    psc_accumulator *a, int64_t begin, int64_t n, const double *partial, psc_error *error) {
    double *extreme = (double *)a->slots + begin;
    int nan = 0;
    for (int64_t i = 0; i < n; i++) nan |= partial[i] != partial[i];
    for (int64_t i = 0; nan && i < n; i++)
        if (isnan(partial[i])) return refuse(a, begin + i, partial[i], "cannot be ranked", error);
    const bool least = a->kind == PSC_ACCUMULATE_MIN;
    for (int64_t i = 0; least && i < n; i++) {
        const double value = partial[i] + 0.0; /* -0 becomes +0 */
        extreme[i] = value < extreme[i] ? value : extreme[i];
    }
    for (int64_t i = 0; !least && i < n; i++) {
        const double value = partial[i] + 0.0;
        extreme[i] = value > extreme[i] ? value : extreme[i];
    }
    return PSC_OK;
}

psc_status psc_accumulator_add(
    psc_accumulator *a, int64_t begin, int64_t n, const double *partial, psc_error *error) {
    if (a->kind == PSC_ACCUMULATE_TOP || begin < 0 || n < 0 || n > a->n - begin)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "accumulator '%s' (%s, %" PRId64 " slots) cannot take a partial of %" PRId64
            " slots from slot %" PRId64,
            a->name, KINDS[a->kind], a->n, n, begin);
    if (a->kind == PSC_ACCUMULATE_SUM) return add_sums(a, begin, n, partial, error);
    if (a->kind != PSC_ACCUMULATE_COUNT) return add_extremes(a, begin, n, partial, error);
    psc_status status = PSC_OK;
    for (int64_t i = 0; i < n && status == PSC_OK; i++)
        status = add_count(a, begin + i, partial[i], error);
    return status;
}

/* --- beside the totals ----------------------------------------------------------------------- */

/* The slots, which the first caller makes. */
static void *held_slots(psc_accumulator *a) {
    void *held = atomic_load(&a->held), *made;
    if (held) return held;
    made = malloc((size_t)a->bytes + 1);
    if (!made) return NULL;
    clear_slots(a, made);
    if (atomic_compare_exchange_strong(&a->held, &held, made)) return made;
    free(made);
    return held;
}

psc_status psc_accumulator_hold(
    psc_accumulator *a, int64_t begin, int64_t n, const double *partial, psc_error *error) {
    psc_accumulator beside = {.kind = a->kind, .n = a->n, .slots = held_slots(a)};
    if (!beside.slots)
        return psc_fail(error, PSC_ERROR_MEMORY,
            "not enough memory for %" PRIu64 " bytes beside accumulator '%s'", a->bytes, a->name);
    memcpy(beside.name, a->name, sizeof beside.name);
    atomic_store_explicit(&a->holds, true, memory_order_relaxed);
    return psc_accumulator_add(&beside, begin, n, partial, error);
}

psc_status psc_accumulator_release(psc_accumulator *a, bool add, psc_error *error) {
    if (!atomic_load(&a->holds)) return PSC_OK;
    void *held = atomic_load(&a->held);
    const bool extremes = a->kind == PSC_ACCUMULATE_MIN || a->kind == PSC_ACCUMULATE_MAX;
    psc_status status = PSC_OK;
    if (add)
        status = extremes ? add_extremes(a, 0, a->n, held, error) /* all at once */
                          : psc_accumulator_merge(a, held, error);
    clear_slots(a, held);
    atomic_store(&a->holds, false);
    return status;
}

/* --- top lists ------------------------------------------------------------------------------- */

/* True if x ranks before y; the tokens decide between windows that share a row. */
static bool is_before(const psc_top *x, const psc_top *y) {
    if (isnan(y->value)) return true;
    if (x->value != y->value) return x->value > y->value;
    if (x->document != y->document) return x->document < y->document;
    if (x->position != y->position) return x->position < y->position;
    for (size_t i = 0; i < sizeof x->tokens / sizeof *x->tokens; i++)
        if (x->tokens[i] != y->tokens[i]) return x->tokens[i] < y->tokens[i];
    return false;
}

/* The place of an entry in a slot's list, k if the slot would not keep it; -1 after an error. */
static int32_t place_of(
    const psc_accumulator *a, int64_t slot, const psc_top *entry, psc_error *error) {
    if (a->kind != PSC_ACCUMULATE_TOP || slot < 0 || slot >= a->n) {
        psc_fail(error, PSC_ERROR_PLUGIN,
            "accumulator '%s' (%s, %" PRId64 " slots) cannot take an entry for slot %" PRId64,
            a->name, KINDS[a->kind], a->n, slot);
        return -1;
    }
    if (isnan(entry->value)) {
        refuse(a, slot, entry->value, "cannot be ranked", error);
        return -1;
    }
    int32_t at = a->k;
    while (at > 0 && is_before(entry, entry_at(a, slot, at - 1))) at--;
    return at;
}

int psc_accumulator_ranks(
    const psc_accumulator *a, int64_t slot, const psc_top *entry, psc_error *error) {
    const int32_t at = place_of(a, slot, entry, error);
    return at < 0 ? -1 : at < a->k;
}

psc_status psc_accumulator_add_top(
    psc_accumulator *a, int64_t slot, const psc_top *given, const void *record, psc_error *error) {
    psc_top entry = *given;
    entry.value += 0.0;
    const int32_t at = place_of(a, slot, &entry, error);
    if (at < 0) return PSC_ERROR_PLUGIN;
    if ((a->extra > 0) != (record != NULL))
        return psc_fail(error, PSC_ERROR_PLUGIN, "accumulator '%s': its entries %s a record",
            a->name, a->extra > 0 ? "need" : "do not have");
    if (at == a->k) return PSC_OK;
    psc_top *to = entry_at(a, slot, at);
    const size_t stride = sizeof *to + (size_t)a->extra;
    memmove((char *)to + stride, to, (size_t)(a->k - 1 - at) * stride);
    *to = entry;
    if (record) memcpy(to + 1, record, (size_t)a->extra);
    return PSC_OK;
}

/* --- merging and reading --------------------------------------------------------------------- */

static psc_status merge_slot(
    psc_accumulator *a, int64_t slot, const unsigned char *from, psc_error *error) {
    if (a->kind == PSC_ACCUMULATE_SUM) {
        fixed *sum = (fixed *)a->slots + slot, other;
        memcpy(&other, from, sizeof other);
        if (__builtin_add_overflow(*sum, other, sum))
            return refuse(a, slot, (double)other * 0x1p-40, "makes the sum overflow", error);
        return PSC_OK;
    }
    if (a->kind == PSC_ACCUMULATE_COUNT) {
        int64_t *count = (int64_t *)a->slots + slot, other;
        memcpy(&other, from, sizeof other);
        if (other < 0 || __builtin_add_overflow(*count, other, count))
            return refuse(a, slot, (double)other, "makes the count overflow", error);
        return PSC_OK;
    }
    if (a->kind != PSC_ACCUMULATE_TOP) {
        double other;
        memcpy(&other, from, sizeof other);
        return add_extremes(a, slot, 1, &other, error);
    }
    psc_status status = PSC_OK;
    for (int32_t i = 0; i < a->k && status == PSC_OK; i++) {
        psc_top entry;
        const unsigned char *at = from + (size_t)i * (sizeof entry + (size_t)a->extra);
        memcpy(&entry, at, sizeof entry);
        if (!isnan(entry.value))
            status = psc_accumulator_add_top(
                a, slot, &entry, a->extra ? at + sizeof entry : NULL, error);
    }
    return status;
}

psc_status psc_accumulator_merge(psc_accumulator *a, const void *slots, psc_error *error) {
    const uint64_t bytes = slot_bytes(a->kind, a->k, a->extra);
    const unsigned char *from = slots;
    psc_status status = PSC_OK;
    for (int64_t i = 0; i < a->n && status == PSC_OK; i++)
        status = merge_slot(a, i, from + (uint64_t)i * bytes, error);
    return status;
}

psc_status psc_accumulator_read(
    const psc_accumulator *a, int64_t begin, int64_t n, double *out, psc_error *error) {
    if (a->kind == PSC_ACCUMULATE_TOP || begin < 0 || n < 0 || n > a->n - begin)
        return psc_fail(error, PSC_ERROR_PLUGIN,
            "accumulator '%s' (%s, %" PRId64 " slots): cannot read %" PRId64
            " totals from slot %" PRId64,
            a->name, KINDS[a->kind], a->n, n, begin);
    for (int64_t i = 0; i < n; i++) {
        const int64_t slot = begin + i;
        if (a->kind == PSC_ACCUMULATE_SUM)
            out[i] = (double)((const fixed *)a->slots)[slot] * 0x1p-40;
        else if (a->kind == PSC_ACCUMULATE_COUNT)
            out[i] = (double)((const int64_t *)a->slots)[slot];
        else
            out[i] = ((const double *)a->slots)[slot];
    }
    return PSC_OK;
}

int32_t psc_accumulator_read_top(
    const psc_accumulator *a, int64_t slot, psc_top *out, void *records, psc_error *error) {
    if (a->kind != PSC_ACCUMULATE_TOP || slot < 0 || slot >= a->n) {
        psc_fail(error, PSC_ERROR_PLUGIN,
            "accumulator '%s' (%s, %" PRId64 " slots): cannot read slot %" PRId64 " as a top list",
            a->name, KINDS[a->kind], a->n, slot);
        return -1;
    }
    int32_t n = 0;
    for (; n < a->k && !isnan(entry_at(a, slot, n)->value); n++) {
        const psc_top *entry = entry_at(a, slot, n);
        if (out) out[n] = *entry;
        if (records) memcpy((char *)records + (size_t)n * a->extra, entry + 1, (size_t)a->extra);
    }
    return n;
}
