/* What the files that read config.json share: its values by kind, with errors that name the key.
 * Private to runtime/model/config*.c and runtime/dictionary/.
 * Threads: reentrant.
 * Ownership: strings belong to the JSON document; a reader borrows all it points to. */
#ifndef CONFIG_READER_H
#define CONFIG_READER_H

#include "config.h"

#include <jansson.h>

typedef struct psc_config_reader {
    const char *path; /* of the file, for messages */
    json_t *root;
    psc_error *error;
} psc_config_reader;

/* A number that several keys may give; all of them must agree. */
typedef struct psc_config_value {
    const char *key; /* the first key that gave it; null: none */
    double value;
} psc_config_value;

/* The value of key; null when it is absent or JSON's null. */
json_t *psc_config_get(json_t *object, const char *key);
/* *out is null when the key is absent. */
psc_status psc_config_string(
    const psc_config_reader *r, json_t *object, const char *key, const char **out);
/* Reads object's key into n. shown is the key's full name in messages, and lives as long as n. */
psc_status psc_config_number(const psc_config_reader *r, json_t *object, const char *key,
    const char *shown, psc_config_value *n);

/* The rotary embedding, after the sizes of c (config_rotary.c). */
psc_status psc_config_read_rotary(psc_config *c, const psc_config_reader *r);
/* bos_token_id and eos_token_id, after the sizes of c (config_ids.c). */
psc_status psc_config_read_ids(psc_config *c, const psc_config_reader *r);
/* The ends of generation in the root of generation_config.json; they replace config.json's. */
psc_status psc_config_read_ends(psc_config *c, const psc_config_reader *r);

#endif
