/* A file of packed weights: header | image. The writer puts the image from front to back and hashes
 * it in chunks of 4 MiB, so that several threads can check it; then the header, fsync, rename.
 *      body = XXH3-128(digest of chunk 0 | digest of chunk 1 | ...) */
#define _DEFAULT_SOURCE /* madvise */
#include "weights_cache_file.h"

#include "kernels.h"
#include "team.h"
#include "weights_image.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#define CHUNK ((uint64_t)4 << 20)
#define BYTE_ORDER_MARK 0x01020304u
#define MAX_THREADS 4
static const char magic[16] = "pythiascope pack";

_Static_assert(sizeof(psc_cache_header) == 112, "the header has no padding");

void psc_cache_file_name(char name[PSC_CACHE_NAME_BYTES], const char *hash) {
    snprintf(name, PSC_CACHE_NAME_BYTES, "%.32s-%d.%d" PSC_CACHE_SUFFIX, hash, PSC_PACK_LAYOUT,
        PSC_IMAGE_VERSION);
}

static uint64_t mark_of(const psc_cache_header *header) {
    return XXH3_64bits(header, offsetof(psc_cache_header, mark));
}

/* --- reading --------------------------------------------------------------------------------- */

static psc_status bad(psc_error *error, const char *path, const char *what) {
    return psc_fail(error, PSC_ERROR_INPUT, "%s: %s", path, what);
}

static psc_status check_header(const psc_cache_header *h, const char *path, psc_error *error) {
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return bad(error, path, "it is not a complete file of packed weights");
    if (h->byte_order != BYTE_ORDER_MARK)
        return bad(error, path, "it was written with another byte order");
    if (h->mark != mark_of(h)) return bad(error, path, "its header is damaged");
    if (h->model[32] != 0 || strspn(h->model, "0123456789abcdef") != 32)
        return bad(error, path, "its header does not name a model");
    return PSC_OK;
}

static psc_status map_open(psc_mapping *out, psc_cache_header *header, int fd,
    const struct stat *info, const char *path, psc_error *error) {
    if (info->st_size < PSC_CACHE_HEADER_BYTES || (uintmax_t)info->st_size > SIZE_MAX / 2)
        return bad(error, path, "its size is wrong");
    if (pread(fd, header, sizeof *header, 0) != (ssize_t)sizeof *header)
        return psc_fail(error, PSC_ERROR_IO, "cannot read %s", path);
    psc_status status = check_header(header, path, error);
    if (status) return status;
    if (header->bytes != (uint64_t)info->st_size)
        return bad(error, path, "its size differs from that in its header (is it truncated?)");
    void *data = mmap(NULL, (size_t)info->st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED)
        return psc_fail(error, PSC_ERROR_IO, "cannot map %s: %s", path, strerror(errno));
    *out = (psc_mapping){.data = data, .size = (size_t)info->st_size};
    posix_madvise(data, out->size, POSIX_MADV_WILLNEED);
    return PSC_OK;
}

psc_status psc_cache_file_map(psc_mapping *out, psc_cache_header *header,
    const psc_cache_place *place, const char *name, psc_error *error) {
    struct stat info;
    psc_error why = {0};
    *out = (psc_mapping){0};
    const int fd = psc_cache_place_read(&info, place, name, &why);
    if (fd < 0) return psc_fail(error, why.status, "%s", why.message);
    char *path = psc_path_join(place->path, name);
    const psc_status status =
        path ? map_open(out, header, fd, &info, path, error)
             : psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for a path");
    free(path);
    close(fd);
    return status;
}

typedef struct hash_job {
    const unsigned char *data;
    uint64_t size;
    size_t n;
    XXH128_canonical_t *digests; /* [n] */
    atomic_size_t next;
} hash_job;

static void *hash_chunks(void *payload) {
    hash_job *job = payload;
    for (size_t i; (i = atomic_fetch_add(&job->next, 1)) < job->n;) {
        uint64_t begin = i * CHUNK;
        uint64_t bytes = job->size - begin < CHUNK ? job->size - begin : CHUNK;
#ifdef MADV_POPULATE_READ /* one call instead of one fault per few pages */
        madvise((void *)(job->data + begin), (size_t)bytes, MADV_POPULATE_READ);
#endif
        XXH128_canonicalFromHash(&job->digests[i], XXH3_128bits(job->data + begin, (size_t)bytes));
    }
    return NULL;
}

psc_status psc_cache_file_intact(
    bool *out, const psc_mapping *file, const psc_cache_header *header, psc_error *error) {
    pthread_t threads[MAX_THREADS - 1];
    int n_threads = 0;
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    hash_job job = {
        .data = file->data + PSC_CACHE_HEADER_BYTES, .size = file->size - PSC_CACHE_HEADER_BYTES};
    job.n = (size_t)((job.size + CHUNK - 1) / CHUNK);
    job.digests = calloc(job.n + 1, sizeof *job.digests);
    *out = false;
    if (!job.digests)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to check packed weights");
    while (n_threads < MAX_THREADS - 1 && n_threads + 1 < cores && (size_t)n_threads + 1 < job.n &&
           psc_thread_start(&threads[n_threads], NULL, hash_chunks, &job) == 0)
        n_threads++;
    hash_chunks(&job);
    for (int i = 0; i < n_threads; i++) pthread_join(threads[i], NULL);
    XXH128_canonical_t body;
    XXH128_canonicalFromHash(&body, XXH3_128bits(job.digests, job.n * sizeof *job.digests));
    free(job.digests);
    *out = memcmp(body.digest, header->body, sizeof header->body) == 0;
    return PSC_OK;
}

/* --- writing --------------------------------------------------------------------------------- */

struct psc_cache_writer {
    psc_cache_partial partial;
    uint64_t written; /* bytes of the image */
    XXH3_state_t *chunk, *body;
};

psc_status psc_cache_writer_begin(
    psc_cache_writer **out, const psc_cache_place *place, psc_error *error) {
    psc_cache_writer *w = calloc(1, sizeof *w);
    psc_status status =
        psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the packed weights");
    *out = NULL;
    if (!w) return status;
    w->partial.fd = -1;
    w->chunk = XXH3_createState();
    w->body = XXH3_createState();
    if (!w->chunk || !w->body) goto fail;
    XXH3_128bits_reset(w->chunk);
    XXH3_128bits_reset(w->body);
    status = psc_cache_partial_open(&w->partial, place, error);
    if (status) goto fail;
    *out = w;
    return PSC_OK;
fail:
    psc_cache_writer_abort(&w);
    return status;
}

static void end_chunk(psc_cache_writer *w) {
    XXH128_canonical_t digest;
    XXH128_canonicalFromHash(&digest, XXH3_128bits_digest(w->chunk));
    XXH3_128bits_update(w->body, &digest, sizeof digest);
    XXH3_128bits_reset(w->chunk);
}

int psc_cache_writer_put(const void *data, size_t size, void *writer) {
    psc_cache_writer *w = writer;
    if (psc_cache_partial_put(&w->partial, data, size, PSC_CACHE_HEADER_BYTES + w->written) != 0)
        return -1;
    for (const char *from = data; size > 0;) {
        uint64_t room = CHUNK - w->written % CHUNK;
        size_t n = size < room ? size : (size_t)room;
        XXH3_128bits_update(w->chunk, from, n);
        w->written += n;
        if (w->written % CHUNK == 0) end_chunk(w);
        from += n;
        size -= n;
    }
    return 0;
}

psc_status psc_cache_writer_view(psc_mapping *out, psc_cache_writer *w, psc_error *error) {
    size_t size = (size_t)(PSC_CACHE_HEADER_BYTES + w->written);
    *out = (psc_mapping){0};
    void *data = mmap(NULL, size, PROT_READ, MAP_PRIVATE, w->partial.fd, 0);
    if (data == MAP_FAILED)
        return psc_fail(error, PSC_ERROR_IO, "cannot map the packed weights in %s: %s",
            w->partial.place->path, strerror(errno));
    *out = (psc_mapping){.data = data, .size = size};
    return PSC_OK;
}

psc_status psc_cache_writer_commit(
    psc_mapping *out, psc_cache_writer **writer, psc_cache_header *header, psc_error *error) {
    psc_cache_writer *w = *writer;
    const char *dir = w->partial.place->path;
    char name[PSC_CACHE_NAME_BYTES];
    XXH128_canonical_t body;
    struct stat info;
    if (w->written % CHUNK) end_chunk(w);
    XXH128_canonicalFromHash(&body, XXH3_128bits_digest(w->body));
    memcpy(header->magic, magic, sizeof magic);
    memcpy(header->body, body.digest, sizeof header->body);
    header->byte_order = BYTE_ORDER_MARK;
    header->image_version = PSC_IMAGE_VERSION;
    header->pack_layout = PSC_PACK_LAYOUT;
    header->lanes = PSC_LANES;
    header->bytes = PSC_CACHE_HEADER_BYTES + w->written;
    header->mark = mark_of(header);
    psc_cache_file_name(name, header->model);
    psc_status status = PSC_OK;
    if (fchmod(w->partial.fd, 0400) != 0 || fstat(w->partial.fd, &info) != 0 ||
        (info.st_mode & 0222) != 0)
        status = bad(error, dir, "its file system does not support permissions");
    else if (psc_cache_partial_put(&w->partial, header, sizeof *header, 0) != 0 ||
             psc_cache_partial_rename(&w->partial, name, 0400) != 0)
        status =
            psc_fail(error, PSC_ERROR_IO, "cannot write a file in %s: %s", dir, strerror(errno));
    if (!status) status = psc_cache_writer_view(out, w, error);
    psc_cache_writer_abort(writer);
    return status;
}

void psc_cache_writer_abort(psc_cache_writer **writer) {
    psc_cache_writer *w = *writer;
    if (!w) return;
    psc_cache_partial_close(&w->partial);
    XXH3_freeState(w->chunk);
    XXH3_freeState(w->body);
    free(w);
    *writer = NULL;
}
