/* The plugin sae over documents: contexts against a search for the best rows; bits over batches,
 * threads and chunks; states that are read and merged. */
#include "sae_fixture.h"
#include "psc_corpus.h"

#include <limits.h>
#include <unistd.h>

enum { DOCUMENTS = 5 };

static const char *const totals[] = {"sae.fires", "sae.context_value", "sae.context_document",
    "sae.context_position", "sae.context_tokens", NULL};

static psc_session *open_corpus(
    psc_model *model, const char *options, int32_t threads, int32_t chunk) {
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    how.threads = threads;
    how.chunk = chunk;
    how.n_sequences = DOCUMENTS;
    how.accumulate = 1;
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK, "%s", error.message);
    load(session, options);
    return session;
}

static int32_t length_of(int document) {
    return 12 + 3 * document;
}

static int32_t token_of(int document, int i) {
    return (i * i + 7 * document * i + 3 * (document % 4)) % 80; /* documents 0 and 4 begin alike */
}

/* Documents begin..end-1, `batch` per run, the last of a run first in it. */
static void feed(psc_session *session, int begin, int end, int batch) {
    static psc_token tokens[DOCUMENTS][32];
    psc_input inputs[DOCUMENTS];
    psc_document documents[DOCUMENTS];
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    psc_error error = {0};
    options.documents = documents;
    options.no_logits = 1;
    for (int d = 0; d < DOCUMENTS; d++)
        for (int i = 0; i < length_of(d); i++) tokens[d][i] = (psc_token){.id = token_of(d, i)};
    for (int first = begin; first < end; first += batch) {
        const int n = end - first < batch ? end - first : batch;
        for (int i = 0; i < n; i++) {
            const int d = first + n - 1 - i;
            psc_session_truncate(session, i, 0);
            inputs[i] = (psc_input){i, length_of(d), tokens[d]};
            documents[i] = (psc_document){d, 0};
        }
        cr_assert_eq(
            psc_session_run(session, inputs, n, &options, &error), PSC_OK, "%s", error.message);
    }
}

static void report(psc_session *session) {
    psc_error error = {0};
    cr_assert_eq(psc_session_report(session, NULL, &error), PSC_OK, "%s", error.message);
}

/* The latents of a document, as a text has them: [rows, 53]. */
static void dense_of(psc_model *model, const char *folder, int d, double out[32][53]) {
    char options[700];
    psc_token tokens[32] = {{0}};
    psc_session *session = must_session(model, NULL, 1, 0);
    snprintf(options, sizeof options, "path=" SAE "%s,top=53,loss=no", folder);
    load(session, options);
    for (int i = 0; i < length_of(d); i++) tokens[i].id = token_of(d, i);
    must_run_one(session, tokens, length_of(d));
    const psc_array ids = must_array(session, "sae.latent_ids");
    const psc_array values = must_array(session, "sae.latent_values");
    memset(out, 0, sizeof(double[32][53]));
    for (int r = 0; r < length_of(d); r++)
        for (int k = 0; k < 53 && array_at(&ids, r * 53 + k) >= 0; k++)
            out[r][(int)array_at(&ids, r * 53 + k)] = array_at(&values, r * 53 + k);
    psc_session_close(&session);
}

/* Every kept context by a search for the next best row; ties by document, then position. */
static void check_contexts(psc_model *model, const psc_session *session, const char *folder) {
    static double acts[DOCUMENTS][32][53];
    const psc_array fires = must_array(session, "sae.fires");
    const psc_array value = must_array(session, "sae.context_value");
    const psc_array document = must_array(session, "sae.context_document");
    const psc_array position = must_array(session, "sae.context_position");
    const int64_t contexts = value.shape[1];
    for (int d = 0; d < DOCUMENTS; d++) dense_of(model, folder, d, acts[d]);
    for (int id = 0; id < 53; id++) {
        double count = 0, last = INFINITY;
        int last_place = -1;
        for (int d = 0; d < DOCUMENTS; d++)
            for (int r = 0; r < length_of(d); r++) count += acts[d][r][id] != 0;
        cr_assert_eq(array_at(&fires, id), count, "latent %d", id);
        for (int64_t k = 0; k < contexts; k++) {
            double best = 0;
            int place = -1;
            for (int d = 0; d < DOCUMENTS; d++)
                for (int r = 0; r < length_of(d); r++) {
                    const double a = acts[d][r][id];
                    const int at = 32 * d + r;
                    const bool after = a < last || (a == last && at > last_place);
                    if (a != 0 && after && (place < 0 || a > best)) best = a, place = at;
                }
            const double got = array_at(&value, id * contexts + k);
            cr_assert_eq(isnan(got), place < 0);
            if (place < 0) continue;
            cr_assert(got == best && array_at(&document, id * contexts + k) == place / 32 &&
                          array_at(&position, id * contexts + k) == place % 32,
                "latent %d, context %d", id, (int)k);
            last = best;
            last_place = place;
        }
    }
}

Test(sae_corpus, documents) {
    static const int ways[][3] = {{1, 0, 5}, {2, 3, 2}, {3, 1, 1}, {2, 7, 3}};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *first = NULL;
    for (int i = 0; i < 4; i++) {
        psc_session *session =
            open_corpus(model, "path=" SAE "standard,contexts=3,loss=yes", ways[i][0], ways[i][1]);
        feed(session, 0, DOCUMENTS, ways[i][2]);
        report(session);
        if (first) {
            assert_same_arrays(first, session, totals, "batches, threads or chunks");
            cr_assert_eq(value_of(first, "loss_recovered"), value_of(session, "loss_recovered"));
            cr_assert_eq(
                value_of(first, "explained_variance"), value_of(session, "explained_variance"));
            psc_session_close(&session);
        } else {
            first = session;
        }
    }
    check_contexts(model, first, "standard");
    psc_session_close(&first);
    psc_model_close(&model);
}

/* Latents of the tokens from..from+n-1 of document 4 as a text, and how often each is active from row
 * `begin` on. */
static void count_fires(psc_model *model, int from, int n, int begin, double fires[53]) {
    psc_token tokens[32] = {{0}};
    psc_session *session = must_session(model, NULL, 1, 0);
    load(session, "path=" SAE "standard,top=53,loss=no");
    for (int i = 0; i < n; i++) tokens[i].id = token_of(4, from + i);
    must_run_one(session, tokens, n);
    const psc_array ids = must_array(session, "sae.latent_ids");
    for (int r = begin; r < n; r++)
        for (int k = 0; k < 53 && array_at(&ids, r * 53 + k) >= 0; k++)
            fires[(int)array_at(&ids, r * 53 + k)]++;
    psc_session_close(&session);
}

/* Two windows of 16 tokens of one document, 8 of them in both: each token counts once, with the context
 * of its first window. */
Test(sae_corpus, windows_that_overlap_count_each_token_once) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session_options how = PSC_SESSION_OPTIONS_INIT;
    psc_session *session = NULL;
    psc_error error = {0};
    double fires[53] = {0};
    how.threads = 2;
    how.accumulate = how.overlap = 1;
    cr_assert_eq(psc_session_open(&session, model, &how, &error), PSC_OK, "%s", error.message);
    load(session, "path=" SAE "standard,loss=yes");
    for (int32_t first = 0; first <= 8; first += 8) {
        psc_token tokens[16] = {{0}};
        psc_run_options run = PSC_RUN_OPTIONS_INIT;
        const psc_document document = {4, first};
        const psc_input input = {0, 16, tokens};
        for (int i = 0; i < 16; i++) tokens[i].id = token_of(4, first + i);
        run.documents = &document;
        run.repeated = &first;
        psc_session_truncate(session, 0, 0);
        cr_assert_eq(
            psc_session_run(session, &input, 1, &run, &error), PSC_OK, "%s", error.message);
        count_fires(model, first, 16, first, fires);
    }
    report(session);
    const psc_array got = must_array(session, "sae.fires");
    for (int i = 0; i < 53; i++) cr_assert_eq(array_at(&got, i), fires[i], "latent %d", i);
    cr_assert_eq(value_of(session, "tokens"), 24);
    cr_assert_eq(value_of(session, "tokens_scored"), 15 + 7); /* rows with a next token */
    psc_session_close(&session);
    psc_model_close(&model);
}

/* A state is read on, and another is merged: every total has the same bits. */
Test(sae_corpus, states) {
    char path[] = "/tmp/psc-sae-XXXXXX";
    static const char options[] = "path=" SAE "sparsify_skip/layers.1.mlp,contexts=2";
    psc_error error = {0};
    const int file = mkstemp(path);
    cr_assert(file >= 0);
    close(file);
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *whole = open_corpus(model, options, 1, 0), *a = open_corpus(model, options, 2, 3);
    psc_session *b = open_corpus(model, options, 1, 5);
    feed(whole, 0, DOCUMENTS, 5);
    feed(a, 0, 2, 1);
    cr_assert_eq(psc_session_state_save(a, path, NULL, 0, &error), PSC_OK, "%s", error.message);
    feed(b, 2, DOCUMENTS, 3);
    cr_assert_eq(psc_session_state_merge(b, path, &error), PSC_OK, "%s", error.message);
    report(whole);
    report(b);
    assert_same_arrays(whole, b, totals, "merged");
    cr_assert_eq(value_of(whole, "explained_variance"), value_of(b, "explained_variance"));
    cr_assert_eq(value_of(whole, "dead"), value_of(b, "dead"));
    unlink(path);
    psc_session_close(&b);
    psc_session_close(&a);
    psc_session_close(&whole);
    psc_model_close(&model);
}

/* A dictionary that changed behind its path does not mix with its former totals. */
Test(sae_corpus, a_state_knows_the_contents_of_its_dictionary) {
    char folder[] = "/tmp/psc-sae-XXXXXX", name[64], weights[64], state[64], options[128];
    char target[PATH_MAX];
    psc_error error = {0};
    cr_assert(mkdtemp(folder));
    snprintf(name, sizeof name, "%s/cfg.json", folder);
    snprintf(weights, sizeof weights, "%s/sae_weights.safetensors", folder);
    snprintf(state, sizeof state, "%s/state", folder);
    snprintf(options, sizeof options, "path=%s,loss=no", folder);
    cr_assert(realpath(SAE "topk/sae_weights.safetensors", target));
    cr_assert_eq(symlink(target, weights), 0);
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    for (int k = 5; k >= 4; k--) {
        FILE *file = fopen(name, "w");
        cr_assert(file);
        fprintf(file,
            "{\"d_in\": 32, \"d_sae\": 53, \"architecture\": \"topk\", \"k\": %d,"
            " \"metadata\": {\"hook_name\": \"blocks.1.hook_resid_post\"}}",
            k);
        fclose(file);
        psc_session *session = open_corpus(model, options, 1, 0);
        if (k == 5) {
            feed(session, 0, 2, 1);
            cr_assert_eq(psc_session_state_save(session, state, NULL, 0, &error), PSC_OK, "%s",
                error.message);
            psc_session_close(&session);
            session = open_corpus(model, options, 1, 0);
            cr_assert_eq(
                psc_session_state_merge(session, state, &error), PSC_OK, "%s", error.message);
        } else {
            cr_assert_eq(psc_session_state_merge(session, state, &error), PSC_ERROR_INPUT);
            cr_assert(strstr(error.message, "had other contents"), "%s", error.message);
        }
        psc_session_close(&session);
    }
    unlink(name);
    unlink(weights);
    unlink(state);
    rmdir(folder);
    psc_model_close(&model);
}
