/* The output folder: results.json, tensors.safetensors and the plugins' files, whole or not at all.
 */
#include "report.h"

#include <errno.h>
#include <string.h>

#include "files.h"
#include "results.h"

psc_status psc_report_check_folder(const char *folder, psc_error *error) {
    psc_output *output;
    psc_status status = psc_output_begin(&output, folder, error);
    psc_output_abort(&output);
    return status;
}

typedef psc_status (*write_fn)(const psc_results *results, FILE *out, psc_error *error);

static psc_status write_one(psc_output *output, const char *folder, const char *name,
    write_fn write, const psc_results *results, psc_error *error) {
    FILE *file;
    psc_status status = psc_output_open(&file, output, name, error);
    if (status) return status;
    errno = 0;
    status = write(results, file, error);
    if (status == PSC_ERROR_IO)
        psc_fail(error, status, "cannot write %s/%s: %s", folder, name,
            errno ? strerror(errno) : "the write failed");
    /* Once a write has failed its sentence stands: closing no longer knows the reason. */
    psc_status closed = psc_output_close(&file, output, name, status ? NULL : error);
    return status ? status : closed;
}

static psc_status write_document(
    psc_output *output, const char *folder, const psc_result_document *document, psc_error *error) {
    FILE *file;
    psc_status status = psc_output_open(&file, output, document->name, error);
    if (status) return status;
    errno = 0;
    if (fwrite(document->bytes, 1, (size_t)document->n, file) != (size_t)document->n)
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %s/%s: %s", folder, document->name,
            errno ? strerror(errno) : "the write failed");
    psc_status closed = psc_output_close(&file, output, document->name, status ? NULL : error);
    return status ? status : closed;
}

psc_status psc_report_folder(const psc_results *results, const char *folder, psc_error *error) {
    psc_output *output;
    psc_status status = psc_output_begin(&output, folder, error);
    if (!status)
        status = write_one(output, folder, "results.json", psc_report_json, results, error);
    if (!status)
        status =
            write_one(output, folder, "tensors.safetensors", psc_report_tensors, results, error);
    for (int i = 0; !status && i < results->n_documents; i++)
        status = write_document(output, folder, &results->documents[i], error);
    if (!status) return psc_output_commit(&output, error);
    psc_output_abort(&output);
    return status;
}
