/* Arrays as base64 texts of a page: exact, as 16-bit floats, or the largest entries of each slice.
 * Private to report/page/ and tests/. Includes json_writer.h and psc_results.h.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef PAGE_ENCODE_H
#define PAGE_ENCODE_H

#include "json_writer.h"
#include "psc_results.h"

typedef enum psc_page_code {
    PSC_PAGE_OMITTED, /* too large for the page */
    PSC_PAGE_F32,     /* F64 is rounded */
    PSC_PAGE_F16,
    PSC_PAGE_TOP, /* per slice along the last axis: the largest entries, and the sum of the others */
    PSC_PAGE_I32,
    PSC_PAGE_I16,
    PSC_PAGE_U16,    /* 65535: -1 */
    PSC_PAGE_U8,     /* 255: -1 */
    PSC_PAGE_SLICES, /* some indices of the leading axes, with all that belongs to them */
    PSC_PAGE_Q8,     /* a byte: steps of 1/254 of the range of an index of the last axis */
    PSC_PAGE_SUMS    /* sums over the axis "neurons" of a histogram per neuron */
} psc_page_code;

typedef struct psc_page_encoding {
    psc_page_code code;
    int32_t kept;    /* of TOP: most entries per slice */
    int64_t entries; /* of TOP: in all */
    double scale;    /* of F16 and TOP: a power of 2. A value is its 16-bit number times scale */
    int64_t bytes;   /* about what it takes in the data block */
    psc_page_code element; /* of SLICES */
    int32_t lead;          /* of SLICES: the leading axes */
    const int32_t *slices; /* of SLICES: [n_slices] flat indices of the leading axes, ascending */
    int64_t n_slices;
} psc_page_encoding;

enum { PSC_PAGE_CHOICES = 9, PSC_PAGE_COLUMNS = 16 }; /* most columns of Q8 */
/* The choices of psc_page_encoding.kept, from the largest on. */
extern const int32_t psc_page_kept[PSC_PAGE_CHOICES], psc_page_kept_of_pattern[PSC_PAGE_CHOICES];

/* An entry of a pattern below this is left out. */
#define PSC_PAGE_LEAST 0.005

/* What the choice of an encoding needs to know of an array. */
typedef struct psc_page_facts {
    int64_t n, last, slices; /* n = slices * last */
    bool is_pattern;         /* attention: rows by keys */
    bool is_share;           /* a pattern from 0 to 1 */
    bool has_infinity;
    int summed;                        /* the axis that SUMS sums over; -1: none */
    double most;                       /* the largest finite magnitude */
    int32_t low, high;                 /* of integers */
    int64_t entries[PSC_PAGE_CHOICES]; /* that TOP keeps in all, per choice */
} psc_page_facts;

void psc_page_examine(psc_page_facts *out, const psc_array *array);
/* The best encoding of at most `room` bytes: exact, then F16, then SUMS or TOP. */
psc_page_encoding psc_page_choose(
    const psc_page_facts *facts, const psc_array *array, int64_t room);
/* A small encoding of at most `room` bytes: exact integers, F16, or TOP with few
 * entries. */
psc_page_encoding psc_page_choose_small(
    const psc_page_facts *facts, const psc_array *array, int64_t room);
/* Q8 if the array has few columns and it fits. */
psc_page_encoding psc_page_round(const psc_page_facts *facts, const psc_array *array, int64_t room);
/* The encoding SLICES, which does not copy slices; OMITTED if there are none. */
psc_page_encoding psc_page_slices(const psc_page_facts *facts, const psc_array *array, int32_t lead,
    const int32_t *slices, int64_t n_slices);
/* The members "encoding", "data" and so on of the array's object. used: [last], nullable: 1 is
 * written where TOP keeps an entry of any slice, in a dense array where an entry is among the 64
 * largest of its slice. */
psc_status psc_page_encode(psc_json *json, const psc_array *array, const psc_page_facts *facts,
    const psc_page_encoding *encoding, unsigned char *used, psc_error *error);

/* The nearest IEEE half, ties to even. */
uint16_t psc_page_half(double value);

#endif
