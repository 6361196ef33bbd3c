/* A model that is opened, and revisions that are listed, while memory runs out: each request fails
 * in turn, once and for good. The call gives all of it or PSC_ERROR_MEMORY: no model without a part
 * of its config or its tokenizer, no list without a step. */
#define _GNU_SOURCE /* register_printf_specifier */
#include "failing_malloc.h"
#include "golden.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef __GLIBC__
#include <printf.h>
#endif

#define TOKENIZER PSC_SOURCE_DIR "/tests/golden/tokenizer/small.tokenizer.json"

static char folder[] = "/tmp/psc-memory-XXXXXX";
static psc_error error;

static void link_file(const char *from, const char *name) {
    char to[200];
    snprintf(to, sizeof to, "%s/%s", folder, name);
    cr_assert_eq(symlink(from, to), 0);
}

static void make_folder(void) {
    cr_assert(mkdtemp(folder));
    link_file(golden_path("parallel_f32", "config.json"), "config.json");
    link_file(golden_path("parallel_f32", "model.safetensors"), "model.safetensors");
    link_file(TOKENIZER, "tokenizer.json");
}

static void remove_folder(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    cr_assert_eq(system(command), 0);
}

/* --- models ---------------------------------------------------------------------------------- */

#ifdef __GLIBC__
static int print_nothing(FILE *out, const struct printf_info *info, const void *const *arguments) {
    (void)out, (void)info, (void)arguments;
    return 0;
}

static int no_arguments(const struct printf_info *info, size_t n, int *types, int *sizes) {
    (void)info, (void)n, (void)types, (void)sizes;
    return 0;
}
#endif

/* As libquadmath does: from here on printf asks for memory for long formats. */
static void add_conversion(void) {
#ifdef __GLIBC__
    cr_assert_eq(register_printf_specifier('Y', print_nothing, no_arguments), 0);
#endif
}

typedef psc_status (*open_fn)(psc_model **, const char *, const psc_model_options *, psc_error *);

static void fail_open(open_fn open, bool on, long step) {
    psc_model *whole, *model;
    memory_fail_at(0, false);
    cr_assert_eq(open(&whole, folder, NULL, &error), PSC_OK, "%s", error.message);
    const long n = memory_back();
    for (long i = 1; i <= n; i += step) {
        memory_fail_at(i, on);
        const psc_status status = open(&model, folder, NULL, &error);
        memory_back();
        cr_assert_eq(status, model ? PSC_OK : PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n,
            error.message);
        if (!model) continue;
        cr_assert_str_eq(psc_model_config_text(model), psc_model_config_text(whole));
        cr_assert(psc_model_has_tokenizer(model), "request %ld of %ld", i, n);
        psc_model_close(&model);
    }
    cr_assert(!MEMORY_FAILS || n > 1000, "%ld requests", n);
    psc_model_close(&whole);
}

Test(model_memory, a_model) {
    make_folder();
    add_conversion();
    for (int on = 0; on < 2; on++) {
        fail_open(psc_model_open_header, on, 1);
        fail_open(psc_model_open_with, on, 3);
    }
    remove_folder();
}

/* --- revisions ------------------------------------------------------------------------------- */

enum { STEPS = 70 };

static void make_file(const char *path, const char *text) {
    FILE *file = fopen(path, "w");
    cr_assert(file && fputs(text, file) >= 0 && fclose(file) == 0);
}

static void fail_list(const char *model, bool on) {
    char **names;
    int32_t n_names;
    memory_fail_at(0, false);
    cr_assert_eq(psc_model_revisions(&names, &n_names, model, &error), PSC_OK, "%s", error.message);
    const long n = memory_back();
    cr_assert_eq(n_names, STEPS);
    psc_model_revisions_free(names, n_names);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, on);
        const psc_status status = psc_model_revisions(&names, &n_names, model, &error);
        memory_back();
        cr_assert_eq(status, names ? PSC_OK : PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n,
            error.message);
        if (names) cr_assert_eq(n_names, STEPS, "request %ld of %ld: %d steps", i, n, (int)n_names);
        psc_model_revisions_free(names, n_names);
    }
}

Test(model_memory, steps_in_a_folder) {
    char path[300];
    cr_assert(mkdtemp(folder));
    for (int i = 0; i < STEPS; i++) {
        snprintf(path, sizeof path, "%s/step%d", folder, i);
        cr_assert_eq(mkdir(path, 0777), 0);
        snprintf(path, sizeof path, "%s/step%d/config.json", folder, i);
        make_file(path, "{}");
    }
    fail_list(folder, false);
    fail_list(folder, true);
    remove_folder();
}

Test(model_memory, steps_of_a_cached_model) {
    char root[200], path[300];
    cr_assert(mkdtemp(folder));
    snprintf(root, sizeof root, "%s/models--a--b", folder);
    cr_assert_eq(mkdir(root, 0777), 0);
    static const char *const inner[] = {"refs", "snapshots", "snapshots/0123456789abcdef"};
    for (int i = 0; i < 3; i++) {
        snprintf(path, sizeof path, "%s/%s", root, inner[i]);
        cr_assert_eq(mkdir(path, 0777), 0);
    }
    for (int i = 0; i < STEPS; i++) {
        snprintf(path, sizeof path, "%s/refs/step%d", root, i);
        make_file(path, "0123456789abcdef\n");
    }
    fail_list(root, false);
    fail_list(root, true);
    remove_folder();
}
