/* What a text's end, its beginning token and a target's missing space may hide. */
#include "traps.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "progress.h"
#include "report.h"

typedef enum trap { TRAP_END, TRAP_TWO_BOS, TRAP_NO_BOS, TRAP_TARGETS, TRAP_COUNT } trap;
enum { MAX_TARGET = 64 };

static bool said[TRAP_COUNT];

static void say(trap which, const char *place, const char *sentence) {
    char line[1200];
    snprintf(line, sizeof line, "note: %s%s%s", place ? place : "", place ? ": " : "", sentence);
    if (!said[which]) cli_progress_line(line);
    said[which] = true;
}

static void note_end(const char *place, const cli_prompt *prompt) {
    char last = 0;
    if (prompt->bytes) last = prompt->text[prompt->bytes - 1];
    if (last == ' ')
        say(TRAP_END, place,
            "the text ends with a space, which is rarely meant: the tokens of most words begin with "
            "their space");
    else if (last == '\n')
        say(TRAP_END, place,
            "the text ends with a line break, which is a part of the prompt: the prediction is for "
            "the next line");
}

static void note_bos(const char *place, const cli_prompt *prompt, const psc_model *model,
    const cli_arguments *arguments) {
    const int32_t bos = psc_model_bos(model);
    if (bos < 0) return;
    if (cli_has(arguments, "bos")) {
        if (prompt->n > 1 && prompt->tokens[0].id == bos && prompt->tokens[1].id == bos)
            say(TRAP_TWO_BOS, place,
                "the text begins with the beginning token, and --bos puts another one in front; "
                "leave --bos or the token out");
    } else if (psc_model_expects_bos(model) && prompt->tokens[0].id != bos) {
        say(TRAP_NO_BOS, NULL,
            "the model's tokenizer puts the beginning token in front of each text "
            "(post_processor of tokenizer.json); pass --bos to do so");
    }
}

/* The id of a text that is one token; -1 for any other. */
static int32_t token_of(const psc_model *model, const char *text) {
    psc_token *tokens = NULL;
    int32_t n = 0, id = -1;
    if (psc_model_encode(&tokens, &n, model, text, strlen(text), false, NULL) == PSC_OK && n == 1)
        id = tokens[0].id;
    psc_free(tokens);
    return id;
}

static bool is_text(const char *target) {
    return *target && *target != ' ' && *target != '#' && strcmp(target, "next") != 0 &&
           strncmp(target, "top:", 4) != 0 && strncmp(target, "text:", 5) != 0 &&
           strlen(target) < MAX_TARGET;
}

static void note_target(const psc_model *model, const char *target) {
    char spaced[MAX_TARGET + 2], shown[4 * MAX_TARGET], sentence[16 * MAX_TARGET];
    if (said[TRAP_TARGETS] || !is_text(target)) return;
    const int32_t id = token_of(model, target);
    snprintf(spaced, sizeof spaced, " %s", target);
    const int32_t other = id < 0 ? -1 : token_of(model, spaced);
    if (other < 0) return;
    psc_report_escape(shown, sizeof shown, target, strlen(target));
    snprintf(sentence, sizeof sentence,
        "the target is '%s', token %d; ' %s' with a space in front is token %d: pass ' %s' if "
        "a word after a space is meant",
        shown, (int)id, shown, (int)other, shown);
    say(TRAP_TARGETS, NULL, sentence);
}

void cli_trap_notes(const char *place, const cli_prompt *prompt, const psc_model *model,
    const cli_arguments *arguments) {
    int cursor = 0;
    const cli_given *given;
    if (!psc_model_has_tokenizer(model)) return;
    if (prompt->text) note_end(place, prompt);
    if (prompt->text && prompt->n > 0) note_bos(place, prompt, model, arguments);
    while ((given = cli_next(arguments, "target", &cursor))) note_target(model, given->values[0]);
    for (cursor = 0; (given = cli_next(arguments, "contrast", &cursor));)
        for (int i = 0; i < 2; i++) note_target(model, given->values[i]);
}
