/* "Did you mean ...?" for the program, over base/suggest.c. */
#include "report.h"
#include "suggest.h"

const char *psc_report_suggest(char out[PSC_REPORT_SUGGESTION], const char *given, size_t bytes,
    const char *prefix, const char *(*name)(const void *list, int32_t i), const void *list) {
    psc_suggestion near = psc_suggest(given, bytes);
    const char *known;
    for (int32_t i = 0; (known = name(list, i)); i++) psc_suggest_name(&near, known);
    return psc_suggest_text(out, &near, prefix);
}
