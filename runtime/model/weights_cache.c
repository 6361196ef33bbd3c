/* Finding and making a model's file of packed weights.
 *   hash   remembered for the unchanged files of the model; otherwise computed from all weights, if
 *          the folder has a file of the right size
 *   found  header, model, plan and size match; up to 2 GiB the image is compared with its hash
 *   lock   one process at a time packs; what others packed meanwhile is found
 *   else   one pass over the model's files hashes, packs and writes; fsync, rename, map
 * A failure here does not fail the opening: the caller packs into memory instead. */
#include "weights_cache.h"

#include "arena.h"
#include "weights_cache_file.h"
#include "weights_cache_lock.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static uint64_t file_bytes(const psc_image_plan *plan) {
    return PSC_CACHE_HEADER_BYTES + plan->bytes;
}

/* Maps the file of the model hex; false if the file does not match. */
static bool map_kept(psc_mapping *out, const char *hex, const psc_image_plan *plan,
    const psc_cache_place *place, psc_error *error) {
    psc_cache_header header;
    char name[PSC_CACHE_NAME_BYTES];
    bool intact;
    psc_cache_file_name(name, hex);
    bool fits = psc_cache_file_map(out, &header, place, name, error) == PSC_OK &&
                strcmp(header.model, hex) == 0 && header.bytes == file_bytes(plan) &&
                header.image_version == PSC_IMAGE_VERSION &&
                header.pack_layout == PSC_PACK_LAYOUT && header.lanes == PSC_LANES &&
                header.plan == psc_image_plan_digest(plan) &&
                (header.bytes > PSC_CACHE_CHECKED_BYTES ||
                    (psc_cache_file_intact(&intact, out, &header, NULL) == PSC_OK && intact));
    if (fits) { /* in a read-only folder this fails and the last use is not recorded */
        const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
        (void)utimensat(place->fd, name, now, AT_SYMLINK_NOFOLLOW);
    } else {
        psc_unmap_file(out);
    }
    return fits;
}

/* The last piece depends on the others, so it is computed from the file written so far. */
static psc_status put_mean(psc_cache_writer *writer, const psc_image_plan *plan, psc_error *error) {
    const psc_piece *piece = &plan->pieces[plan->n - 1];
    size_t bytes = (size_t)(plan->bytes - piece->offset);
    float *mean = psc_aligned_calloc(bytes);
    psc_mapping written;
    if (!mean)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the mean unembedding");
    psc_status status = psc_cache_writer_view(&written, writer, error);
    if (!status) status = psc_image_mean(mean, plan, written.data + PSC_CACHE_HEADER_BYTES, error);
    psc_unmap_file(&written);
    if (!status && psc_cache_writer_put(mean, bytes, writer) != 0)
        status = psc_fail(error, PSC_ERROR_IO, "cannot write the packed weights");
    psc_aligned_free(mean);
    return status;
}

static psc_status make(psc_mapping *out, char hex[33], const psc_image_plan *plan,
    const psc_cache_place *place, const psc_cache *cache, psc_error *error) {
    psc_cache_writer *writer = NULL;
    psc_cache_header header = {.plan = psc_image_plan_digest(plan)};
    psc_status status = psc_cache_folder_room(place, file_bytes(plan), cache->limit, error);
    if (!status) status = psc_cache_writer_begin(&writer, place, error);
    if (!status) status = psc_image_pack(hex, plan, NULL, psc_cache_writer_put, writer, error);
    if (!status) status = put_mean(writer, plan, error);
    if (!status && !psc_record_unchanged(cache->model, plan->checkpoint))
        status = psc_fail(error, PSC_ERROR_IO, "the files of %s changed while they were being read",
            cache->model);
    if (!status) {
        memcpy(header.model, hex, 33);
        status = psc_cache_writer_commit(out, &writer, &header, error);
    }
    psc_cache_writer_abort(&writer);
    return status;
}

/* Whether hex is the model's hash: computed if the folder has a file of the right size. */
static bool is_known(bool remembered, char hex[33], const psc_image_plan *plan,
    const psc_cache_place *place, psc_error *error) {
    if (remembered) return true;
    return psc_cache_folder_has_size(place, file_bytes(plan)) &&
           psc_checkpoint_hash(hex, plan->checkpoint, error) == PSC_OK;
}

static psc_status load(psc_mapping *out, char hex[33], bool *found, const psc_image_plan *plan,
    const psc_cache_place *place, const psc_cache *cache, psc_error *error) {
    psc_record record;
    psc_status status = psc_record_open(&record, cache->model, plan->checkpoint, error);
    if (status) return status;
    bool remembered = psc_record_recall(hex, &record, place);
    *found = remembered && map_kept(out, hex, plan, place, error);
    if (*found) psc_cache_lock_sweep(place);
    if (!*found) {
        /* Another process may be packing just these weights. */
        const int lock = psc_cache_lock_take(place);
        psc_cache_folder_sweep(place);
        remembered = psc_record_recall(hex, &record, place);
        *found =
            is_known(remembered, hex, plan, place, error) && map_kept(out, hex, plan, place, error);
        if (!*found) {
            status = make(out, hex, plan, place, cache, error);
            remembered = false;
        }
        if (!status && !remembered)
            psc_record_keep(&record, hex, place, cache->model, plan->checkpoint);
        psc_cache_lock_release(place, lock);
    }
    psc_record_close(&record);
    return status;
}

psc_status psc_cache_load(psc_mapping *out, char hex[33], bool *found, const psc_image_plan *plan,
    const psc_cache *cache, psc_error *error) {
    psc_cache_place place;
    *found = false;
    *out = (psc_mapping){0};
    psc_status status = psc_cache_place_open(&place, NULL, cache->dir, true, error);
    if (!status) status = load(out, hex, found, plan, &place, cache, error);
    psc_cache_place_close(&place);
    return status;
}
