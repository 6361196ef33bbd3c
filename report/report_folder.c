/* The output folder: results.json, tensors.safetensors and the plugins' files, all or none. */
#include "report.h"

#include <errno.h>
#include <string.h>

#include "files.h"
#include "results.h"

psc_status psc_results_check_folder(const char *folder, psc_error *error) {
    psc_output *output;
    psc_status status = psc_output_begin(&output, folder, error);
    psc_output_abort(&output);
    return status;
}

/* results.json with options, else tensors.safetensors. */
static psc_status write_one(psc_output *output, const char *folder, const psc_results *results,
    const psc_format_options *options, psc_error *error) {
    const char *name = options ? "results.json" : "tensors.safetensors";
    FILE *file;
    psc_status status = psc_output_open(&file, output, name, error);
    if (status) return status;
    errno = 0;
    status = options ? psc_report_json(results, options, file, error)
                     : psc_report_tensors(results, file, error);
    if (status == PSC_ERROR_IO)
        psc_fail(error, status, "cannot write %s/%s: %s", folder, name,
            errno ? strerror(errno) : "the write failed");
    /* Keep the error of a failed write: closing no longer knows the reason. */
    psc_status closed = psc_output_close(&file, output, name, status ? NULL : error);
    return status ? status : closed;
}

static psc_status write_made(
    psc_output *output, const char *folder, const psc_result_file *made, psc_error *error) {
    FILE *file;
    psc_status status = psc_output_open(&file, output, made->name, error);
    if (status) return status;
    errno = 0;
    if (fwrite(made->bytes, 1, (size_t)made->n, file) != (size_t)made->n)
        status = psc_fail(error, PSC_ERROR_IO, "cannot write %s/%s: %s", folder, made->name,
            errno ? strerror(errno) : "the write failed");
    psc_status closed = psc_output_close(&file, output, made->name, status ? NULL : error);
    return status ? status : closed;
}

psc_status psc_results_write_folder_with(const psc_results *results,
    const psc_format_options *given, const char *folder, psc_error *error) {
    psc_output *output = NULL;
    psc_format_options options;
    psc_status status = psc_report_check(&options, results, PSC_FORMAT_JSON, given, error);
    options.one_line = 0;
    if (!status) status = psc_output_begin(&output, folder, error);
    if (!status) status = write_one(output, folder, results, &options, error);
    if (!status) status = write_one(output, folder, results, NULL, error);
    for (int i = 0; !status && i < results->n_files; i++)
        status = write_made(output, folder, &results->files[i], error);
    if (!status) return psc_output_commit(&output, error);
    psc_output_abort(&output);
    return status;
}

psc_status psc_results_write_folder(
    const psc_results *results, const char *folder, psc_error *error) {
    return psc_results_write_folder_with(results, NULL, folder, error);
}
