/* tensors.safetensors: every plugin's arrays and the captured tensors, written by tensors_file.c. */
#include "report.h"

#include <stdlib.h>

#include "results.h"
#include "tensors_file.h"

psc_status psc_report_tensors(const psc_results *results, FILE *out, psc_error *error) {
    static const char *const dtypes[] = {"F32", "F64", "I32"};
    const char *const metadata[2][2] = {
        {"pythiascope", results->version}, {"model_hash", results->model.hash}};
    const int n = results->n_arrays;
    psc_file_tensor *tensors = calloc(n > 0 ? (size_t)n : 1, sizeof *tensors);
    if (!tensors)
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the tensors");
    for (int i = 0; i < n; i++) {
        const psc_array *array = &results->arrays[i].view;
        tensors[i] = (psc_file_tensor){array->name, dtypes[array->element],
            (int)psc_element_size((psc_element)array->element), array->n_axes, array->shape,
            array->data};
    }
    psc_status status = psc_tensors_write(out, n, tensors, 2, metadata, error);
    free(tensors);
    return status;
}
