/* Results in a format, onto a stream, into a file or into memory. */
#include "report.h"

#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "memory_stream.h"
#include "results.h"

enum { LEAST_WIDTH = 40, MOST_WIDTH = 1000 };

psc_status psc_report_ready(const psc_results *results, psc_error *error) {
    psc_result_run run = PSC_RESULT_RUN_INIT;
    return psc_results_get_run(&run, results, error);
}

/* Structures of the options that this version can read. */
static psc_status check_besides(const psc_format_options *options, psc_error *error) {
    if (options->time && options->time->struct_size < sizeof *options->time)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the options' time has no struct_size; start from PSC_RESULT_TIME_INIT");
    if (options->generation && options->generation->struct_size < sizeof *options->generation)
        return psc_fail(error, PSC_ERROR_INPUT,
            "the options' generation has no struct_size; start from PSC_GENERATION_INIT");
    return PSC_OK;
}

psc_status psc_report_check(psc_format_options *out, const psc_results *results, psc_format format,
    const psc_format_options *given, psc_error *error) {
    *out = (psc_format_options)PSC_FORMAT_OPTIONS_INIT;
    if (given)
        memcpy(out, given, given->struct_size < sizeof *out ? given->struct_size : sizeof *out);
    if (format != PSC_FORMAT_JSON && format != PSC_FORMAT_TEXT && format != PSC_FORMAT_HTML)
        return psc_fail(error, PSC_ERROR_INPUT, "the format %d is unknown", (int)format);
    if (out->width != 0 && (out->width < LEAST_WIDTH || out->width > MOST_WIDTH))
        return psc_fail(error, PSC_ERROR_INPUT, "the width must be 0 or from %d to %d, not %d",
            LEAST_WIDTH, MOST_WIDTH, (int)out->width);
    if (out->color < PSC_COLOR_AUTO || out->color > PSC_COLOR_NEVER)
        return psc_fail(error, PSC_ERROR_INPUT, "the color mode %d is unknown", (int)out->color);
    if (out->sections < 0)
        return psc_fail(error, PSC_ERROR_INPUT, "the number of sections must not be negative");
    if (out->page_bytes < 0)
        return psc_fail(error, PSC_ERROR_INPUT, "the page's bytes must not be negative");
    psc_status status = check_besides(out, error);
    if (!status) status = psc_report_ready(results, error);
    if (status || format != PSC_FORMAT_HTML || !out->beside) return status;
    return psc_report_ready(out->beside, error);
}

/* terminal: the stream if it may be a terminal, else null. */
static psc_status write_to(FILE *out, FILE *terminal, const psc_results *results, psc_format format,
    const psc_format_options *options, psc_error *error) {
    if (format == PSC_FORMAT_JSON) return psc_report_json(results, options, out, error);
    if (format == PSC_FORMAT_HTML) return psc_report_page(results, options, out, error);
    psc_report_style style = psc_report_style_of(terminal);
    style.sections = options->sections;
    if (options->width != 0) style.width = options->width;
    if (options->color != PSC_COLOR_AUTO) style.color = options->color == PSC_COLOR_ALWAYS;
    if (options->no_head) return psc_report_sections(results, out, style, error);
    return psc_report_summary(results, out, style, error);
}

psc_status psc_results_write(const psc_results *results, psc_format format,
    const psc_format_options *given, FILE *out, psc_error *error) {
    psc_format_options options;
    psc_status status = psc_report_check(&options, results, format, given, error);
    return status ? status : write_to(out, out, results, format, &options, error);
}

psc_status psc_results_write_memory(char **out, size_t *bytes, const psc_results *results,
    psc_format format, const psc_format_options *given, psc_error *error) {
    psc_format_options options;
    psc_memory_stream memory;
    size_t size = 0;
    *out = NULL;
    if (bytes) *bytes = 0;
    psc_status status = psc_report_check(&options, results, format, given, error);
    if (status) return status;
    if (!psc_memory_open(&memory))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    status = write_to(memory.file, NULL, results, format, &options, error);
    if (!psc_memory_close(out, &size, &memory))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the results");
    if (status) {
        free(*out);
        *out = NULL;
    } else if (bytes) {
        *bytes = size;
    }
    return status;
}

psc_status psc_results_check_file(psc_format format, const char *path, psc_error *error) {
    const psc_status status = format == PSC_FORMAT_HTML ? psc_report_page_ready(error) : PSC_OK;
    return status ? status : psc_check_file(path, error);
}

psc_status psc_results_write_file(const psc_results *results, psc_format format,
    const psc_format_options *options, const char *path, psc_error *error) {
    char *text;
    size_t bytes;
    psc_status status = psc_results_write_memory(&text, &bytes, results, format, options, error);
    if (!status) status = psc_write_file(path, text, bytes, error);
    free(text);
    return status;
}
