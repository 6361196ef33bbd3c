/* Names of models: folders, revisions, the Hugging Face cache on disk, and what is refused. */
#include "loader_fixture.h"
#include "psc.h"

#define COMMIT "0123456789abcdef0123456789abcdef01234567"
#define OTHER "89abcdef0123456789abcdef0123456789abcdef"
#define MODEL PSC_SOURCE_DIR "/models/books-5m"

static void make_folder(const char *name) {
    char path[1024];
    snprintf(path, sizeof path, "%s", at(name));
    for (char *slash = path + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    cr_assert_eq(mkdir(path, 0777), 0, "%s", path);
}

/* root/snapshots/<commit> with links to blobs, as huggingface_hub makes them. */
static void make_snapshot(const char *root, const char *commit) {
    static const char *const files[] = {"config.json", "model.safetensors", "tokenizer.json"};
    char name[256], target[600];
    snprintf(name, sizeof name, "%s/snapshots/%s", root, commit);
    make_folder(name);
    for (int i = 0; i < 3; i++) {
        snprintf(target, sizeof target, "../../blobs/%s-%d", commit, i);
        snprintf(name, sizeof name, "%s/snapshots/%s/%s", root, commit, files[i]);
        cr_assert_eq(symlink(target, at(name)), 0);
        snprintf(target, sizeof target, "%s/%s", MODEL, files[i]);
        snprintf(name, sizeof name, "%s/blobs/%s-%d", root, commit, i);
        cr_assert_eq(symlink(target, at(name)), 0);
    }
}

static void put_ref(const char *root, const char *revision, const char *commit) {
    char name[256];
    snprintf(name, sizeof name, "%s/refs/%s", root, revision);
    put_text(name, commit);
}

#define ROOT "hub/models--EleutherAI--pythia-9m"

/* main is COMMIT, step3000 and a branch with a slash are OTHER. */
static void make_cache(void) {
    fixture_open();
    make_folder("hub");
    make_folder(ROOT);
    make_folder(ROOT "/blobs");
    make_folder(ROOT "/snapshots");
    make_folder(ROOT "/refs");
    make_folder(ROOT "/refs/refs");
    make_snapshot(ROOT, COMMIT);
    make_snapshot(ROOT, OTHER);
    put_ref(ROOT, "main", COMMIT);
    put_ref(ROOT, "step3000", OTHER);
    put_ref(ROOT, "refs/pr", OTHER "\n");
    setenv("HF_HUB_CACHE", at("hub"), 1);
}

static void expect_place(
    const char *model, const char *name, const char *revision, const char *commit) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    psc_error error = {0};
    cr_assert_eq(psc_model_find(&place, model, &error), PSC_OK, "%s: %s", model, error.message);
    cr_expect_str_eq(place.name, name, "%s: %s", model, place.name);
    cr_expect_str_eq(place.revision, revision, "%s: %s", model, place.revision);
    cr_expect_str_eq(place.commit, commit, "%s: %s", model, place.commit);
    cr_expect_str_eq(place.repository, *commit ? "EleutherAI/pythia-9m" : "");
    if (*commit) cr_expect(strstr(place.folder, commit), "%s: %s", model, place.folder);
}

static void expect_refusal(const char *model, psc_status status, const char *words) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    psc_error error = {0};
    expect_error(psc_model_find(&place, model, &error), status, &error, words);
}

TestSuite(place, .fini = fixture_close);

Test(place, names_and_revisions_of_the_cache, .init = make_cache) {
    const char *const name = "EleutherAI/pythia-9m", *const step = "EleutherAI/pythia-9m@step3000";
    expect_place(name, name, "main", COMMIT);
    expect_place("pythia-9m", name, "main", COMMIT);
    expect_place(step, step, "step3000", OTHER);
    expect_place("pythia-9m@step3000", step, "step3000", OTHER);
    expect_place("EleutherAI/pythia-9m@refs/pr", "EleutherAI/pythia-9m@refs/pr", "refs/pr", OTHER);
    expect_place("EleutherAI/pythia-9m@" OTHER, step, "step3000", OTHER);
    expect_place("EleutherAI/pythia-9m@89abcdef", step, "step3000", OTHER);
    expect_place("EleutherAI/pythia-9m@" COMMIT, name, "main", COMMIT);
}

Test(place, roots_and_snapshots_by_path, .init = make_cache) {
    const char *const name = "EleutherAI/pythia-9m", *const step = "EleutherAI/pythia-9m@step3000";
    char path[1024];
    expect_place(at(ROOT), name, "main", COMMIT);
    expect_place(at(ROOT "/"), name, "main", COMMIT);
    expect_place(at(ROOT "@step3000"), step, "step3000", OTHER);
    expect_place(at(ROOT "/snapshots/" COMMIT), name, "main", COMMIT);
    expect_place(at(ROOT "/snapshots/" OTHER "/"), step, "step3000", OTHER);
    snprintf(path, sizeof path, "%s", at(ROOT "/snapshots/" OTHER));
    cr_assert_eq(chdir(path), 0);
    expect_place("EleutherAI/pythia-9m", name, "main", COMMIT);
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    cr_assert_eq(psc_model_find(&place, ".", NULL), PSC_OK);
    cr_expect_str_eq(place.name, step);
    cr_expect_str_eq(place.folder, ".");
    cr_assert_eq(symlink(path, at("mine")), 0); /* a link keeps the name that its owner gave it */
    expect_place(at("mine"), "mine", "", "");
}

Test(place, folders, .init = fixture_open) {
    make_folder("pythia-9m");
    make_folder("pythia-9m/step10");
    put_text("pythia-9m/step10/config.json", "{}");
    expect_place(at("pythia-9m"), "pythia-9m", "", "");
    expect_place(at("pythia-9m//"), "pythia-9m", "", "");
    expect_place(at("pythia-9m@step10"), "pythia-9m@step10", "step10", "");
    expect_place(at("pythia-9m/step10"), "pythia-9m@step10", "step10", "");
    expect_refusal(
        at("pythia-9m@step11"), PSC_ERROR_IO, "pythia-9m has no checkpoint step11; pass @step10");
    make_folder("pythia-9m/step143");
    put_text("pythia-9m/step143/config.json", "{}");
    expect_refusal(at("pythia-9m@step11"), PSC_ERROR_IO,
        "pythia-9m has no checkpoint step11; pass @step10, or another up to @step143");
    make_folder("pythia-4m");
    expect_refusal(at("pythia-4m@step11"), PSC_ERROR_IO,
        "pythia-4m has no checkpoint step11, nor any other; leave out @step11");
    expect_refusal(at("pythia-8m"), PSC_ERROR_IO,
        "pythia-8m does not exist; to download it: pythiascope pull EleutherAI/pythia-8m --to |");
    expect_refusal(at("absent"), PSC_ERROR_IO, "model folder|absent does not exist");
    cr_assert_eq(symlink("nothing", at("pythia-7m")), 0);
    expect_refusal(at("pythia-7m"), PSC_ERROR_IO, "pythia-7m is a link to nothing");
}

Test(place, a_folder_wins_over_a_cached_name, .init = make_cache) {
    char path[1024];
    make_folder("EleutherAI");
    make_folder("EleutherAI/pythia-9m");
    snprintf(path, sizeof path, "%s", folder);
    cr_assert_eq(chdir(path), 0);
    expect_place("EleutherAI/pythia-9m", "pythia-9m", "", "");
    /* It has no such folder, so the name means the cache. */
    expect_place(
        "EleutherAI/pythia-9m@step3000", "EleutherAI/pythia-9m@step3000", "step3000", OTHER);
}

Test(place, variables_in_their_order, .init = make_cache) {
    char home[600];
    snprintf(home, sizeof home, "%s", folder);
    setenv("HF_HUB_CACHE", "", 1); /* empty counts as unset */
    unsetenv("HUGGINGFACE_HUB_CACHE");
    setenv("HF_HOME", home, 1);
    expect_place("pythia-9m", "EleutherAI/pythia-9m", "main", COMMIT);
    unsetenv("HF_HOME");
    make_folder("huggingface");
    cr_assert_eq(rename(at("hub"), at("huggingface/hub")), 0);
    setenv("XDG_CACHE_HOME", home, 1);
    expect_place("pythia-9m", "EleutherAI/pythia-9m", "main", COMMIT);
    unsetenv("XDG_CACHE_HOME");
    make_folder(".cache");
    cr_assert_eq(rename(at("huggingface"), at(".cache/huggingface")), 0);
    setenv("HOME", home, 1);
    expect_place("pythia-9m", "EleutherAI/pythia-9m", "main", COMMIT);
    setenv("HF_HOME", "~/.cache/huggingface", 1);
    expect_place("pythia-9m", "EleutherAI/pythia-9m", "main", COMMIT);
    unsetenv("HF_HOME");
    unsetenv("HOME");
    expect_refusal("pythia-9m", PSC_ERROR_INPUT, "set HF_HOME");
}

Test(place, what_is_not_there, .init = make_cache) {
    expect_refusal("EleutherAI/pythia-8m@step5", PSC_ERROR_IO,
        "EleutherAI/pythia-8m@step5 is not on this machine; to download it: pythiascope pull "
        "EleutherAI/pythia-8m@step5");
    expect_refusal("pythia-8m", PSC_ERROR_IO, "pythiascope pull EleutherAI/pythia-8m");
    expect_refusal("pythia-9m@step5", PSC_ERROR_IO,
        "which has @step3000, @main, @refs/pr of it|pythiascope pull EleutherAI/pythia-9m@step5");
    setenv("HF_HUB_CACHE", at("elsewhere"), 1);
    unlink(at(ROOT "/refs/main"));
    char words[200];
    snprintf(words, sizeof words, "without a revision|has @step3000, @refs/pr|HF_HUB_CACHE=%.90s ",
        at("hub"));
    expect_refusal(at(ROOT), PSC_ERROR_IO, words);
    expect_place(at(ROOT "@step3000"), "EleutherAI/pythia-9m@step3000", "step3000", OTHER);
}

Test(place, snapshots_without_refs, .init = make_cache) {
    remove_folder(at(ROOT "/refs"));
    expect_refusal("pythia-9m", PSC_ERROR_IO, "not on this machine|pull EleutherAI/pythia-9m");
    remove_folder(at(ROOT "/snapshots/" OTHER));
    expect_place("pythia-9m", "EleutherAI/pythia-9m", "", COMMIT);
    expect_place(at(ROOT "/snapshots/" COMMIT), "EleutherAI/pythia-9m", COMMIT, COMMIT);
    expect_place("pythia-9m@" COMMIT, "EleutherAI/pythia-9m", COMMIT, COMMIT);
}

/* Of the refs only those with a whole snapshot count; a ref without a commit is damaged. */
Test(place, damaged_refs, .init = make_cache) {
    static const char *const junk[] = {"", "no commit here\n", "\x01\x02"};
    for (int i = 0; i < 3; i++) {
        put_ref(ROOT, "main", junk[i]);
        expect_refusal("pythia-9m", PSC_ERROR_IO,
            "without a revision is not on this machine, which has @step3000, @refs/pr of it "
            "(|refs/main is damaged: it has no commit); to download it: pythiascope pull");
    }
    put_ref(ROOT, "step5", "fedcba"); /* its snapshot is not there */
    unlink(at(ROOT "/blobs/" OTHER "-1"));
    expect_refusal("pythia-9m", PSC_ERROR_IO,
        "EleutherAI/pythia-9m is not on this machine (|refs/main is damaged: it has no commit); to");
    put_ref(ROOT, "main", COMMIT);
    remove_folder(at(ROOT "/snapshots/" COMMIT));
    remove_folder(at(ROOT "/snapshots/" OTHER));
    expect_refusal("pythia-9m", PSC_ERROR_IO,
        "EleutherAI/pythia-9m is not on this machine; to download it: pythiascope pull");
}

Test(place, partial_snapshots, .init = make_cache) {
    unlink(at(ROOT "/blobs/" COMMIT "-1")); /* a link to nothing */
    expect_refusal("pythia-9m", PSC_ERROR_IO,
        "EleutherAI/pythia-9m is only partly on this machine: model.safetensors is missing|to "
        "complete it: pythiascope pull EleutherAI/pythia-9m");
    expect_refusal(at(ROOT "/snapshots/" COMMIT), PSC_ERROR_IO, "only partly");
    unlink(at(ROOT "/snapshots/" COMMIT "/model.safetensors"));
    expect_refusal("pythia-9m", PSC_ERROR_IO, "the file of weights is missing");
    put_text(ROOT "/snapshots/" COMMIT "/model.safetensors.index.json",
        "{\"weight_map\": {\"a\": \"config.json\", \"b\": \"model-2.safetensors\"}}");
    expect_refusal("pythia-9m", PSC_ERROR_IO, "model-2.safetensors is missing");
    put_text(ROOT "/snapshots/" COMMIT "/model-2.safetensors", "");
    expect_place("pythia-9m", "EleutherAI/pythia-9m", "main", COMMIT);
    unlink(at(ROOT "/blobs/" OTHER "-0"));
    expect_refusal("pythia-9m@step3000", PSC_ERROR_IO,
        "config.json is missing|pythiascope pull EleutherAI/pythia-9m@step3000");
}

Test(place, a_url_is_refused_with_the_name_to_pass, .init = make_cache) {
    static const char *const cases[][2] = {
        {"https://huggingface.co/EleutherAI/pythia-9m", "pass EleutherAI/pythia-9m, not a URL"},
        {"https://huggingface.co/a/b/tree/step3000", "pass a/b@step3000, not a URL"},
        {"https://huggingface.co/a/b/tree/main?x=y", "pass a/b, not a URL"},
        {"https://huggingface.co/a/b/blob/step7/config.json", "pass a/b@step7, not a URL"},
        {"https://huggingface.co/a/pythia-9m/", "pass a/pythia-9m, not a URL"},
        {"https://hf.co/a/b@step7", "pass a/b@step7, not a URL"},
        {"huggingface.co/a/b", "pass a/b, not a URL"},
        {"https://example.com/a/pythia-9m", "is a URL; pass a folder, or a name like"},
        {"https://huggingface.co/", "is a URL; pass a folder, or a name like"},
    };
    char **revisions;
    int32_t n;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_model_place place = PSC_MODEL_PLACE_INIT;
        psc_error error = {0};
        expect_refusal(cases[i][0], PSC_ERROR_INPUT, cases[i][1]);
        expect_error(
            psc_model_read_name(&place, cases[i][0], &error), PSC_ERROR_INPUT, &error, cases[i][1]);
    }
    psc_error error = {0};
    expect_error(psc_model_revisions(&revisions, &n, cases[0][0], &error), PSC_ERROR_INPUT, &error,
        cases[0][1]);
}

Test(place, hostile_names_and_refs, .init = make_cache) {
    char text[5000];
    memset(text, 'a', sizeof text);
    text[sizeof text - 1] = 0;
    expect_refusal(text, PSC_ERROR_INPUT, "is too long");
    expect_refusal("", PSC_ERROR_INPUT, "is empty");
    expect_refusal("a\nb", PSC_ERROR_INPUT, "has a control character");
    expect_refusal("\033[31m/b", PSC_ERROR_INPUT, "has a control character");
    expect_refusal("pythia-9m@", PSC_ERROR_INPUT, "no usable revision");
    expect_refusal("pythia-9m@../x", PSC_ERROR_INPUT, "no usable revision");
    expect_refusal("pythia-9m@/x", PSC_ERROR_INPUT, "no usable revision");
    expect_refusal("pythia-9m@a//b", PSC_ERROR_INPUT, "no usable revision");
    expect_refusal("pythia-9m@.x", PSC_ERROR_INPUT, "no usable revision");
    expect_refusal("../x", PSC_ERROR_IO, "does not exist");
    expect_refusal("a/../b", PSC_ERROR_IO, "does not exist");
    expect_refusal("EleutherAI/..", PSC_ERROR_IO, "does not exist");
    expect_refusal("EleutherAI/pythia--9m", PSC_ERROR_IO, "does not exist");
    expect_refusal("/EleutherAI/pythia-9m", PSC_ERROR_IO, "does not exist");
    put_ref(ROOT, "evil", "../../../..");
    expect_refusal("EleutherAI/pythia-9m@evil", PSC_ERROR_IO, "not on this machine");
    put_ref(ROOT, "long", text);
    expect_refusal("EleutherAI/pythia-9m@long", PSC_ERROR_IO, "not on this machine");
}

Test(place, names_that_are_read_only, .init = make_cache) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    psc_error error = {0};
    cr_assert_eq(psc_model_read_name(&place, "a/b@step7", &error), PSC_OK, "%s", error.message);
    cr_expect_str_eq(place.name, "a/b@step7");
    cr_expect_str_eq(place.repository, "a/b");
    cr_expect_str_eq(place.revision, "step7");
    cr_expect_str_eq(place.folder, at("hub/models--a--b"));
    cr_assert_eq(psc_model_read_name(&place, "pythia-70m", &error), PSC_OK);
    cr_expect_str_eq(place.name, "EleutherAI/pythia-70m");
    cr_expect_str_eq(place.revision, "main");
    expect_error(psc_model_read_name(&place, "gpt2", &error), PSC_ERROR_INPUT, &error,
        "'gpt2' is not a name like EleutherAI/pythia-160m");
    place.struct_size = 0;
    expect_error(
        psc_model_read_name(&place, "a/b", &error), PSC_ERROR_INPUT, &error, "struct_size");
}

/* The structure may grow: a shorter one of an older caller is filled as far as it reaches. */
Test(place, a_shorter_structure, .init = make_cache) {
    psc_model_place place = PSC_MODEL_PLACE_INIT;
    place.struct_size = (uint32_t)offsetof(psc_model_place, commit);
    memset(place.commit, 'x', 3);
    cr_assert_eq(psc_model_find(&place, "pythia-9m", NULL), PSC_OK);
    cr_expect_str_eq(place.revision, "main");
    cr_expect_str_eq(place.commit, "xxx");
}

static void expect_revisions(const char *model, const char *want) {
    psc_error error = {0};
    char **revisions, got[256] = "";
    int32_t n;
    cr_assert_eq(psc_model_revisions(&revisions, &n, model, &error), PSC_OK, "%s", error.message);
    for (int32_t i = 0; i < n; i++) {
        strncat(got, revisions[i], sizeof got - strlen(got) - 1);
        strncat(got, " ", sizeof got - strlen(got) - 1);
    }
    psc_model_revisions_free(revisions, n);
    cr_expect_str_eq(got, want, "%s: %s", model, got);
}

Test(place, revisions_in_order, .init = make_cache) {
    psc_error error = {0};
    char **revisions;
    int32_t n;
    put_ref(ROOT, "step20", COMMIT);
    put_ref(ROOT, "step0", COMMIT);
    put_ref(ROOT, "step5", "fedcba"); /* its snapshot is not there */
    expect_revisions("pythia-9m", "step0 step20 step3000 main refs/pr ");
    expect_revisions("EleutherAI/pythia-9m@all-steps", "step0 step20 step3000 main refs/pr ");
    expect_revisions(at(ROOT), "step0 step20 step3000 main refs/pr ");
    make_folder("mine");
    expect_error(psc_model_revisions(&revisions, &n, at("mine"), &error), PSC_ERROR_IO, &error,
        "mine has no folders step0");
    make_folder("mine/step100");
    make_folder("mine/step20");
    make_folder("mine/step3");
    put_text("mine/step100/config.json", "{}");
    put_text("mine/step20/config.json", "{}");
    expect_revisions(at("mine"), "step20 step100 ");
    expect_error(psc_model_revisions(&revisions, &n, "pythia-8m", &error), PSC_ERROR_IO, &error,
        "pythiascope pull EleutherAI/pythia-8m@all-steps");
    expect_error(psc_model_revisions(&revisions, &n, at("none"), &error), PSC_ERROR_IO, &error,
        "none does not exist");
    cr_expect_null(revisions);
}

/* The remembered hash and the packed weights work through the links of a snapshot: a second opening
 * maps, also by another commit with the same blobs' bytes. */
Test(place, packed_weights_of_a_cached_name, .init = make_cache) {
    static const char *const names[] = {"pythia-9m", "pythia-9m", "pythia-9m@step3000"};
    psc_error error = {0};
    char cache[700];
    snprintf(cache, sizeof cache, "%s", at("packed"));
    for (int i = 0; i < 3; i++) {
        psc_model *model;
        psc_model_options options = PSC_MODEL_OPTIONS_INIT;
        options.cache_dir = cache;
        options.cache_least = 1;
        cr_assert_eq(
            psc_model_open_with(&model, names[i], &options, &error), PSC_OK, "%s", error.message);
        cr_expect_eq(strncmp(psc_model_weights_text(model), i ? "mapped" : "packed", 6), 0,
            "%s: %s", names[i], psc_model_weights_text(model));
        psc_model_close(&model);
    }
    remove_folder(cache);
}

Test(place, a_model_opens_by_its_name, .init = make_cache) {
    psc_model *model, *direct;
    psc_error error = {0};
    cr_assert_eq(psc_model_open(&direct, MODEL, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(psc_model_open(&model, "pythia-9m@step3000", &error), PSC_OK, "%s", error.message);
    const psc_model_info *info = psc_model_get_info(model);
    cr_expect_str_eq(info->name, "EleutherAI/pythia-9m@step3000");
    cr_expect_str_eq(info->path, at(ROOT "/snapshots/" OTHER));
    cr_expect_str_eq(info->hash, psc_model_get_info(direct)->hash);
    cr_expect_str_eq(psc_model_get_info(direct)->name, "books-5m");
    psc_model_close(&model);
    psc_model_close(&direct);
    expect_error(psc_model_open(&model, "pythia-7m", &error), PSC_ERROR_IO, &error, "pull");
    cr_expect_null(model);
}
