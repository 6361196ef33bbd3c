/* tensors.safetensors: 8 bytes of header length (little-endian), the header as JSON padded with
 * spaces to a multiple of 8, then the tensors. Elements of 8 bytes come first, so that every tensor
 * is aligned to its element. */
#include "report.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "results.h"

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are written as they lie in memory, which must be little-endian"
#endif

static json_t *tensor_entry(const psc_result_array *array, uint64_t offset) {
    static const char *const names[] = {"F32", "F64", "I32"};
    json_t *shape = json_array();
    for (int i = 0; shape && i < array->n_axes; i++)
        if (json_array_append_new(shape, json_integer(array->shape[i])) != 0) {
            json_decref(shape);
            return NULL;
        }
    return shape ? json_pack("{s:s, s:o, s:[I, I]}", "dtype", names[array->dtype], "shape", shape,
                       "data_offsets", (json_int_t)offset, (json_int_t)(offset + array->bytes))
                 : NULL;
}

/* A text of the header's, "" where it is not there. */
static const char *head_text(const psc_results *results, const char *object, const char *key) {
    const char *text =
        json_string_value(json_object_get(json_object_get(results->head, object), key));
    return text ? text : "";
}

/* Arrays with elements of 8 bytes in the first pass, the others in the second. */
static bool in_pass(const psc_result_array *array, int pass) {
    return (psc_result_dtype_size(array->dtype) == 8) == (pass == 0);
}

static char *make_header(const psc_results *results) {
    json_t *header = json_object();
    json_t *metadata =
        json_pack("{s:s, s:s}", "pythiascope", head_text(results, "pythiascope", "version"),
            "model_hash", head_text(results, "model", "hash"));
    bool complete = header && json_object_set_new(header, "__metadata__", metadata) == 0;
    uint64_t offset = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; complete && i < results->n_arrays; i++) {
            const psc_result_array *array = &results->arrays[i];
            if (!in_pass(array, pass)) continue;
            complete = json_object_set_new(header, array->name, tensor_entry(array, offset)) == 0;
            offset += array->bytes;
        }
    char *text = complete ? json_dumps(header, JSON_COMPACT) : NULL;
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

psc_status psc_report_tensors(const psc_results *results, FILE *out, psc_error *error) {
    char *header = make_header(results);
    if (!header) return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the tensors");
    errno = 0;
    bool written = write_header(header, out);
    free(header);
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; written && i < results->n_arrays; i++) {
            const psc_result_array *array = &results->arrays[i];
            if (!in_pass(array, pass) || array->bytes == 0) continue;
            written = fwrite(array->data, 1, (size_t)array->bytes, out) == array->bytes;
        }
    if (written) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot write the tensors: %s",
        errno ? strerror(errno) : "the output failed");
}
