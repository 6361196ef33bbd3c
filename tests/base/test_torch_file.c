/* Files of torch.save: tests/golden/torch/files, good ones and those that lie, and the
 * pickle machine at its caps. */
#include "loader_fixture.h"
#include "pickle.h"
#include "torch_file.h"
#include "safetensors_file.h"

#include <sys/resource.h>

#define GOLDEN PSC_SOURCE_DIR "/tests/golden/torch/"

TestSuite(torch_file, .init = fixture_open, .fini = fixture_close);

/* Opens a set of one file. */
static psc_status open_file(psc_tensors **out, const char *path, psc_error *error) {
    psc_tensors *set = calloc(1, sizeof *set);
    psc_status status = psc_tensors_add_only(set, path, psc_torch_add_file, error);
    *out = set;
    if (status) psc_tensors_close(out);
    return status;
}

static void expect_tensor(const psc_tensor *t, json_t *facts, const char *file, const char *name) {
    cr_assert(t, "%s: no tensor %s", file, name);
    cr_assert_eq(t->flaw != NULL, json_is_null(facts), "%s: %s", file, name);
    cr_assert_eq(t->data == NULL, json_is_null(facts));
    if (json_is_null(facts)) return;
    json_t *shape = json_array_get(facts, 1);
    cr_assert_str_eq(t->dtype, json_string_value(json_array_get(facts, 0)));
    cr_assert_eq(t->rank, json_array_size(shape), "%s: %s", file, name);
    for (size_t i = 0; i < t->rank; i++)
        cr_assert_eq((json_int_t)t->shape[i], json_integer_value(json_array_get(shape, i)));
}

static void expect_file(const char *file, json_t *expected) {
    char path[1024];
    psc_tensors *set;
    psc_error error = {0};
    const char *name, *words = json_string_value(json_object_get(expected, "words"));
    json_t *tensors = json_object_get(expected, "tensors"), *facts;
    snprintf(path, sizeof path, GOLDEN "files/%s.bin", file);
    const psc_status status = open_file(&set, path, &error);
    if (words) {
        cr_assert(status == PSC_ERROR_INPUT || status == PSC_ERROR_SUPPORT, "%s opens", file);
        expect_error(status, status, &error, words);
        cr_assert(strstr(error.message, file), "no file in: %s", error.message);
        return;
    }
    cr_assert_eq(status, PSC_OK, "%s", error.message);
    cr_assert_eq(set->count, json_object_size(tensors), "%s", file);
    json_object_foreach(tensors, name, facts)
        expect_tensor(psc_tensors_find(set, name), facts, file, name);
    psc_tensors_close(&set);
}

Test(torch_file, each_file_gives_its_tensors_or_its_sentence) {
    json_t *all = json_load_file(GOLDEN "expected.json", 0, NULL), *expected;
    const char *file;
    cr_assert(json_object_size(all) > 70);
    json_object_foreach(all, file, expected) expect_file(file, expected);
    json_decref(all);
}

Test(torch_file, tensors_share_a_storage) {
    psc_tensors *set;
    cr_assert_eq(open_file(&set, GOLDEN "files/shared.bin", NULL), PSC_OK);
    const psc_tensor *a = psc_tensors_find(set, "a"), *b = psc_tensors_find(set, "b");
    const psc_tensor *c = psc_tensors_find(set, "c");
    cr_assert(a->data == c->data && b->data == c->data + 8 && c->size == 16);
    cr_assert_eq((uintptr_t)a->data % 64, 0); /* torch.save aligns storages */
    cr_assert(memcmp(b->data, "\x00\x44\x00\x45\x00\x46\x00\x47", 8) == 0); /* 4, 5, 6, 7 in f16 */
    psc_tensors_close(&set);
}

/* --- the machine ----------------------------------------------------------------------------- */

static int find_nothing(const char *module, size_t m, const char *name, size_t n) {
    (void)module, (void)m, (void)name, (void)n;
    return -1;
}

static psc_status run(const void *data, size_t size, psc_error *error) {
    const psc_pickle_calls calls = {.find = find_nothing, .source = "data.pkl"};
    psc_pickle *machine;
    psc_status status = psc_pickle_run(&machine, data, size, &calls, error);
    cr_assert_eq(!status, machine != NULL);
    psc_pickle_close(&machine);
    return status;
}

/* 16 MiB of one instruction: an error, quickly, in little memory. */
Test(pickle, floods_stop_at_the_caps) {
    static const char *const floods[] = {"(", "N", "}", ")", "\x94", "](", "}(", "N\x85", "Nq\1"};
    const size_t size = (size_t)16 << 20;
    char *data = malloc(size);
    for (size_t f = 0; f < sizeof floods / sizeof floods[0]; f++) {
        psc_error error = {0};
        const size_t n = strlen(floods[f]);
        data[0] = 'N';
        for (size_t i = 1; i < size; i++) data[i] = floods[f][i % n];
        expect_error(run(data, size, &error), PSC_ERROR_INPUT, &error, "more than 1048576 values");
    }
    free(data);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
#if !defined(__SANITIZE_ADDRESS__)
    cr_assert_lt(used.ru_maxrss, 160 << 10); /* KiB */
#endif
}

/* A million tuples, each in the one before: nothing in the machine is recursive. */
Test(pickle, deep_nesting_is_no_depth) {
    const size_t n = 1000000;
    char *data = malloc(n + 2);
    psc_error error = {0};
    memset(data, 0x85, n + 2);
    data[0] = ')';
    data[n + 1] = '.';
    cr_assert_eq(run(data, n + 2, &error), PSC_OK, "%s", error.message);
    free(data);
}

/* A dict that contains itself, and one key that is recalled many times. */
Test(pickle, shared_values_are_not_copied) {
    static const char cycle[] = "}q\0X\1\0\0\0ah\0s.";
    cr_assert_eq(run(cycle, sizeof cycle - 1, NULL), PSC_OK);
}

Test(pickle, integers) {
    static const struct {
        const char *data;
        size_t size;
        int64_t value;
    } cases[] = {{"K\xff.", 3, 255}, {"M\xff\xff.", 4, 65535}, {"J\xff\xff\xff\xff.", 6, -1},
        {"\x8a\1\x80.", 4, -128}, {"\x8a\2\x80\0.", 5, 128}, {"\x8a\0.", 3, 0},
        {"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", 11, INT64_MAX}, {"I01\n.", 5, 1}};
    const psc_pickle_calls calls = {.find = find_nothing, .source = "data.pkl"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        psc_pickle *machine;
        cr_assert_eq(psc_pickle_run(&machine, (const unsigned char *)cases[i].data, cases[i].size,
                         &calls, NULL),
            PSC_OK);
        cr_assert_eq(psc_pickle_result(machine)->number, cases[i].value, "case %zu", i);
        psc_pickle_close(&machine);
    }
}
