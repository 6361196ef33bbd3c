/* tensors.safetensors: every plugin's arrays and the captured tensors, written by tensors_file.c. */
#include "report.h"

#include <stdlib.h>

#include "results.h"
#include "tensors_file.h"

/* A text of the header's, "" where it is not there. */
static const char *head_text(const psc_results *results, const char *object, const char *key) {
    const char *text =
        json_string_value(json_object_get(json_object_get(results->head, object), key));
    return text ? text : "";
}

psc_status psc_report_tensors(const psc_results *results, FILE *out, psc_error *error) {
    static const char *const dtypes[] = {"F32", "F64", "I32"};
    const char *const metadata[2][2] = {
        {"pythiascope", head_text(results, "pythiascope", "version")},
        {"model_hash", head_text(results, "model", "hash")}};
    const int n = results->n_arrays;
    psc_file_tensor *tensors = calloc(n > 0 ? (size_t)n : 1, sizeof *tensors);
    if (!tensors)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the tensors");
    for (int i = 0; i < n; i++) {
        const psc_result_array *array = &results->arrays[i];
        tensors[i] = (psc_file_tensor){array->name, dtypes[array->dtype],
            (int)psc_result_dtype_size(array->dtype), array->n_axes, array->shape, array->data};
    }
    psc_status status = psc_tensors_write(out, n, tensors, 2, metadata, error);
    free(tensors);
    return status;
}
