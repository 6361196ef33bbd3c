/* JSON for the program, over base/json.h and base/jsonl.c. */
#include "report_line.h"

#include "json.h"
#include "jsonl.h"

#include <stdio.h>

json_t *psc_report_value(const char *text, size_t n, json_error_t *why) {
    return psc_json_load(text, n, JSON_REJECT_DUPLICATES, why);
}

char *psc_report_value_text(const json_t *value) {
    return psc_json_dump(value, JSON_COMPACT);
}

json_t *psc_report_line(char *line, size_t n, char fault[PSC_REPORT_FAULT]) {
    json_error_t why;
    json_t *object = psc_json_line(line, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &why);
    const char *said = object ? NULL : psc_json_line_fault(&why);
    if (json_is_object(object)) return object;
    if (!object && psc_json_no_memory(&why)) said = "does not fit into memory";
    if (said)
        snprintf(fault, PSC_REPORT_FAULT, "%s", said);
    else
        snprintf(fault, PSC_REPORT_FAULT, "is not a JSON object%s%s", object ? "" : ": ",
            object ? "" : why.text);
    json_decref(object);
    return NULL;
}
