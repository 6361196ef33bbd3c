/* The page: one HTML document without any request. It holds the terminal's text, which a reader
 * sees whose browser runs no script; the data block; and the viewer, compressed, with a script that
 * loads it. The Content-Security-Policy admits that script, the viewer's text and the style by
 * their hashes. All other texts are data: the terminal's is escaped, and the data block has no
 * character that means something in markup. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory_stream.h"
#include "page_assets.h"
#include "page_base64.h"
#include "page_data.h"
#include "report.h"
#include "utf8.h"

/* FRAME_BYTES: the document without texts, data, script and style. */
enum { WHOLE_BYTES = 1000000, FRAME_BYTES = 3000 };
enum { MOST_TEXT = 60000, TEXT_WIDTH = 100 };

psc_status psc_report_page_ready(psc_error *error) {
    if (psc_page_viewer_bytes > 0) return PSC_OK;
    return psc_fail(error, PSC_ERROR_SUPPORT,
        "this build of pythiascope has no page; build it with esbuild and without -DPSC_PAGE=OFF");
}

/* --- texts ----------------------------------------------------------------------------------- */

/* Writes text as HTML; control characters other than line ends, and what is not UTF-8, as U+FFFD.
 * Returns the bytes written, at most `most`. */
static int64_t put_html(FILE *out, const char *text, size_t n, int64_t most) {
    int64_t written = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c;
        const int length = psc_utf8_next(&c, text + i, n - i);
        const size_t step = length > 0 ? (size_t)length : 1;
        const char *shown = NULL;
        if (length <= 0 || (c != '\n' && psc_utf8_is_dangerous(c))) shown = "\xef\xbf\xbd";
        if (c == '<') shown = "&lt;";
        if (c == '>') shown = "&gt;";
        if (c == '&') shown = "&amp;";
        if (c == '"') shown = "&quot;";
        const size_t size = shown ? strlen(shown) : step;
        if (written + (int64_t)size > most) {
            fputs("\xe2\x80\xa6", out);
            return written;
        }
        fwrite(shown ? shown : text + i, 1, size, out);
        written += (int64_t)size;
        i += step;
    }
    return written;
}

static const char *model_name(const psc_results *results) {
    psc_result_model model = PSC_RESULT_MODEL_INIT;
    return psc_results_get_model(&model, results, NULL) ? "" : model.name;
}

/* "logits, ln: pythia-160m" */
static void put_title(FILE *out, const psc_results *results) {
    const char *name = model_name(results);
    int64_t room = 120;
    for (int32_t i = 0; i < psc_results_section_count(results) && room > 0; i++) {
        psc_result_section section = PSC_RESULT_SECTION_INIT;
        if (psc_results_section_at(&section, results, i, NULL)) continue;
        if (i > 0) fputs(", ", out);
        room -= 2 + put_html(out, section.name, strlen(section.name), room);
    }
    fputs(": ", out);
    put_html(out, name, strlen(name), 80);
}

/* --- the terminal's text --------------------------------------------------------------------- */

static psc_status put_summary(
    FILE *out, const psc_results *results, int64_t *room, psc_error *error) {
    char *text = NULL;
    size_t bytes = 0;
    psc_memory_stream memory;
    if (!psc_memory_open(&memory))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    const psc_report_style style = {.width = TEXT_WIDTH};
    psc_status status = psc_report_summary(results, memory.file, style, error);
    if (!psc_memory_close(&text, &bytes, &memory))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    if (!status) *room -= put_html(out, text, bytes, *room);
    free(text);
    return status;
}

/* The text of both runs into fresh memory; at most `room` bytes. */
static psc_status make_text(
    char **text, size_t *bytes, const psc_page_source *source, int64_t room, psc_error *error) {
    psc_memory_stream memory;
    if (!psc_memory_open(&memory))
        return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    FILE *out = memory.file;
    psc_status status = PSC_OK;
    for (int run = 0; !status && run < 2 && source->runs[run]; run++) {
        int64_t own = run == 0 && source->runs[1] ? room / 2 : room;
        room -= own;
        if (run > 0) fputs("\n\n", out);
        if (source->runs[1])
            own -= put_html(out, source->labels[run], strlen(source->labels[run]), 500);
        if (source->runs[1]) fputs("\n\n", out);
        if (own < 0) own = 0;
        status = put_summary(out, source->runs[run], &own, error);
        room += own;
    }
    if (!psc_memory_close(text, bytes, &memory))
        status = psc_fail(error, PSC_ERROR_MEMORY, "not enough memory to write the page");
    return status;
}

/* --- the document ---------------------------------------------------------------------------- */

static void put_head(FILE *out, const psc_results *results) {
    fprintf(out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
        "script-src 'sha256-%s' 'sha256-%s'; style-src 'sha256-%s'; img-src data: blob:; base-uri 'none'; "
        "form-action 'none'\">\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
        "<link rel=\"icon\" href=\"data:,\">\n<title>",
        psc_page_loader_hash, psc_page_viewer_hash, psc_page_style_hash);
    put_title(out, results);
    fputs("</title>\n<style>", out);
    fwrite(psc_page_style, 1, psc_page_style_bytes, out);
    fputs("</style>\n</head>\n", out);
}

static void put_viewer(FILE *out) {
    psc_base64 base64 = {.out = out};
    fputs("</script>\n<script type=\"text/plain\" id=\"viewer\">", out);
    for (size_t i = 0; i < psc_page_viewer_bytes; i++)
        psc_base64_put(&base64, psc_page_viewer[i], 1);
    psc_base64_end(&base64);
    fputs("</script>\n<script id=\"loader\">", out);
    fwrite(psc_page_loader, 1, psc_page_loader_bytes, out);
}

static psc_status put_body(
    FILE *out, const psc_page_source *source, int64_t room, psc_error *error) {
    char *text = NULL;
    size_t bytes = 0;
    const int64_t most = room / 10 < MOST_TEXT ? room / 10 : MOST_TEXT;
    psc_status status = make_text(&text, &bytes, source, most, error);
    if (!status) {
        fputs("<body>\n<details open id=\"text\"><summary>The summary as text</summary>\n<pre>\n",
            out);
        fwrite(text, 1, bytes, out);
        fputs("</pre></details>\n<script type=\"application/json\" id=\"data\">", out);
        status = psc_page_write_data(source, room - (int64_t)bytes, out, error);
    }
    free(text);
    if (status) return status;
    put_viewer(out);
    fputs("</script>\n</body>\n</html>\n", out);
    return PSC_OK;
}

/* What keeps the whole page within 1 MB. */
static int64_t default_room(void) {
    const size_t viewer = psc_page_viewer_bytes / 3 * 4 + psc_page_loader_bytes;
    return WHOLE_BYTES - FRAME_BYTES - (int64_t)(viewer + psc_page_style_bytes);
}

psc_status psc_report_page(
    const psc_results *results, const psc_format_options *options, FILE *out, psc_error *error) {
    const psc_results *beside = options->beside;
    const psc_page_source source = {.runs = {results, beside},
        .labels = {options->label ? options->label
                   : beside       ? "this run"
                                  : "",
            options->beside_label ? options->beside_label : "the run beside it"},
        .command = options->command};
    const int64_t room = options->page_bytes > 0 ? options->page_bytes : default_room();
    psc_status status = psc_report_page_ready(error);
    if (status) return status;
    errno = 0;
    put_head(out, results);
    status = put_body(out, &source, room, error);
    if (status) return status;
    if (fflush(out) == 0 && !ferror(out)) return PSC_OK;
    return psc_fail(error, PSC_ERROR_IO, "cannot write the page: %s",
        errno ? strerror(errno) : "the output failed");
}
