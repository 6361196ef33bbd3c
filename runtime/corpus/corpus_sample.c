/* A sample of documents: those N whose key is smallest,
 *
 *   key(d) = mix(d xor mix(seed)),   mix: one step of SplitMix64 (it adds 0x9e3779b97f4a7c15, then
 *                                    applies the finalizer), a bijection of 64 bits
 *
 * so no two documents have the same key, and any N documents are as likely as any other. A first
 * pass counts the documents and finds the largest key of the sample; from then on a document's
 * number alone says whether it belongs to it, in every part and after every resumption. A larger
 * sample of the same seed contains a smaller one. */
#include "corpus.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t mix(uint64_t z) {
    z += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t key_of(const corpus_sample *sample, int64_t document) {
    return mix((uint64_t)document ^ mix((uint64_t)sample->seed));
}

bool corpus_is_drawn(const psc_corpus *c, int64_t document) {
    return c->sample.n == 0 || key_of(&c->sample, document) <= c->sample.most;
}

/* --- the first pass -------------------------------------------------------------------------- */

/* A file whose lines cannot be counted is one document that cannot be read, in the second pass as
 * well: if that pass read more, it would read another sample. */
static psc_status take_for_one(
    psc_corpus *c, corpus_file *file, const psc_error *why, psc_error *error) {
    char note[sizeof why->message + 64];
    if (c->strict) return psc_fail(error, why->status, "%s", why->message);
    file->fault = strdup("could not be read when its documents were counted");
    file->jsonl = false;
    if (!file->fault) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a sample");
    snprintf(note, sizeof note, "%s; its documents are skipped", why->message);
    if (c->note) c->note(note, c->payload);
    return PSC_OK;
}

/* The documents of a JSONL file; a damaged rest is one. */
static psc_status count_lines(int64_t *n, psc_corpus *c, corpus_file *file, psc_error *error) {
    corpus_stream *stream = NULL;
    psc_error why;
    int64_t count = 0;
    int kind = LINE_READ;
    psc_status status = corpus_stream_open(&stream, file->path, &why);
    while (status == PSC_OK && kind != LINE_END) {
        status = corpus_pass_line(&kind, stream, &why);
        if (status == PSC_OK) count += kind == LINE_READ;
    }
    const bool failed = !stream || corpus_stream_has_failed(stream);
    corpus_stream_close(&stream);
    if (status && status != PSC_ERROR_INPUT) return psc_fail(error, status, "%s", why.message);
    *n += status && failed ? 1 : count + (status != PSC_OK);
    return status && failed ? take_for_one(c, file, &why, error) : PSC_OK;
}

static psc_status count_documents(int64_t *n, psc_corpus *c, psc_error *error) {
    psc_status status = PSC_OK;
    *n = 0;
    for (int64_t i = 0; i < c->n_files && status == PSC_OK; i++)
        if (c->files[i].jsonl && !c->files[i].fault)
            status = count_lines(n, c, &c->files[i], error);
        else
            ++*n;
    return status;
}

/* heap [n]: every key is at least as large as its children's; heap[0] may be too small. */
static void sift(uint64_t *heap, int64_t n) {
    for (int64_t at = 0, child = 1; child < n; at = child, child = 2 * at + 1) {
        if (child + 1 < n && heap[child + 1] > heap[child]) child++;
        if (heap[at] >= heap[child]) return;
        const uint64_t larger = heap[child];
        heap[child] = heap[at];
        heap[at] = larger;
    }
}

psc_status corpus_draw(psc_corpus *c, psc_error *error) {
    corpus_sample *s = &c->sample;
    int64_t n = 0;
    psc_status status = count_documents(&n, c, error);
    if (status != PSC_OK) return status;
    s->most = UINT64_MAX;
    s->population = n;
    assert(s->n > 0);
    if (s->n >= n) return PSC_OK;
    uint64_t *heap = malloc((size_t)s->n * sizeof *heap);
    if (!heap) {
        s->population = -1;
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a sample of %lld documents",
            (long long)s->n);
    }
    for (int64_t i = 0; i < s->n; i++) heap[i] = UINT64_MAX; /* more than any of the sample */
    for (int64_t d = 0; d < n; d++) {
        const uint64_t key = key_of(s, d);
        if (key >= heap[0]) continue;
        heap[0] = key;
        sift(heap, s->n);
    }
    s->most = heap[0];
    free(heap);
    return PSC_OK;
}
