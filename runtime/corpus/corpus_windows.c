/* Windows of a corpus, and reading that resumes at a place.
 *
 *   document -> pieces -> tokens -> windows of `window` tokens, with bos in front if requested
 *   window k begins at the document's token k stride; stride = window - bos unless windows overlap
 *
 * Tokens wait in a queue until a window is full or the document ends. Each has its piece, so the
 * position of the next token is exact and reading can resume there. */
#include "corpus.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEFAULT_WINDOW 512

/* --- opening --------------------------------------------------------------------------------- */

static psc_status check_stride(
    const psc_corpus_options *o, const psc_model *model, psc_error *error) {
    const int32_t n_ctx = model->info.n_ctx,
                  usual = n_ctx < DEFAULT_WINDOW ? n_ctx : DEFAULT_WINDOW;
    const int32_t window = o->window ? o->window : usual, most = window - !!o->bos - 1;
    if (o->stride == 0 || (o->stride > 0 && o->stride <= most)) return PSC_OK;
    if (most < 1)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a stride of %d is not possible: windows of %d token%s cannot overlap", (int)o->stride,
            (int)window, window == 1 ? "" : "s");
    return psc_fail(error, PSC_ERROR_INPUT,
        "a stride of %d is not possible; these windows need one of 1 to %d", (int)o->stride,
        (int)most);
}

/* texts: documents may only be texts. */
static psc_status check_options(
    const psc_corpus_options *o, const psc_model *model, bool texts, psc_error *error) {
    const int32_t n_ctx = model->info.n_ctx;
    if (o->window != 0 && (o->window < 1 + !!o->bos || o->window > n_ctx))
        return psc_fail(error, PSC_ERROR_INPUT,
            "a window of %d token%s is not possible; it must have %d to %d, the model's context",
            (int)o->window, o->window == 1 ? "" : "s", 1 + !!o->bos, (int)n_ctx);
    psc_status status = check_stride(o, model, error);
    if (status != PSC_OK) return status;
    bool whole = o->shard == 0 && o->n_shards == 0;
    if (!whole && (o->n_shards < 1 || o->n_shards > PSC_CORPUS_SHARDS || o->shard < 1 ||
                      o->shard > o->n_shards))
        return psc_fail(error, PSC_ERROR_INPUT, "part %d/%d of the corpus does not exist",
            (int)o->shard, (int)o->n_shards);
    if (o->limit < 0) return psc_fail(error, PSC_ERROR_INPUT, "the token limit is negative");
    if (o->sample < 0 || o->sample > CORPUS_SAMPLE || o->seed < 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a sample needs 1 to %d documents and a seed that is not negative", CORPUS_SAMPLE);
    if (o->by_size && !texts)
        return psc_fail(error, PSC_ERROR_INPUT,
            "parts by size need files, whose sizes are known; split other sources by document");
    if (o->sample > 0 && !texts)
        return psc_fail(error, PSC_ERROR_INPUT,
            "a sample needs files: their documents are counted first, and other sources are read once");
    if (texts && !psc_model_has_tokenizer(model))
        return psc_fail(error, PSC_ERROR_INPUT, "%s; documents cannot be tokenized",
            psc_model_tokenizer_reason(model));
    int32_t bos;
    return o->bos ? psc_model_ask_bos(&bos, model, error) : PSC_OK;
}

static psc_status set_up(psc_corpus *c, const psc_corpus_options *o, psc_error *error) {
    const int32_t n_ctx = c->model->info.n_ctx;
    c->window = o->window ? o->window : n_ctx < DEFAULT_WINDOW ? n_ctx : DEFAULT_WINDOW;
    c->bos = o->bos != 0;
    c->stride = o->stride ? o->stride : c->window - c->bos;
    c->shard = o->shard;
    c->n_shards = o->n_shards;
    c->by_size = o->by_size != 0;
    c->strict = o->strict;
    c->n_listed = o->n_listed;
    c->limit = o->limit;
    c->sample = (corpus_sample){o->sample, o->seed, -1, 0};
    c->note = o->note;
    c->payload = o->payload;
    c->at.document = -1;
    c->field = strdup(o->field ? o->field : "text");
    c->piece = malloc(CORPUS_PIECE);
    c->tokens = malloc((size_t)c->window * sizeof *c->tokens);
    c->names = corpus_names_make();
    if (c->field && c->piece && c->tokens && c->names) return PSC_OK;
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a corpus");
}

psc_status corpus_make(psc_corpus **out, const psc_model *model, const psc_corpus_options *given,
    bool texts, psc_error *error) {
    psc_corpus_options options = PSC_CORPUS_OPTIONS_INIT;
    *out = NULL;
    if (given)
        memcpy(&options, given,
            given->struct_size < sizeof options ? given->struct_size : sizeof options);
    psc_status status = check_options(&options, model, texts, error);
    if (status != PSC_OK) return status;
    psc_corpus *c = calloc(1, sizeof *c);
    if (!c) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a corpus");
    c->model = model;
    status = set_up(c, &options, error);
    if (status != PSC_OK) psc_corpus_close(&c);
    *out = c;
    return status;
}

psc_status psc_corpus_open(psc_corpus **out, const psc_model *model, const char *const *paths,
    int32_t n_paths, const psc_corpus_options *options, psc_error *error) {
    psc_status status = corpus_make(out, model, options, true, error);
    if (status == PSC_OK) status = corpus_list(*out, paths, n_paths, error);
    if (status != PSC_OK) psc_corpus_close(out);
    return status;
}

void psc_corpus_close(psc_corpus **corpus) {
    psc_corpus *c = *corpus;
    if (!c) return;
    corpus_close_stream(c);
    corpus_stream_close(&c->input.stream);
    free(c->input.name);
    free(c->input.text);
    for (int64_t i = 0; c->files && i < c->n_files; i++) {
        free(c->files[i].path);
        free(c->files[i].fault);
    }
    free(c->files);
    free(c->owners);
    free(c->field);
    free(c->names);
    free(c->line);
    free(c->text);
    free(c->piece);
    free(c->waiting);
    free(c->tokens);
    XXH3_freeState(c->source.hash);
    free(c);
    *corpus = NULL;
}

/* --- windows --------------------------------------------------------------------------------- */

/* Room in the queue for n more tokens. */
static psc_status make_room(psc_corpus *c, int32_t n, psc_error *error) {
    if (c->n_waiting > 0)
        memmove(c->waiting, c->waiting + c->head, (size_t)c->n_waiting * sizeof *c->waiting);
    c->head = 0;
    if (c->n_waiting + n <= c->waiting_capacity) return PSC_OK;
    corpus_token *more = realloc(c->waiting, (size_t)(c->n_waiting + n) * sizeof *more);
    if (!more) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for %d tokens", (int)n);
    c->waiting = more;
    c->waiting_capacity = c->n_waiting + n;
    return PSC_OK;
}

/* Appends the next of a source's ids to the queue. */
static psc_status fill_ids(psc_corpus *c, const int32_t *ids, psc_error *error) {
    const int64_t left = c->text_bytes - c->read_to;
    const int32_t n = left < CORPUS_PIECE ? (int32_t)left : CORPUS_PIECE;
    psc_status status = make_room(c, n, error);
    if (status != PSC_OK) return status;
    for (int32_t i = 0; i < n; i++)
        c->waiting[c->n_waiting++] = (corpus_token){c->read_to, ids[c->read_to + i], i, 0, 0};
    c->read_to += n;
    return PSC_OK;
}

/* The file of the open document cannot be read on: the document ends here. */
static psc_status leave_rest(psc_corpus *c, const psc_error *why, psc_error *error) {
    c->text_bytes = c->read_to;
    return corpus_leave_out(c, error, "%s; the rest of its document", why->message);
}

/* Appends the next piece's tokens to the queue. */
static psc_status fill(psc_corpus *c, psc_error *error) {
    if (c->source.next && c->source.document.ids) return fill_ids(c, c->source.document.ids, error);
    char name[600];
    const char *text = NULL;
    size_t bytes = 0;
    psc_token *tokens = NULL;
    int32_t n = 0;
    psc_error why = {PSC_OK, ""};
    psc_status status = corpus_read_piece(&text, &bytes, c, &why);
    if (status == PSC_ERROR_INPUT) return leave_rest(c, &why, error);
    if (status != PSC_OK) return psc_fail(error, status, "%s", why.message);
    status = psc_model_encode(&tokens, &n, c->model, text, bytes, false, error);
    corpus_name_document(name, c);
    if (status != PSC_OK) return psc_error_prefix(error, status, name);
    status = make_room(c, n, error);
    for (int32_t i = 0; i < n && status == PSC_OK; i++)
        c->waiting[c->n_waiting++] =
            (corpus_token){c->read_to, tokens[i].id, i, tokens[i].start, tokens[i].end};
    psc_free(tokens);
    if (status == PSC_OK) c->read_to += (int64_t)bytes;
    return status;
}

/* Sets at.piece and at.skip, the origin of the next token. */
static void note_place(psc_corpus *c) {
    c->at.piece = c->n_waiting > 0 ? c->waiting[c->head].piece : c->read_to;
    c->at.skip = c->n_waiting > 0 ? c->waiting[c->head].index : 0;
}

int32_t corpus_overlapping_stride(const psc_corpus *c) {
    return c->stride < c->window - c->bos ? c->stride : 0;
}

int32_t psc_corpus_repeated(const psc_corpus *c, const psc_window *window) {
    const bool first = window->document.first + c->bos <= 0;
    return first || !corpus_overlapping_stride(c) ? 0 : c->window - c->stride;
}

/* The token with its bytes in the document; those beyond 4 GiB end at UINT32_MAX. */
static psc_token token_of(const corpus_token *t) {
    const int64_t start = t->piece + t->start, end = t->piece + t->end;
    if (t->start == t->end) return (psc_token){t->id, 0, 0};
    return (psc_token){t->id, start < UINT32_MAX ? (uint32_t)start : UINT32_MAX,
        end < UINT32_MAX ? (uint32_t)end : UINT32_MAX};
}

/* Returns whether the window is this part's. More tokens wait than it takes if another one follows
 * that overlaps it; that one's tokens stay. */
static bool take_window(psc_window *out, psc_corpus *c) {
    const int64_t room = c->window - c->bos;
    const int64_t n = c->n_waiting < room ? c->n_waiting : room;
    const int64_t taken = c->n_waiting > room ? c->stride : n;
    const bool ours = corpus_owns_window(c);
    if (c->bos) c->tokens[0] = (psc_token){psc_model_bos(c->model), 0, 0};
    for (int64_t i = 0; i < n; i++) c->tokens[c->bos + i] = token_of(&c->waiting[c->head + i]);
    *out = (psc_window){{c->at.document, c->at.first - c->bos}, (int32_t)n + c->bos, c->tokens};
    c->head += taken;
    c->n_waiting -= taken;
    c->at.first += taken;
    c->at.windows += ours;
    c->at.tokens += ours ? out->n - psc_corpus_repeated(c, out) : 0;
    note_place(c);
    return ours;
}

static bool is_at_limit(const psc_corpus *c, const corpus_place *at) {
    return c->limit > 0 && at->tokens >= c->limit;
}

psc_status psc_corpus_next(psc_window *out, psc_corpus *c, psc_error *error) {
    /* Where windows overlap, one token more tells whether another window follows. */
    const int64_t needed = c->window - c->bos + (corpus_overlapping_stride(c) > 0);
    psc_status status = PSC_OK;
    *out = (psc_window){{-1, 0}, 0, c->tokens};
    if (c->source.next) status = corpus_source_check(c, error);
    while (status == PSC_OK && !is_at_limit(c, &c->at)) {
        if (c->at.document < 0) status = corpus_next_document(c, error);
        if (status != PSC_OK || c->at.document < 0) return status;
        while (status == PSC_OK && c->n_waiting < needed && c->read_to < c->text_bytes)
            status = fill(c, error);
        if (status != PSC_OK) return status;
        const bool any = c->n_waiting > 0 && take_window(out, c);
        if (c->n_waiting == 0 && c->read_to >= c->text_bytes) corpus_leave_document(c);
        if (any) return PSC_OK;
        out->n = 0;
    }
    return status;
}

/* --- the position ---------------------------------------------------------------------------- */

void psc_corpus_get_totals(psc_corpus_totals *out, const psc_corpus *c) {
    psc_corpus_totals totals = {.struct_size = sizeof totals,
        .documents = c->at.documents,
        .skipped = c->at.skipped,
        .windows = c->at.windows,
        .tokens = c->at.tokens,
        .window = c->window,
        .bos = c->bos,
        .stride = corpus_overlapping_stride(c),
        .limit = c->limit,
        .sample = c->sample.n,
        .seed = c->sample.seed,
        .population = c->sample.population < 0 ? 0 : c->sample.population,
        .numbered = c->at.next};
    corpus_names_update(c);
    psc_corpus_names_give(&totals, c->names);
    corpus_give_totals(out, &totals);
}

bool corpus_is_finished(const psc_corpus *c, const corpus_place *at) {
    return at->file >= c->n_files || is_at_limit(c, at);
}

/* Bytes of the open file that have been read, as it lies on the disk. */
static int64_t read_of_file(const psc_corpus *c) {
    const corpus_file *file = &c->files[c->at.file];
    const bool packed = c->stream && corpus_stream_is_packed(c->stream);
    if (file->jsonl) return packed ? corpus_stream_read(c->stream) : c->at.offset;
    if (c->at.document < 0 || c->text_bytes == 0) return 0;
    /* Within the pieces that wait, by their tokens. */
    const double tokens = (double)(c->at.skip + c->n_waiting);
    const double part = tokens > 0.0 ? (double)c->at.skip / tokens : 0.0;
    const double bytes = (double)c->at.piece + part * (double)(c->read_to - c->at.piece);
    return (int64_t)(bytes / (double)c->text_bytes * (double)file->size);
}

double psc_corpus_progress(const psc_corpus *c) {
    int64_t behind = c->behind;
    const double taken = c->limit > 0 ? (double)c->at.tokens / (double)c->limit : 0.0;
    if (c->source.next)
        return corpus_is_finished(c, &c->at) ? 1.0 : c->limit > 0 ? taken : (double)NAN;
    if (c->at.file < c->n_files) behind += read_of_file(c);
    const double read = c->bytes > 0 ? (double)behind / (double)c->bytes : 1.0;
    return taken > 1.0 ? 1.0 : taken > read ? taken : read;
}

psc_status corpus_go_to(psc_corpus *c, const corpus_place *place, psc_error *error) {
    corpus_close_stream(c);
    free(c->text);
    c->text = NULL;
    c->head = c->n_waiting = 0;
    c->at = *place;
    c->behind = 0;
    for (int64_t i = 0; !c->source.next && i < c->at.file; i++) c->behind += c->files[i].size;
    if (c->at.document < 0 && (c->source.next || c->at.file >= c->n_files)) return PSC_OK;
    psc_status status = corpus_reopen_document(c, error);
    if (status != PSC_OK || c->at.document < 0) return status;
    bool inside = c->at.piece <= c->text_bytes;
    c->read_to = inside ? c->at.piece : 0;
    if (inside && c->at.skip > 0) status = fill(c, error);
    if (status != PSC_OK) return status;
    if (!inside || c->at.skip > c->n_waiting)
        return psc_fail(error, PSC_ERROR_INPUT, "its recorded position is not in the corpus");
    c->head += c->at.skip;
    c->n_waiting -= c->at.skip;
    return PSC_OK;
}
