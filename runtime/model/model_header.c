/* A model without its weights: the sizes of its files, and what the cache remembers of them. */
#include "model_header.h"

#include "weights_cache.h"
#include "weights_cache_file.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* The hash that the cache remembers for these files, and whether it has them packed. */
static bool recall(psc_model *model, const psc_checkpoint *checkpoint, const char *dir) {
    psc_record record;
    psc_cache_place place;
    char name[PSC_CACHE_NAME_BYTES];
    struct stat info;
    if (!dir || psc_cache_place_open(&place, NULL, dir, false, NULL) != PSC_OK) return false;
    bool found = psc_record_open(&record, model->path, checkpoint, NULL) == PSC_OK;
    if (found) {
        found = psc_record_recall(model->hash, &record, &place);
        psc_record_close(&record);
    }
    if (!found) model->hash[0] = 0;
    psc_cache_file_name(name, model->hash);
    found = found && fstatat(place.fd, name, &info, AT_SYMLINK_NOFOLLOW) == 0;
    psc_cache_place_close(&place);
    return found;
}

void psc_model_read_header(
    psc_model *model, const psc_checkpoint *checkpoint, const psc_model_options *options) {
    const psc_tensors *files = checkpoint->files;
    const size_t others = files->n_files - 1;
    char *text = model->weights_text, more[48] = "";
    uint64_t bytes = 0;
    for (size_t i = 0; i < files->n_files; i++) bytes += files->files[i].mapping.facts.size;
    const bool in_gib = bytes >= (uint64_t)10 << 30;
    const double unit = in_gib ? 1024.0 * 1024 * 1024 : 1024.0 * 1024;
    if (others > 0)
        snprintf(more, sizeof more, " and %zu more file%s", others, others > 1 ? "s" : "");
    const bool packed = recall(model, checkpoint, options->cache_dir);
    snprintf(text, sizeof model->weights_text, "%.200s%s, %.1f %s, %s%s", files->files[0].name,
        more, (double)bytes / unit, in_gib ? "GiB" : "MiB", packed ? "packed in " : "not read",
        packed ? options->cache_dir : "");
    model->is_header = true;
}

psc_status psc_model_check_weights(const psc_model *model, psc_error *error) {
    if (!model->is_header) return PSC_OK;
    return psc_fail(error, PSC_ERROR_STATE,
        "the model %s was opened without its weights; open it by psc_model_open", model->name);
}
