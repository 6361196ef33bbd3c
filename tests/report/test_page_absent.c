/* A library that was built with -DPSC_PAGE=OFF: the viewer is empty, and a page is refused in one
 * sentence. These constants stand for that build's, so the linker leaves the library's out. */
#include "page_assets.h"
#include "report.h"
#include "results_fixture.h"

const unsigned char psc_page_viewer[] = {0}, psc_page_loader[] = {0}, psc_page_style[] = {0};
const size_t psc_page_viewer_bytes = 0, psc_page_loader_bytes = 0, psc_page_style_bytes = 0;
const char psc_page_viewer_hash[] = "", psc_page_loader_hash[] = "", psc_page_style_hash[] = "";

Test(page_absent, a_page_is_refused) {
    psc_results *results = make_results();
    psc_error error = {0};
    char *page;
    cr_expect_eq(psc_results_write_memory(&page, NULL, results, PSC_FORMAT_HTML, NULL, &error),
        PSC_ERROR_SUPPORT);
    cr_expect_null(page);
    cr_expect(strstr(error.message, "-DPSC_PAGE=OFF"), "%s", error.message);
    cr_expect_eq(psc_results_check_file(PSC_FORMAT_HTML, "/tmp/x.html", &error), PSC_ERROR_SUPPORT);
    cr_expect_eq(psc_results_check_file(PSC_FORMAT_JSON, "/tmp/x.json", &error), PSC_OK);
    cr_expect_eq(
        psc_results_write_memory(&page, NULL, results, PSC_FORMAT_TEXT, NULL, &error), PSC_OK);
    psc_free(page);
    psc_results_close(&results);
}
