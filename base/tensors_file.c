/* safetensors: 8 bytes of header length (little-endian), the header as JSON padded with spaces to a
 * multiple of 8, then the tensors. Tensors with elements of 8 bytes come first, so that every
 * tensor is aligned to its element; otherwise tensors keep their order. */
#include "tensors_file.h"

#include "json.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they are in memory, which must be little-endian"
#endif

static uint64_t bytes_of(const psc_file_tensor *tensor) {
    uint64_t bytes = (uint64_t)tensor->element_bytes;
    for (int i = 0; i < tensor->n_axes; i++) bytes *= (uint64_t)tensor->shape[i];
    return bytes;
}

/* Tensors with elements of 8 bytes in the first pass, the others in the second. */
static bool in_pass(const psc_file_tensor *tensor, int pass) {
    return (tensor->element_bytes == 8) == (pass == 0);
}

static json_t *tensor_entry(const psc_file_tensor *tensor, uint64_t offset) {
    json_t *shape = json_array();
    for (int i = 0; shape && i < tensor->n_axes; i++)
        if (json_array_append_new(shape, json_integer(tensor->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    const json_int_t begin = (json_int_t)offset, bytes = (json_int_t)bytes_of(tensor);
    return shape ? json_pack("{s:s, s:o, s:[I, I]}", "dtype", tensor->dtype, "shape", shape,
                       "data_offsets", begin, begin + bytes)
                 : NULL;
}

static bool add_metadata(json_t *header, int n, const char *const (*metadata)[2]) {
    json_t *object = json_object();
    bool complete = object != NULL;
    for (int i = 0; complete && i < n; i++)
        complete = json_object_set_new(object, metadata[i][0], json_string(metadata[i][1])) == 0;
    if (complete) return json_object_set_new(header, "__metadata__", object) == 0;
    json_decref(object);
    return false;
}

/* The header as JSON, which the caller frees by free(); null without memory. */
static char *make_header(
    int n, const psc_file_tensor *tensors, int n_metadata, const char *const (*metadata)[2]) {
    json_t *header = json_object();
    bool complete = header && (n_metadata == 0 || add_metadata(header, n_metadata, metadata));
    uint64_t offset = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; complete && i < n; i++) {
            if (!in_pass(&tensors[i], pass)) continue;
            json_t *entry = tensor_entry(&tensors[i], offset);
            complete = json_object_set_new(header, tensors[i].name, entry) == 0;
            offset += bytes_of(&tensors[i]);
        }
    char *text = complete ? psc_json_dump(header, JSON_COMPACT) : NULL;
    json_decref(header);
    return text;
}

static bool write_header(const char *header, FILE *out) {
    size_t length = strlen(header), padded = (length + 7) / 8 * 8;
    unsigned char size[8];
    for (int i = 0; i < 8; i++) size[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    bool written = fwrite(size, 1, 8, out) == 8 && fwrite(header, 1, length, out) == length;
    for (size_t i = length; written && i < padded; i++) written = fputc(' ', out) != EOF;
    return written;
}

psc_status psc_tensors_write(FILE *out, int n, const psc_file_tensor *tensors, int n_metadata,
    const char *const (*metadata)[2], psc_error *error) {
    char *header = make_header(n, tensors, n_metadata, metadata);
    if (!header) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the tensors");
    errno = 0;
    bool written = write_header(header, out);
    free(header);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; written && i < n; i++) {
            const size_t bytes = (size_t)bytes_of(&tensors[i]);
            if (!in_pass(&tensors[i], pass) || bytes == 0) continue;
            written = fwrite(tensors[i].data, 1, bytes, out) == bytes;
        }
    if (written) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot write the tensors: %s",
        errno ? strerror(errno) : "the output failed");
}
