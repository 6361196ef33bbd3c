/* The place of a corpus as JSON for a state file, and back: one object of the members below.
 *
 *   {"corpus": "<32 hex digits>", "window": 512, "bos": 0, ..., "tokens": 90112, "files": [...]}
 *
 * For a source it also has "read", the hash of all documents so far. "corpus" is the same hash, or
 * with a limit that of document 0, because parts then end at different documents.
 * "files" names the documents (corpus_names.c). */
#include "corpus.h"

#include "json.h"

#include <inttypes.h>
#include <stddef.h>
#include <string.h>

#define MOST ((int64_t)1 << 60) /* of a count or an offset: two of them do not overflow */

typedef struct written_place {
    char identity[33];
    char read[33]; /* "" for files */
    int64_t window, bos, shard, n_shards, limit, finished;
    int64_t stride;                         /* 0: windows do not overlap */
    int64_t sample, seed, population, most; /* most: its bits */
    bool by_size;
    corpus_place at;
} written_place;

static const struct {
    const char *key;
    size_t offset;
    int64_t least, most;
    const char *with; /* only a place with this member has it; null: all places */
} members[] = {
    {"window", offsetof(written_place, window), 1, INT32_MAX, NULL},
    {"stride", offsetof(written_place, stride), 1, INT32_MAX, "stride"},
    {"bos", offsetof(written_place, bos), 0, 1, NULL},
    {"shard", offsetof(written_place, shard), 0, PSC_CORPUS_SHARDS, NULL},
    {"n_shards", offsetof(written_place, n_shards), 0, PSC_CORPUS_SHARDS, NULL},
    {"limit", offsetof(written_place, limit), 0, MOST, NULL},
    {"finished", offsetof(written_place, finished), 0, 1, NULL},
    {"file", offsetof(written_place, at.file), 0, MOST, NULL},
    {"line", offsetof(written_place, at.line), 0, MOST, NULL},
    {"offset", offsetof(written_place, at.offset), 0, MOST, NULL},
    {"next", offsetof(written_place, at.next), 0, MOST, NULL},
    {"document", offsetof(written_place, at.document), -1, MOST, NULL},
    {"first", offsetof(written_place, at.first), 0, MOST, NULL},
    {"piece", offsetof(written_place, at.piece), 0, MOST, NULL},
    {"skip", offsetof(written_place, at.skip), 0, MOST, NULL},
    {"documents", offsetof(written_place, at.documents), 0, MOST, NULL},
    {"skipped", offsetof(written_place, at.skipped), 0, MOST, NULL},
    {"windows", offsetof(written_place, at.windows), 0, MOST, NULL},
    {"sample", offsetof(written_place, sample), 1, MOST, "sample"},
    {"seed", offsetof(written_place, seed), 0, INT64_MAX, "sample"},
    {"population", offsetof(written_place, population), -1, MOST, "sample"},
    {"most", offsetof(written_place, most), INT64_MIN, INT64_MAX, "sample"},
    {"tokens", offsetof(written_place, at.tokens), 0, MOST, NULL},
};
enum { N_MEMBERS = sizeof members / sizeof *members };

static int64_t *member_of(written_place *place, int i) {
    return (int64_t *)(void *)((char *)place + members[i].offset);
}

static bool has_member(const written_place *place, const char *with) {
    if (!with) return true;
    return strcmp(with, "sample") == 0 ? place->sample > 0 : place->stride > 0;
}

/* --- writing --------------------------------------------------------------------------------- */

/* The position `at`; read, first: a source's hashes there. */
static psc_status tell(char **out, const psc_corpus *c, const corpus_place *at, const char *read,
    const char *first, psc_error *error) {
    written_place w = {.window = c->window,
        .stride = corpus_overlapping_stride(c),
        .bos = c->bos,
        .shard = c->shard,
        .n_shards = c->n_shards,
        .limit = c->limit,
        .finished = corpus_is_finished(c, at),
        .sample = c->sample.n,
        .seed = c->sample.seed,
        .population = c->sample.population,
        .most = (int64_t)c->sample.most,
        .by_size = c->by_size && c->n_shards > 0,
        .at = *at};
    json_t *place = json_object();
    if (c->source.next) memcpy(w.read, read, 33);
    const char *identity = !c->source.next ? c->identity : c->limit ? first : read;
    bool complete = json_object_set_new(place, "corpus", json_string(identity)) == 0;
    if (w.read[0]) complete &= json_object_set_new(place, "read", json_string(w.read)) == 0;
    for (int i = 0; i < N_MEMBERS && complete; i++)
        if (has_member(&w, members[i].with))
            complete =
                json_object_set_new(place, members[i].key, json_integer(*member_of(&w, i))) == 0;
    if (w.by_size) complete &= json_object_set_new(place, "shard_by", json_string("size")) == 0;
    complete = complete && corpus_names_tell(place, c, at);
    *out = complete ? psc_json_dump(place, JSON_COMPACT) : NULL;
    json_decref(place);
    if (*out) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the position in the corpus");
}

psc_status psc_corpus_tell(char **out, const psc_corpus *c, psc_error *error) {
    char read[33] = "";
    if (c->source.next) corpus_source_hash(read, c);
    return tell(out, c, &c->at, read, c->source.first, error);
}

void psc_corpus_mark(psc_corpus *c) {
    c->marked = c->at;
    c->is_marked = true;
    if (c->source.next) corpus_source_hash(c->marked_read, c);
    memcpy(c->marked_first, c->source.first, 33);
}

psc_status psc_corpus_tell_mark(char **out, const psc_corpus *c, psc_error *error) {
    *out = NULL;
    if (!c->is_marked)
        return psc_fail(error, PSC_ERROR_STATE, "the corpus has no marked position to be told");
    return tell(out, c, &c->marked, c->marked_read, c->marked_first, error);
}

/* --- reading --------------------------------------------------------------------------------- */

static psc_status invalid(const char *key, const char *what, psc_error *error) {
    return psc_fail(
        error, PSC_ERROR_INPUT, "the recorded position in the corpus is invalid: %s %s", key, what);
}

static psc_status take_hash(char out[33], const json_t *place, const char *key, psc_error *error) {
    const char *hex = json_string_value(json_object_get(place, key));
    if (!hex || strlen(hex) != 32 || strspn(hex, "0123456789abcdef") != 32)
        return invalid(key, "must be 32 hexadecimal digits", error);
    memcpy(out, hex, 33);
    return PSC_OK;
}

static psc_status take_members(written_place *out, const json_t *place, psc_error *error) {
    psc_status status = take_hash(out->identity, place, "corpus", error);
    if (status == PSC_OK && json_object_get(place, "read"))
        status = take_hash(out->read, place, "read", error);
    if (status != PSC_OK) return status;
    const char *by = json_string_value(json_object_get(place, "shard_by"));
    out->by_size = by && strcmp(by, "size") == 0;
    if (json_object_get(place, "shard_by") && !out->by_size)
        return invalid("shard_by", "must be size", error);
    for (int i = 0; i < N_MEMBERS; i++) {
        const json_t *value = json_object_get(place, members[i].key);
        if (members[i].with && !json_object_get(place, members[i].with)) continue;
        if (!json_is_integer(value)) return invalid(members[i].key, "must be an integer", error);
        *member_of(out, i) = json_integer_value(value);
        if (json_integer_value(value) < members[i].least ||
            json_integer_value(value) > members[i].most)
            return invalid(members[i].key, "is out of range", error);
    }
    if (out->shard > out->n_shards || (out->n_shards > 0 && out->shard < 1))
        return invalid("shard", "is out of range", error);
    return PSC_OK;
}

static psc_status read_place(written_place *out, const char *text, psc_error *error) {
    json_error_t why;
    if (strncmp(text, "corpus=", 7) == 0) /* "corpus=... window=...": before 0.2.0 */
        return psc_fail(error, PSC_ERROR_SUPPORT,
            "the recorded position in the corpus was written by version 0.1.0, which this version does not read; read the corpus from its start");
    json_t *place = psc_json_load(text, strlen(text), JSON_REJECT_DUPLICATES, &why);
    psc_status status = PSC_OK;
    if (!place && psc_json_no_memory(&why))
        status =
            psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the position in the corpus");
    else if (!json_is_object(place))
        status = invalid("it", "is not a JSON object", error);
    else
        status = take_members(out, place, error);
    json_decref(place);
    return status;
}

/* --- whether it fits ------------------------------------------------------------------------- */

/* "part 1/2 of the corpus", or all of it. */
static void part_text(char out[64], int64_t shard, int64_t n_shards, bool by_size) {
    if (n_shards > 0)
        snprintf(out, 64, "part %d/%d of the corpus%s", (int)shard, (int)n_shards,
            by_size ? " by size" : "");
    else
        snprintf(out, 64, "the whole corpus");
}

static psc_status wrong_part(const written_place *w, const psc_corpus *c, psc_error *error) {
    char made[64], asked[64];
    part_text(made, w->shard, w->n_shards, w->by_size);
    part_text(asked, c->shard, c->n_shards, c->by_size);
    return psc_fail(error, PSC_ERROR_INPUT, "it was made for %s, not %s", made, asked);
}

static psc_status check_origin(const psc_corpus *c, const written_place *w, psc_error *error) {
    if (!w->read[0] != !c->source.next)
        return psc_fail(error, PSC_ERROR_INPUT, "it was made from %s, not from %s",
            w->read[0] ? "a source of documents" : "files",
            w->read[0] ? "files" : "a source of documents");
    if (w->read[0] || strcmp(w->identity, c->identity) == 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_INPUT,
        "it was made from files with other paths or sizes, or a different field");
}

/* "a sample of 100 documents with seed 1", or all documents. */
static void sample_text(char out[80], int64_t n, int64_t seed) {
    if (n > 0)
        snprintf(out, 80, "a sample of %" PRId64 " documents with seed %" PRId64, n, seed);
    else
        snprintf(out, 80, "all documents");
}

static psc_status check_sample(
    int64_t sample, int64_t seed, const written_place *w, psc_error *error) {
    char made[80], asked[80];
    if (w->sample == sample && w->seed == seed) return PSC_OK;
    sample_text(made, w->sample, w->seed);
    sample_text(asked, sample, seed);
    return psc_fail(error, PSC_ERROR_INPUT, "it was made from %s, not from %s", made, asked);
}

/* "windows that overlap, with a stride of 64", or "windows that do not overlap". */
static void stride_text(char out[80], int64_t stride) {
    if (stride > 0)
        snprintf(out, 80, "windows that overlap, with a stride of %" PRId64, stride);
    else
        snprintf(out, 80, "windows that do not overlap");
}

static psc_status check_stride(int64_t stride, const written_place *w, psc_error *error) {
    char made[80], asked[80];
    if (w->stride == stride) return PSC_OK;
    stride_text(made, w->stride);
    stride_text(asked, stride);
    return psc_fail(error, PSC_ERROR_INPUT, "it was made with %s, not with %s", made, asked);
}

static psc_status check_place(const psc_corpus *c, const written_place *w, psc_error *error) {
    psc_status status = check_origin(c, w, error);
    if (status != PSC_OK) return status;
    if (w->window != c->window || w->bos != c->bos) {
        size_t bytes;
        const char *bos = psc_model_token_bytes(c->model, psc_model_bos(c->model), &bytes);
        return psc_fail(error, PSC_ERROR_INPUT,
            "it was made with windows of %d tokens %s %.60s, not %d tokens %s it", (int)w->window,
            w->bos ? "with" : "without", bos ? bos : "a beginning token", (int)c->window,
            c->bos ? "with" : "without");
    }
    status = check_stride(corpus_overlapping_stride(c), w, error);
    if (status != PSC_OK) return status;
    if (w->shard != c->shard || w->n_shards != c->n_shards ||
        (c->n_shards > 0 && w->by_size != (c->by_size != 0)))
        return wrong_part(w, c, error);
    status = check_sample(c->sample.n, c->sample.n ? c->sample.seed : 0, w, error);
    if (status != PSC_OK) return status;
    if (c->limit > 0 && w->at.tokens >= c->limit && w->limit != c->limit)
        return psc_fail(error, PSC_ERROR_INPUT,
            "it already has %" PRId64 " tokens, but the limit is %" PRId64, w->at.tokens, c->limit);
    const corpus_place *p = &w->at;
    bool fits = p->file <= c->n_files && (p->file < c->n_files || p->document < 0);
    if (c->source.next) fits = fits && (p->document < 0 || p->document == p->next - 1);
    if (!fits)
        return psc_fail(error, PSC_ERROR_INPUT, "its recorded position is not in the corpus");
    return PSC_OK;
}

psc_status psc_corpus_seek(psc_corpus *c, const char *place, psc_error *error) {
    written_place w = {.identity = ""};
    psc_status status = read_place(&w, place, error);
    if (status == PSC_OK) status = check_place(c, &w, error);
    if (status == PSC_OK) status = corpus_names_seek(c, &w.at, place, error);
    if (status == PSC_OK && w.sample > 0) {
        c->sample.population = w.population;
        c->sample.most = (uint64_t)w.most;
    }
    if (status == PSC_OK && c->source.next) status = corpus_source_reach(c, &w.at, w.read, error);
    if (status == PSC_OK) status = corpus_go_to(c, &w.at, error);
    if (status == PSC_OK) c->source.lost = false;
    return status;
}

/* --- parts put together ---------------------------------------------------------------------- */

/* The part belongs to those before it; the first says what they belong to. */
static psc_status check_part(psc_corpus_totals *totals, char identity[33], int32_t *n_shards,
    const written_place *w, psc_error *error) {
    const int32_t n = w->n_shards ? (int32_t)w->n_shards : 1;
    if (*n_shards == 0) {
        memcpy(identity, w->identity, 33);
        *n_shards = n;
        *totals = (psc_corpus_totals){.struct_size = sizeof *totals,
            .window = (int32_t)w->window,
            .bos = (int32_t)w->bos,
            .stride = (int32_t)w->stride,
            .limit = w->limit,
            .sample = w->sample,
            .seed = w->seed,
            .population = w->population,
            .numbered = w->limit ? 0 : w->at.next};
    }
    if (strcmp(identity, w->identity) != 0 || totals->window != w->window || totals->bos != w->bos)
        return psc_fail(error, PSC_ERROR_INPUT,
            "its %s or windows differ from those of the first part",
            w->read[0] ? "documents" : "files, field");
    psc_status status = check_stride(totals->stride, w, error);
    if (status != PSC_OK) return status;
    if (totals->limit != w->limit)
        return psc_fail(error, PSC_ERROR_INPUT,
            "it was made with a limit of %" PRId64
            " tokens (0: none), but the first part with %" PRId64,
            w->limit, totals->limit);
    status = check_sample(totals->sample, totals->seed, w, error);
    if (status != PSC_OK) return status;
    if (totals->population != w->population)
        return psc_fail(error, PSC_ERROR_INPUT,
            "it counted %" PRId64 " documents in the corpus, but the first part %" PRId64,
            w->population, totals->population);
    /* A JSONL file that one part cannot read is one document there, and many in the others. */
    if (totals->numbered > 0 && totals->numbered != w->at.next)
        return psc_fail(error, PSC_ERROR_INPUT,
            "it numbers %" PRId64 " documents, but the first part %" PRId64
            "; a file was readable for one of them only, or has changed",
            w->at.next, totals->numbered);
    if (n != *n_shards)
        return psc_fail(error, PSC_ERROR_INPUT,
            "it is one of %d part(s), but the first is one of %d", (int)n, (int)*n_shards);
    return PSC_OK;
}

static psc_status add_count(int64_t *total, int64_t count, psc_error *error) {
    if (*total > MOST - count)
        return psc_fail(error, PSC_ERROR_INPUT, "the counts of the parts are out of range");
    *total += count;
    return PSC_OK;
}

void corpus_give_totals(psc_corpus_totals *out, const psc_corpus_totals *totals) {
    const uint32_t known = out->struct_size;
    memcpy(out, totals, known < sizeof *totals ? known : sizeof *totals);
    if (known >= sizeof known) out->struct_size = known;
}

static psc_status add_place(psc_corpus_totals *totals, char identity[33], int32_t *n_shards,
    unsigned char *parts, const char *place, psc_error *error) {
    written_place w = {.identity = ""};
    psc_status status = read_place(&w, place, error);
    if (status != PSC_OK) return status;
    const int shard = w.shard ? (int)w.shard : 1, n = w.n_shards ? (int)w.n_shards : 1;
    if (!w.finished)
        return psc_fail(error, PSC_ERROR_INPUT, "part %d/%d is not finished", shard, n);
    status = check_part(totals, identity, n_shards, &w, error);
    if (status != PSC_OK) return status;
    if (parts[shard - 1])
        return psc_fail(error, PSC_ERROR_INPUT, "part %d/%d is given twice", shard, n);
    /* The bytes of parts by size are 2, so that mixed ones are found. */
    if (memchr(parts, w.by_size ? 1 : 2, (size_t)n))
        return psc_fail(error, PSC_ERROR_INPUT, "part %d/%d was split %s, but the parts before %s",
            shard, n, w.by_size ? "by size" : "by document", w.by_size ? "by document" : "by size");
    parts[shard - 1] = w.by_size ? 2 : 1;
    status = add_count(&totals->documents, w.at.documents, error);
    if (status == PSC_OK) status = add_count(&totals->skipped, w.at.skipped, error);
    if (status == PSC_OK) status = add_count(&totals->windows, w.at.windows, error);
    if (status == PSC_OK) status = add_count(&totals->tokens, w.at.tokens, error);
    return status;
}

psc_status psc_corpus_add_part(psc_corpus_totals *totals, char identity[33], int32_t *n_shards,
    unsigned char *parts, const char *place, psc_error *error) {
    const uint32_t known = totals->struct_size;
    psc_corpus_totals whole = PSC_CORPUS_TOTALS_INIT;
    if (known < sizeof known)
        return psc_fail(error, PSC_ERROR_INPUT,
            "psc_corpus_totals.struct_size is not set; start from PSC_CORPUS_TOTALS_INIT");
    if (*n_shards > 0) memcpy(&whole, totals, known < sizeof whole ? known : sizeof whole);
    whole.struct_size = sizeof whole;
    psc_status status = add_place(&whole, identity, n_shards, parts, place, error);
    corpus_give_totals(totals, &whole);
    return status;
}
