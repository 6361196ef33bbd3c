/* The numbers of results.json: small arrays whole, of larger ones the largest entries.
 * Private to report/. Includes json_writer.h and results.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef JSON_ARRAYS_H
#define JSON_ARRAYS_H

#include "json_writer.h"
#include "results.h"

enum {
    PSC_INLINE_ELEMENTS = 64, /* most elements of an array that results.json holds whole */
    PSC_LARGEST = 10,         /* entries of a list */
    PSC_MOST_LARGEST = 256    /* lists of an array */
};

/* The members "values" and "largest" of an array's object, as far as the array has them. A section's
 * array needs the section; of a capture it is null. */
void psc_json_numbers(psc_json *json, const psc_section *section, const psc_stored_array *array);

#endif
