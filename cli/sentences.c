/* Labelled sentences as sequences of a run. A run's text is the concatenation of its sequences'
 * texts; tokens and sentences get their places in it. */
#include "sentences.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress.h"
#include "say.h"

static psc_status no_memory(psc_error *error) {
    return psc_fail(error, PSC_ERROR_MEMORY, "not enough memory for the sentences");
}

/* --- reading --------------------------------------------------------------------------------- */

/* The bytes of the sentences of a sequence, with a space between them; writes them if out is not
 * null. */
static uint32_t join(
    char *out, const psc_sentence *sentences, const cli_sequence *sequence, uint32_t *starts) {
    uint32_t bytes = 0;
    for (int32_t i = 0; i < sequence->n_sentences; i++) {
        const psc_sentence *s = &sentences[sequence->first + i];
        if (i > 0 && out) out[bytes] = ' ';
        bytes += i > 0;
        if (starts) starts[i] = bytes;
        if (out) memcpy(out + bytes, s->text, s->bytes);
        bytes += s->bytes;
    }
    return bytes;
}

/* Of a sequence beyond most_rows, which is skipped, only the first tokens. */
static psc_status encode(cli_sequence *sequence, const cli_sentences *all, const psc_model *model,
    const char *path, int32_t most_rows, psc_error *error) {
    sequence->bytes = join(NULL, all->sentences, sequence, NULL);
    char *text = malloc((size_t)sequence->bytes + 1);
    if (!text) return no_memory(error);
    join(text, all->sentences, sequence, NULL);
    psc_status status = psc_model_encode_first(
        &sequence->tokens, &sequence->n, model, text, sequence->bytes, true, most_rows, error);
    free(text);
    if (status == PSC_ERROR_INPUT && psc_model_has_tokenizer(model) && error) {
        char why[sizeof error->message];
        memcpy(why, error->message, sizeof why);
        return psc_fail(
            error, status, "%s:%d: %s", path, (int)all->sentences[sequence->first].line, why);
    }
    return status;
}

psc_status cli_sentences_read(cli_sentences *out, const psc_model *model, const char *path,
    int32_t window, int32_t most_rows, psc_error *error) {
    psc_treebank *treebank = NULL;
    int32_t n = 0;
    *out = (cli_sentences){0};
    psc_status status = psc_treebank_open(&treebank, path, error);
    if (status) return status;
    const psc_sentence *sentences = psc_treebank_sentences(treebank, &n);
    status = cli_sentences_take(out, model, path, sentences, n, window, most_rows, error);
    out->treebank = treebank;
    return status;
}

psc_status cli_sentences_take(cli_sentences *out, const psc_model *model, const char *path,
    const psc_sentence *sentences, int32_t n_sentences, int32_t window, int32_t most_rows,
    psc_error *error) {
    psc_status status = PSC_OK;
    *out = (cli_sentences){.sentences = sentences, .n_sentences = n_sentences};
    const int32_t n = out->n_sentences / window;
    out->sequences = calloc((size_t)n + 1, sizeof *out->sequences);
    if (!out->sequences) return no_memory(error);
    cli_progress_start("tokenizing");
    for (int32_t i = 0; !status && i < n; i++) {
        cli_sequence *sequence = &out->sequences[out->n];
        *sequence = (cli_sequence){NULL, 0, i * window, window, 0};
        status = encode(sequence, out, model, path, most_rows, error);
        if (status) break;
        if (sequence->n > most_rows) {
            psc_free(sequence->tokens);
            sequence->tokens = NULL;
            out->n_skipped++;
            continue;
        }
        if (sequence->n > out->longest) out->longest = sequence->n;
        out->n_rows += sequence->n;
        out->n++;
    }
    cli_progress_stop();
    if (!status && out->n == 0 && window == 1)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "%s: none of its %d sentences has at most %d rows; raise --rows", path,
            (int)out->n_sentences, (int)most_rows);
    else if (!status && out->n == 0)
        status = psc_fail(error, PSC_ERROR_INPUT,
            "%s: none of its %d windows of %d sentences has at most %d rows; raise --rows", path,
            (int)n, (int)window, (int)most_rows);
    return status;
}

void cli_sentences_free(cli_sentences *sentences) {
    for (int32_t i = 0; i < sentences->n; i++) psc_free(sentences->sequences[i].tokens);
    free(sentences->sequences);
    psc_treebank_close(&sentences->treebank);
    *sentences = (cli_sentences){0};
}

/* --- running --------------------------------------------------------------------------------- */

/* Room for one batch. */
typedef struct batch_room {
    psc_input *inputs;
    psc_token *tokens;
    psc_sentence *labels;
    uint32_t *starts; /* of one sequence's sentences */
    char *text;
} batch_room;

static void free_room(batch_room *room) {
    free(room->inputs);
    free(room->tokens);
    free(room->labels);
    free(room->starts);
    free(room->text);
}

/* Room for the largest of the batches that begin at multiples of n. */
static bool make_room(batch_room *room, const cli_sentences *all, int32_t n) {
    size_t most_tokens = 1, most_bytes = 1, most_labels = 1;
    for (int32_t first = 0; first < all->n; first += n) {
        size_t tokens = 0, bytes = 0, labels = 0;
        for (int32_t i = first; i < all->n && i < first + n; i++) {
            tokens += (size_t)all->sequences[i].n;
            bytes += all->sequences[i].bytes;
            labels += (size_t)all->sequences[i].n_sentences;
        }
        if (tokens > most_tokens) most_tokens = tokens;
        if (bytes > most_bytes) most_bytes = bytes;
        if (labels > most_labels) most_labels = labels;
    }
    room->inputs = calloc((size_t)n, sizeof *room->inputs);
    room->tokens = calloc(most_tokens, sizeof *room->tokens);
    room->labels = calloc(most_labels, sizeof *room->labels);
    room->starts = calloc(most_labels, sizeof *room->starts);
    room->text = calloc(most_bytes, 1);
    return room->inputs && room->tokens && room->labels && room->starts && room->text;
}

/* Lays out sequences first..first+n-1 as one run. */
static void lay_out(
    batch_room *room, const cli_sentences *all, int32_t first, int32_t n, psc_run_options *run) {
    uint32_t at = 0;
    psc_token *tokens = room->tokens;
    run->n_sentences = 0;
    for (int32_t i = 0; i < n; i++) {
        const cli_sequence *sequence = &all->sequences[first + i];
        join(room->text + at, all->sentences, sequence, room->starts);
        for (int32_t k = 0; k < sequence->n_sentences; k++) {
            psc_sentence *label = &room->labels[run->n_sentences++];
            *label = all->sentences[sequence->first + k];
            label->start = at + room->starts[k];
        }
        for (int32_t t = 0; t < sequence->n; t++) {
            tokens[t] = sequence->tokens[t];
            tokens[t].start += at;
            tokens[t].end += at;
        }
        room->inputs[i] = (psc_input){i, sequence->n, tokens};
        tokens += sequence->n;
        at += sequence->bytes;
    }
    run->text = room->text;
    run->text_bytes = at;
    run->sentences = room->labels;
}

psc_status cli_sentences_run(
    const cli_sentences *sentences, psc_session *session, int32_t batch, psc_error *error) {
    return cli_sentences_run_as(sentences, session, batch, PSC_PHASE_ONLY, 0, error);
}

psc_status cli_sentences_run_as(const cli_sentences *sentences, psc_session *session, int32_t batch,
    int32_t phase, int32_t source, psc_error *error) {
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    run.phase = phase;
    run.source = source;
    batch_room room = {0};
    psc_status status = PSC_OK;
    run.no_logits = 1;
    run.bos = 1;
    if (!make_room(&room, sentences, batch)) status = no_memory(error);
    cli_progress_start("reading");
    for (int32_t first = 0; !status && first < sentences->n; first += batch) {
        const int32_t left = sentences->n - first, n = left < batch ? left : batch;
        lay_out(&room, sentences, first, n, &run);
        for (int32_t i = 0; i < n; i++) psc_session_truncate(session, i, 0);
        status = psc_session_run(session, room.inputs, n, &run, error);
        cli_progress_update((double)(first + n) / sentences->n, "sentences", NULL);
    }
    cli_progress_stop();
    free_room(&room);
    return status;
}

psc_status cli_sentences_show_labels(
    const cli_sentences *sentences, psc_session *session, int32_t source, psc_error *error) {
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    batch_room room = {0};
    psc_status status = PSC_OK;
    run.no_logits = 1;
    run.bos = 1;
    run.phase = PSC_PHASE_SOURCE;
    run.source = source;
    if (!make_room(&room, sentences, sentences->n)) status = no_memory(error);
    if (!status) {
        lay_out(&room, sentences, 0, sentences->n, &run);
        const psc_input input = {0, 1, room.inputs[0].tokens};
        psc_session_truncate(session, 0, 0);
        status = psc_session_run(session, &input, 1, &run, error);
    }
    free_room(&room);
    return status;
}

void cli_sentences_say_skipped(
    const cli_sentences *sentences, const char *path, int32_t window, int32_t most_rows) {
    if (sentences->n_skipped == 0) return;
    cli_say("note: %s: skipped %d of %d %s, which have more than %d rows", path,
        (int)sentences->n_skipped, (int)(sentences->n + sentences->n_skipped),
        window > 1 ? "windows" : "sentences", (int)most_rows);
}
