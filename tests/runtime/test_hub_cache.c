/* The Hugging Face cache on disk at its edges: long and deep names, many refs,
 * snapshots by a part of their commit, shards, tokenizers; and the finding of a model
 * while calls of the system fail. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "failing_calls.h"

#include "hub_cache.h"
#include "loader_fixture.h"
#include "psc.h"

#define TEN "0123456789"
#define ROOT "hub/models--a--b"
#define ONE "aaaaaa0123456789"
#define TWO "aaaaaabbbb"

static psc_error error;
static psc_model_place place;

static void make_folders(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s/", at(name));
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
}

static void put_file(const char *where, const char *name, const char *text) {
    char path[400];
    make_folders(where);
    snprintf(path, sizeof path, "%s/%s", where, name);
    put_text(path, text);
}

static void make_snapshot(const char *commit) {
    char path[300];
    snprintf(path, sizeof path, ROOT "/snapshots/%s", commit);
    put_file(path, "config.json", "{}");
    put_file(path, "model.safetensors", "");
}

/* main is ONE, step2 is TWO. */
static void make_cache(void) {
    fixture_open();
    make_snapshot(ONE);
    make_snapshot(TWO);
    put_file(ROOT "/refs", "main", ONE "\n");
    put_file(ROOT "/refs", "step2", TWO);
    setenv("HF_HUB_CACHE", at("hub"), 1);
    setenv("HOME", folder, 1);
}

/* Deeper folders than the fixture removes. */
static void close_cache(void) {
    cr_assert_eq(psc_folder_remove(at("hub")), 0);
    psc_folder_remove(at("pythia"));
    fixture_close();
}

TestSuite(hub_cache, .init = make_cache, .fini = close_cache);

static psc_status find(const char *model) {
    place = (psc_model_place)PSC_MODEL_PLACE_INIT;
    error = (psc_error){PSC_OK, ""};
    return psc_model_find(&place, model, &error);
}

static void found(const char *model, const char *name, const char *commit) {
    cr_assert_eq(find(model), PSC_OK, "%s: %s", model, error.message);
    cr_assert_str_eq(place.name, name);
    cr_assert_str_eq(place.commit, commit);
}

static void refused(const char *model, psc_status status, const char *words) {
    expect_error(find(model), status, &error, words);
}

/* --- commits --------------------------------------------------------------------------------- */

Test(hub_cache, a_commit_by_its_first_letters) {
    found("a/b@aaaaaa0", "a/b", ONE); /* which main names */
    found("a/b@aaaaaab", "a/b@step2", TWO);
    refused("a/b@aaaaaa", PSC_ERROR_IO, "a/b@aaaaaa is not on this machine"); /* of both */
    refused("a/b@aaaaa", PSC_ERROR_IO, "a/b@aaaaa is not on this machine");   /* too short */
    refused("a/b@aaaaaa+", PSC_ERROR_IO, "a/b@aaaaaa+ is not on this machine");
    refused("a/b@cccccc", PSC_ERROR_IO, "which has @step2, @main of it");
    make_snapshot(TEN TEN TEN TEN TEN TEN TEN TEN); /* a name too long for a commit is none */
    refused("a/b@0123456789", PSC_ERROR_IO, "a/b@0123456789 is not on this machine");
    put_file(ROOT "/snapshots", "dddddd1", "a file, not a folder");
    refused("a/b@dddddd1", PSC_ERROR_IO, "a/b@dddddd1 is not on this machine");
}

Test(hub_cache, several_names_of_a_commit) {
    put_file(ROOT "/refs", "aa", ONE);
    put_file(ROOT "/refs", "zz", ONE);
    found("a/b@aaaaaa0", "a/b", ONE); /* main wins over names before and after it */
    unlink(at(ROOT "/refs/main"));
    found("a/b@aaaaaa0", "a/b@aa", ONE);
    found("a/b@zz", "a/b@zz", ONE);
}

/* --- refs ------------------------------------------------------------------------------------ */

Test(hub_cache, refs_that_are_none_are_passed_over) {
    char **revisions;
    int32_t n;
    put_file(ROOT "/refs", "-x", ONE);
    put_file(ROOT "/refs", "long" TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN, ONE);
    put_file(ROOT "/refs/a/b/c/d/e/f/g", "seven", ONE);
    put_file(ROOT "/refs/a/b/c/d/e/f/g/h", "eight", ONE);
    put_file(ROOT "/refs", "large",
        TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
            TEN TEN TEN);
    cr_assert_eq(symlink("nothing", at(ROOT "/refs/dangling")), 0);
    cr_assert_eq(psc_model_revisions(&revisions, &n, "a/b", &error), PSC_OK, "%s", error.message);
    cr_assert_eq(n, 3);
    cr_assert_str_eq(revisions[0], "step2");
    cr_assert_str_eq(revisions[1], "a/b/c/d/e/f/g/seven");
    cr_assert_str_eq(revisions[2], "main");
    psc_model_revisions_free(revisions, n);
}

Test(hub_cache, more_refs_than_are_read) {
    char name[32];
    for (int i = 0; i < 4100; i++) {
        snprintf(name, sizeof name, ROOT "/refs/r%d", i);
        put_text(name, ONE);
    }
    refused("a/b", PSC_ERROR_INPUT, "/refs has more than 4096 files");
}

Test(hub_cache, many_refs_are_shown_in_part) {
    char name[64];
    for (int i = 3; i < 12; i++) {
        snprintf(name, sizeof name, ROOT "/refs/step%d", i);
        put_text(name, TWO);
    }
    refused(
        "a/b@x", PSC_ERROR_IO, "which has @step2, @step3, @step4, @step5, @step6 and 6 more of it");
}

Test(hub_cache, a_folder_in_place_of_a_ref) {
    unlink(at(ROOT "/refs/main"));
    make_folders(ROOT "/refs/main");
    refused("a/b", PSC_ERROR_IO, "a/b without a revision is not on this machine, which has @step2");
    cr_assert_null(strstr(error.message, "damaged"));
}

/* A commit of letters that no commit has may be one, but its snapshot is not there. */
Test(hub_cache, a_ref_to_no_snapshot) {
    put_file(ROOT "/refs", "main", "xyz");
    refused("a/b", PSC_ERROR_IO, "refs/main is damaged: it has no commit");
    put_file(ROOT "/refs", "main", "abc");
    refused("a/b", PSC_ERROR_IO, "a/b without a revision is not on this machine");
    cr_assert_null(strstr(error.message, "damaged"));
}

/* --- roots, snapshots ------------------------------------------------------------------------ */

static void is_no_snapshot(const char *name) {
    make_folders(name);
    cr_assert_eq(find(at(name)), PSC_OK, "%s", error.message);
    cr_assert_str_eq(place.repository, "", "%s", name);
    cr_assert_str_eq(place.commit, "", "%s", name);
}

Test(hub_cache, folders_that_are_nearly_snapshots) {
    is_no_snapshot("hub/models--a--b/snapshot/" ONE);
    is_no_snapshot("hub/models--a/snapshots/" ONE);
    is_no_snapshot("hub/datasets--a--b/snapshots/" ONE);
    is_no_snapshot("hub/models--a--b/snapshots/with.dot");
    is_no_snapshot("hub/models--a--c"); /* a root without snapshots */
    cr_assert_eq(find("/"), PSC_OK, "%s", error.message);
    cr_assert_str_eq(place.name, "/");
}

Test(hub_cache, a_root_and_its_revisions) {
    char model[700];
    found(at(ROOT), "a/b", ONE);
    snprintf(model, sizeof model, "%s//@step2", at(ROOT));
    found(model, "a/b@step2", TWO);
    snprintf(model, sizeof model, "%s@step3", at(ROOT));
    refused(model, PSC_ERROR_IO, "a/b@step3 is not on this machine");
    cr_assert_eq(chdir(at("hub")), 0);
    setenv("HF_HUB_CACHE", "/elsewhere", 1);
    refused("models--a--b@step3", PSC_ERROR_IO, "HF_HUB_CACHE=. pythiascope pull a/b@step3");
}

Test(hub_cache, folders_of_steps) {
    char model[700];
    make_folders("pythia/step10");
    make_folders("pythia/step10x");
    make_folders("pythia/step");
    found(at("pythia/step10"), "pythia@step10", "");
    found(at("pythia/step10x"), "step10x", "");
    found(at("pythia/step"), "step", "");
    cr_assert_eq(chdir(at("pythia/step10")), 0);
    found(".", "pythia@step10", "");
    found("..", "pythia", "");
    cr_assert_eq(symlink("step10", at("pythia/step11")), 0);
    found(at("pythia/step11"), "step11", ""); /* a link keeps its own name */
    snprintf(model, sizeof model, "%s//@step10", at("pythia"));
    found(model, "pythia@step10", "");
    make_folders(TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "x/step1");
    found(at(TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "x/step1"), "step1", "");
}

Test(hub_cache, folders_that_do_not_exist) {
    char model[400], sentence[900];
    refused("./pythia-1@main", PSC_ERROR_IO, "model folder ./pythia-1@main does not exist");
    snprintf(model, sizeof model, "./pythia-%0100d", 7);
    snprintf(sentence, sizeof sentence, "model folder %s does not exist", model);
    cr_assert_eq(find(model), PSC_ERROR_IO);
    cr_assert_str_eq(error.message, sentence, "too long to be the hub's");
    refused("pythia-@x/y", PSC_ERROR_IO, "model folder pythia-@x/y does not exist");
}

/* --- whole snapshots ------------------------------------------------------------------------- */

#define SNAPSHOT ROOT "/snapshots/" ONE

Test(hub_cache, files_that_are_missing) {
    cr_assert_eq(symlink("nothing", at(SNAPSHOT "/tokenizer.json")), 0);
    refused("a/b", PSC_ERROR_IO, "a/b is only partly on this machine: tokenizer.json is missing");
    unlink(at(SNAPSHOT "/tokenizer.json"));
    put_text(SNAPSHOT "/tokenizer.json", "{}");
    found("a/b", "a/b", ONE);
    unlink(at(SNAPSHOT "/model.safetensors"));
    put_text(SNAPSHOT "/pytorch_model.bin", "");
    found("a/b", "a/b", ONE);
    unlink(at(SNAPSHOT "/pytorch_model.bin"));
    static const char *const indexes[] = {"", "{\"weight_map\": {}}",
        "{\"weight_map\": {\"a\": 1}}",
        "{\"weight_map\": {\"a\": \"../x\", \"b\": \"config.json\"}}"};
    for (int i = 0; i < 4; i++) { /* what is wrong with an index, the loader says */
        put_text(SNAPSHOT "/pytorch_model.bin.index.json", indexes[i]);
        found("a/b", "a/b", ONE);
    }
    put_text(SNAPSHOT "/pytorch_model.bin.index.json", "{\"weight_map\": {\"a\": \"one.bin\"}}");
    refused("a/b", PSC_ERROR_IO, "one.bin is missing in ");
}

/* --- failures -------------------------------------------------------------------------------- */

static void fail_each(const char *model, int reason) {
    char **revisions;
    int32_t n_revisions;
    calls_fail_at(0, 0, false);
    cr_assert_eq(find(model), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_model_revisions(&revisions, &n_revisions, "a/b", &error), PSC_OK);
    const long n = calls_back();
    psc_model_revisions_free(revisions, n_revisions);
    cr_assert(!CALLS_FAIL || n > 8, "%ld calls", n);
    for (long i = 1; i <= n; i++) {
        calls_fail_at(i, reason, false);
        const psc_status status = find(model);
        const psc_status listed = psc_model_revisions(&revisions, &n_revisions, "a/b", NULL);
        calls_back();
        cr_assert(status == PSC_OK || *error.message, "call %ld, %s", i, calls_failed);
        cr_assert_eq(listed == PSC_OK, revisions != NULL);
        psc_model_revisions_free(revisions, n_revisions);
    }
}

Test(hub_cache, calls_that_fail) {
    static const int reasons[] = {EIO, EACCES, ENOENT, ENOMEM, ENOTDIR};
    for (int r = 0; r < 5; r++) {
        fail_each("a/b", reasons[r]);
        fail_each("a/b@aaaaaab", reasons[r]);
        fail_each(at(ROOT "@step2"), reasons[r]);
        fail_each(at(SNAPSHOT), reasons[r]);
    }
}
