/* What a folder or file is that cannot be opened as a model: one sentence each.
 * Private to runtime/model/. Includes psc_error.h only.
 * Threads: reentrant.
 * Ownership: nothing is kept. */
#ifndef MODEL_FOLDER_H
#define MODEL_FOLDER_H

#include "psc_error.h"

/* PSC_OK if folder is a directory with a config.json; otherwise an error that says what it is
 * instead (a GGUF file, weights without their folder, an adapter, a training checkpoint, a folder
 * of models, ...) and what to do. folder exists. */
psc_status psc_folder_check(const char *folder, psc_error *error);
/* Fails with a sentence of which weights the folder of a config.json has instead, if any. */
psc_status psc_folder_without_weights(const char *folder, psc_error *error);
/* Fails if path is a symbolic link whose target does not exist. */
psc_status psc_check_link(const char *path, psc_error *error);

#endif
