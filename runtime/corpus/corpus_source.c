/* Documents from the caller, one at a time, and the hash of all of them so far: XXH3-128 over each
 * document's kind ('t' or 'i'), number of elements and elements. Every shard asks for all
 * documents, so the hash at the end is the corpus's. */
#include "corpus.h"

#include "utf8.h"

#include <inttypes.h>
#include <string.h>

psc_status psc_corpus_open_source(psc_corpus **out, const psc_model *model, psc_source_fn next,
    void *payload, const psc_corpus_options *options, psc_error *error) {
    *out = NULL;
    if (!next) return psc_fail(error, PSC_ERROR_INPUT, "the source of documents is null");
    psc_status status = corpus_make(out, model, options, false, error);
    if (status != PSC_OK) return status;
    psc_corpus *c = *out;
    c->n_files = 1;
    c->source = (corpus_source){.next = next, .payload = payload, .hash = XXH3_createState()};
    if (!c->source.hash) {
        psc_corpus_close(out);
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a corpus");
    }
    XXH3_128bits_reset(c->source.hash);
    corpus_source_hash(c->source.first, c);
    return PSC_OK;
}

/* --- the hash -------------------------------------------------------------------------------- */

void corpus_source_hash(char hex[33], const psc_corpus *c) {
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(c->source.hash));
    for (int i = 0; i < 16; i++) snprintf(hex + 2 * i, 3, "%02x", digest.digest[i]);
}

static void add_elements(
    XXH3_state_t *hash, char kind, const void *elements, int64_t n, size_t size) {
    XXH3_128bits_update(hash, &kind, 1);
    XXH3_128bits_update(hash, &n, sizeof n);
    if (elements && n > 0) XXH3_128bits_update(hash, elements, (size_t)n * size);
}

static void add_document(psc_corpus *c) {
    const psc_source_document *d = &c->source.document;
    if (d->text || !d->ids) add_elements(c->source.hash, 't', d->text, (int64_t)d->bytes, 1);
    if (d->fault) add_elements(c->source.hash, 'f', d->fault, (int64_t)strlen(d->fault), 1);
    if (d->ids || d->n) add_elements(c->source.hash, 'i', d->ids, d->n, sizeof *d->ids);
    if (c->at.next == 0) corpus_source_hash(c->source.first, c);
}

/* --- the next document ----------------------------------------------------------------------- */

psc_status corpus_source_check(const psc_corpus *c, psc_error *error) {
    if (c->source.asking)
        return psc_fail(
            error, PSC_ERROR_STATE, "the source of documents must not use its own corpus");
    if (c->source.lost)
        return psc_fail(
            error, PSC_ERROR_STATE, "the corpus lost its position in a failed seek; open it again");
    return PSC_OK;
}

/* Asks for document number at.next; sets source.ended instead at the end. */
static psc_status ask(psc_corpus *c, psc_error *error) {
    corpus_source *s = &c->source;
    if (s->ended) return PSC_OK;
    s->document = (psc_source_document){.struct_size = sizeof s->document};
    s->asking = true;
    const int failed = s->next(&s->document, s->payload);
    s->asking = false;
    if (failed && c->input.error.status != PSC_OK)
        return psc_fail(error, c->input.error.status, "%s", c->input.error.message);
    if (failed)
        return psc_fail(error, PSC_ERROR_CANCELLED,
            "the source of documents failed at document %" PRId64, c->at.next);
    if (s->document.end) {
        s->ended = true;
        return PSC_OK;
    }
    add_document(c);
    c->at.next++;
    return PSC_OK;
}

/* Why the last document cannot be read; "" if it can. */
static void find_fault(char out[300], const psc_corpus *c) {
    const psc_source_document *d = &c->source.document;
    const int32_t n_tokens = c->model->info.d_vocab;
    size_t valid = 0;
    out[0] = 0;
    if (d->fault)
        snprintf(out, 300, "%s", d->fault);
    else if (d->text && d->ids)
        snprintf(out, 300, "has a text and token ids; pass one of them");
    else if ((!d->text && d->bytes > 0) || (!d->ids && d->n != 0))
        snprintf(out, 300, "has elements, but its pointer is null");
    else if (d->bytes > (size_t)INT64_MAX || d->n < 0)
        snprintf(out, 300, "has an impossible size");
    else if (d->text && (valid = psc_utf8_valid(d->text, d->bytes)) < d->bytes)
        snprintf(out, 300, "is not UTF-8 at byte %zu", valid);
    for (int32_t i = 0; d->ids && !out[0] && i < d->n; i++)
        if (d->ids[i] < 0 || d->ids[i] >= n_tokens)
            snprintf(out, 300, "has the token id %d at position %d; ids are 0 to %d",
                (int)d->ids[i], (int)i, (int)n_tokens - 1);
}

static void set_size(psc_corpus *c) {
    const psc_source_document *d = &c->source.document;
    c->text_bytes = d->ids ? d->n : (int64_t)d->bytes;
}

psc_status corpus_try_source(psc_corpus *c, psc_error *error) {
    char fault[300];
    const int64_t number = c->at.next;
    const bool ours = corpus_is_ours(c);
    psc_status status = ask(c, error);
    if (status == PSC_OK && c->source.ended) c->at.file = 1;
    if (status != PSC_OK || c->source.ended || !ours) return status;
    if (c->source.document.text && !psc_model_has_tokenizer(c->model))
        return psc_fail(error, PSC_ERROR_INPUT,
            "document %" PRId64 " is a text, but %s; pass token ids", number,
            psc_model_tokenizer_reason(c->model));
    find_fault(fault, c);
    if (fault[0]) return corpus_leave_out(c, error, "document %" PRId64 " %s", number, fault);
    c->at.document = number;
    set_size(c);
    return PSC_OK;
}

/* --- resuming -------------------------------------------------------------------------------- */

psc_status corpus_reopen_source(psc_corpus *c, psc_error *error) {
    char fault[300];
    find_fault(fault, c);
    if (fault[0])
        return psc_fail(error, PSC_ERROR_INPUT, "its recorded position is not in the corpus");
    set_size(c);
    return PSC_OK;
}

psc_status corpus_source_reach(
    psc_corpus *c, const corpus_place *place, const char *read, psc_error *error) {
    char now[33];
    if (c->source.asking) return corpus_source_check(c, error);
    if (c->at.next > place->next)
        return psc_fail(error, PSC_ERROR_STATE,
            "the source of documents is already past document %" PRId64 "; open the corpus again",
            place->next);
    c->source.lost = true; /* until the seek ends */
    while (c->at.next < place->next) {
        psc_status status = ask(c, error);
        if (status != PSC_OK) return status;
        if (c->source.ended)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the source of documents ended after %" PRId64 " of the %" PRId64
                " documents that it was made from",
                c->at.next, place->next);
    }
    corpus_source_hash(now, c);
    if (strcmp(now, read) != 0)
        return psc_fail(error, PSC_ERROR_INPUT,
            "it was made from other documents: the first %" PRId64 " differ", place->next);
    if (place->file == 0) return PSC_OK;
    psc_status status = ask(c, error);
    if (status == PSC_OK && !c->source.ended)
        return psc_fail(error, PSC_ERROR_INPUT,
            "it was made from %" PRId64 " documents, but the source has more", place->next);
    return status;
}
