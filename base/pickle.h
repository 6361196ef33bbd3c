/* A pickle machine that builds plain values and runs nothing: Python's format for
 * objects, as far as a state dict of PyTorch needs it. Functions are numbers that the
 * caller knows; no other name passes.
 * Private to base/ and tests/. Includes psc_error.h only.
 * Threads: reentrant; a machine belongs to one thread.
 * Ownership: opens and closes by **; texts point into the caller's data, which must outlive it. */
#ifndef PICKLE_H
#define PICKLE_H

#include "psc_error.h"

#include <stddef.h>
#include <stdint.h>

/* Most values, stack entries, memo slots and dict entries. A tensor of a state dict takes about 16
 * values. With these caps a machine takes at most about 50 MB, whatever the data. */
#define PSC_PICKLE_VALUES ((size_t)1 << 20)

typedef enum psc_pickle_kind {
    PSC_PICKLE_NONE,
    PSC_PICKLE_BOOL,
    PSC_PICKLE_INT,    /* number */
    PSC_PICKLE_OPAQUE, /* a float, a list or bytes, whose content is dropped */
    PSC_PICKLE_TEXT,   /* text [n], without a 0 */
    PSC_PICKLE_TUPLE,  /* n items */
    PSC_PICKLE_DICT,   /* n entries, in order */
    PSC_PICKLE_NAME,   /* number: what psc_pickle_calls.find returned */
    PSC_PICKLE_OBJECT  /* n and number: the caller's */
} psc_pickle_kind;

typedef struct psc_pickle_value {
    uint8_t kind; /* psc_pickle_kind */
    uint32_t n;
    union {
        int64_t number;
        const char *text;
        struct {
            uint32_t first, last; /* the machine's */
        };
    };
} psc_pickle_value;

typedef struct psc_pickle psc_pickle;

/* What the names and objects of the data mean. Each call may fail with a status of its own. */
typedef struct psc_pickle_calls {
    /* The number of module.name; below 0: it is refused by its name. */
    int (*find)(const char *module, size_t module_bytes, const char *name, size_t name_bytes);
    /* The function `name` applied to a tuple. */
    psc_status (*call)(psc_pickle_value *out, const psc_pickle *machine, int64_t name,
        const psc_pickle_value *arguments, void *payload);
    /* The object with a persistent id. */
    psc_status (*load)(psc_pickle_value *out, const psc_pickle *machine, const psc_pickle_value *id,
        void *payload);
    const char *source; /* of the data, for messages: "x.bin: data.pkl" */
    void *payload;
} psc_pickle_calls;

/* Runs data [size] to its end. PSC_ERROR_INPUT for damage, PSC_ERROR_SUPPORT for a name or an
 * instruction that no state dict needs. */
psc_status psc_pickle_run(psc_pickle **out, const unsigned char *data, size_t size,
    const psc_pickle_calls *calls, psc_error *error);
/* *machine may be null and becomes null. */
void psc_pickle_close(psc_pickle **machine);

/* These pointers hold until the machine continues: in a call, or after the run until the close. */
const psc_pickle_value *psc_pickle_result(const psc_pickle *machine);
/* Item i of a tuple, i < tuple->n. */
const psc_pickle_value *psc_pickle_item(
    const psc_pickle *machine, const psc_pickle_value *tuple, uint32_t i);
/* The entry after *at of a dict, from *at = 0; false after the last. */
int psc_pickle_entry(const psc_pickle_value **key, const psc_pickle_value **value,
    const psc_pickle *machine, const psc_pickle_value *dict, uint32_t *at);

#endif
