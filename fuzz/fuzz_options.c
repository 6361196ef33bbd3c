/* Options as text, one per line, applied to one session, which then runs seven tokens:
 *
 *   plugin NAME[:key=value,...]    target T    contrast A <tab> B    capture POINT    model NAME
 *   ablate, scale, steer, knockout, patch, direction AT[:key=value,...]      accumulate
 *
 * Inputs with a slash or ".so" are left out: nothing outside the scratch folder is read, loaded or
 * written. */
#include "checkpoint_list.h"
#include "fuzz.h"
#include "interventions.h"
#include "setup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static psc_status apply(psc_session *session, const char *word, char *rest, psc_error *error) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    if (strcmp(word, "plugin") == 0) return cli_add_plugin(session, rest, error);
    if (strcmp(word, "target") == 0) return psc_session_target(session, rest, error);
    if (strcmp(word, "capture") == 0) return psc_session_capture(session, rest, error);
    if (strcmp(word, "contrast") == 0) {
        char *tab = strchr(rest, '\t');
        if (tab) *tab = 0;
        return psc_session_contrast(session, rest, tab ? tab + 1 : "", error);
    }
    if (strcmp(word, "model") == 0) {
        cli_checkpoint_list list;
        memset(&list, 0, sizeof list);
        if (cli_names_checkpoints(rest))
            fuzz_check(cli_checkpoint_list_read(&list, rest, error), error);
        cli_checkpoint_list_free(&list);
        return psc_model_read_name(&place, rest, error);
    }
    if (cli_is_intervention(word)) return cli_intervention_add(session, word, rest, error);
    return PSC_OK;
}

static void run_phases(psc_session *session, psc_error *error) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    const psc_token tokens[7] = {
        {.id = 0}, {.id = 83}, {.id = 259}, {.id = 40}, {.id = 41}, {.id = 42}, {.id = 43}};
    const psc_input input = {0, 7, tokens};
    static const int phases[] = {PSC_PHASE_SOURCE, PSC_PHASE_BASE, PSC_PHASE_CHANGED};
    const int n = psc_session_has_phases(session) ? 3 : 1;
    for (int i = 0; i < n; i++) {
        options.phase = n == 1 ? PSC_PHASE_ONLY : phases[i];
        psc_session_truncate(session, 0, 0);
        const psc_status status = psc_session_run(session, &input, 1, &options, error);
        fuzz_check(status, error);
        if (status) return;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    psc_error error = {0};
    psc_status status = PSC_OK;
    char *text = fuzz_text((fuzz_bytes){data, size}), *next = NULL;
    if (strchr(text, '/') || strstr(text, ".so") || strstr(text, ".dylib")) {
        free(text);
        return 0;
    }
    fuzz_expect(chdir(fuzz_folder()) == 0, "cannot enter the scratch folder");
    const int accumulates = strstr(text, "accumulate") != NULL;
    psc_session *session = fuzz_session(accumulates);
    for (char *line = strtok_r(text, "\n", &next); line && !status;
         line = strtok_r(NULL, "\n", &next)) {
        char *space = strchr(line, ' ');
        if (space) *space = 0;
        status = apply(session, line, space ? space + 1 : line + strlen(line), &error);
        fuzz_check(status, &error);
    }
    if (!status) run_phases(session, &error);
    if (!status && accumulates) fuzz_check(psc_session_report(session, NULL, &error), &error);
    psc_session_close(&session);
    free(text);
    return 0;
}
