/* Numbers in results.json: arrays of up to 64 elements whole, the largest entries of others
 * for each target and row. */
#include "folder_fixture.h"

static psc_results *made;

static void open_results(void) {
    cr_assert_eq(psc_results_open(&made, &error), PSC_OK);
    made->version = "1";
    made->has_head = true;
    made->model =
        (psc_result_model){.name = "", .path = "", .hash = "", .activation = "", .dtype = ""};
    made->run = (psc_result_run){.isa = "", .sleef = ""};
    cr_assert(psc_results_add_section(made, "p", "1"));
}

static void close_results(void) {
    psc_results_close(&made);
}

TestSuite(json_numbers, .init = open_results, .fini = close_results);

static void labels(const char *name, int64_t n, const char *const *texts) {
    cr_assert_eq(psc_section_add_labels(made, &made->sections[0], name, n, texts), PSC_OK);
}

/* An axis of the numbers from `first` on. */
static void numbers(const char *name, int32_t n, int32_t first) {
    int32_t list[512] = {0};
    for (int32_t i = 0; i < n; i++) list[i] = first + i;
    cr_assert_eq(psc_section_add_numbers(&made->sections[0], name, n, list), PSC_OK);
}

/* A new array over axes of the section, of "no value". */
static void *array(const char *key, psc_element element, int n_axes, const char *const *axes) {
    int64_t shape[PSC_MOST_AXES];
    for (int i = 0; i < n_axes; i++)
        shape[i] = psc_section_axis_named(&made->sections[0], axes[i])->n;
    psc_stored_array *a =
        psc_results_add_array(made, 0, key, element, n_axes, axes, shape, true, &error);
    cr_assert(a, "%s", error.message);
    return (void *)a->view.data;
}

static json_t *written(void) {
    char *text;
    cr_assert_eq(psc_results_write_memory(&text, NULL, made, PSC_FORMAT_JSON, NULL, &error), PSC_OK,
        "%s", error.message);
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    cr_assert(root);
    psc_free(text);
    return root;
}

/* The member of plugins.p.arrays at the path is this JSON text. */
static void has(json_t *root, const char *path, const char *expected) {
    char whole[200];
    snprintf(whole, sizeof whole, "plugins/p/arrays/%s", path);
    const json_t *value = at(root, whole);
    cr_assert(value, "no %s", path);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    cr_assert_str_eq(text, expected, "%s: %s", path, text);
    free(text);
}

static void lacks(json_t *root, const char *path) {
    char whole[200];
    snprintf(whole, sizeof whole, "plugins/p/arrays/%s", path);
    cr_assert_null(at(root, whole), "%s", path);
}

Test(json_numbers, small_arrays_are_whole) {
    static const char *const both[] = {"a", "b"}, *const one[] = {"a"}, *const wide[] = {"a", "c"};
    static const char *const none[] = {"none"}, *const long_one[] = {"long"};
    numbers("a", 2, 0);
    numbers("b", 3, 0);
    numbers("c", 32, 0);
    numbers("none", 0, 0);
    numbers("long", 65, 0);
    float *f = array("floats", PSC_F32, 2, both);
    int32_t *whole = array("whole", PSC_I32, 1, one);
    double *scalar = array("scalar", PSC_F64, 0, NULL);
    for (int i = 0; i < 6; i++) f[i] = (float)i + 0.5F;
    f[1] = NAN;
    f[2] = INFINITY;
    whole[0] = INT32_MIN;
    whole[1] = 7;
    *scalar = -0.25;
    array("nothing", PSC_F32, 1, none);
    array("sixty_four", PSC_I32, 2, wide);
    array("sixty_five", PSC_I32, 1, long_one);
    json_t *root = written();
    has(root, "floats/values", "[[0.5,null,null],[3.5,4.5,5.5]]");
    has(root, "whole/values", "[-2147483648,7]");
    has(root, "scalar/values", "-0.25");
    has(root, "nothing/values", "[]");
    cr_assert(at(root, "plugins/p/arrays/sixty_four/values"));
    lacks(root, "sixty_five/values");
    lacks(root, "floats/largest");
    json_decref(root);
}

Test(json_numbers, the_largest_of_each_target_and_row) {
    static const char *const targets[] = {"top:1", "' a'"};
    static const char *const components[] = {"embed", "L0H0", "L0H10", "0_mlp_out", "L0N3", "LH1"};
    static const char *const axes[] = {"targets", "rows", "components"};
    labels("targets", 2, targets);
    numbers("rows", 2, 7);
    labels("components", 6, components);
    float *shares = array("shares", PSC_F32, 3, axes);
    for (int i = 0; i < 24; i++) shares[i] = (float)i;
    static const float first[] = {1, -5, NAN, 4, 4, -1};
    memcpy(shares, first, sizeof first);
    json_t *root = written();
    has(root, "shares/largest/0",
        "{\"target\":\"top:1\",\"row\":7,\"all\":["
        "{\"label\":\"L0H0\",\"value\":-5.0},{\"label\":\"0_mlp_out\",\"value\":4.0},"
        "{\"label\":\"L0N3\",\"value\":4.0},{\"label\":\"embed\",\"value\":1.0},"
        "{\"label\":\"LH1\",\"value\":-1.0}],"
        "\"heads\":[{\"label\":\"L0H0\",\"value\":-5.0}],"
        "\"neurons\":[{\"label\":\"L0N3\",\"value\":4.0}]}");
    cr_assert_eq(json_array_size(at(root, "plugins/p/arrays/shares/largest")), 4);
    has(root, "shares/largest/3/target", "\"' a'\"");
    has(root, "shares/largest/3/row", "8");
    has(root, "shares/largest/3/heads",
        "[{\"label\":\"L0H10\",\"value\":20.0},{\"label\":\"L0H0\",\"value\":19.0}]");
    json_decref(root);
}

Test(json_numbers, entries_of_several_axes) {
    static const char *const targets[] = {"top:1"}, *const sides[] = {"in", "out"};
    static const char *const heads[] = {"layers", "targets", "heads"};
    static const char *const odd[] = {"sides", "targets", "layers"};
    static const char *const twice[] = {"targets", "layers", "neurons", "sides"};
    labels("targets", 1, targets);
    labels("sides", 2, sides);
    numbers("layers", 2, 4);
    numbers("heads", 6, 0);
    numbers("neurons", 3, 7);
    double *effect = array("effect", PSC_F64, 3, heads), *other = array("odd", PSC_F64, 3, odd);
    double *most = array("twice", PSC_F64, 4, twice);
    for (int i = 0; i < 12; i++) effect[i] = most[i] = i;
    for (int i = 0; i < 4; i++) other[i] = 3 - i;
    json_t *root = written();
    has(root, "effect/largest/0/heads/0", "{\"label\":\"L5H5\",\"value\":11.0}");
    has(root, "effect/largest/0/heads/9", "{\"label\":\"L4H2\",\"value\":2.0}");
    cr_assert_eq(json_array_size(at(root, "plugins/p/arrays/effect/largest/0/all")), 10);
    lacks(root, "effect/largest/0/row");
    lacks(root, "effect/largest/0/neurons");
    has(root, "odd/largest/0/all/0", "{\"label\":\"in layers=4\",\"value\":3.0}");
    has(root, "odd/largest/0/all/3", "{\"label\":\"out layers=5\",\"value\":0.0}");
    has(root, "twice/largest/0/all/0", "{\"label\":\"L5N9 out\",\"value\":11.0}");
    json_decref(root);
}

/* Labels that are nearly those of a head or of a neuron. */
Test(json_numbers, labels_like_heads) {
    static const char *const targets[] = {"t"};
    static const char *const components[] = {"L1X2", "L1H", "L1H2x", "LxH1", "L3H4", "L1N", "L7N8"};
    static const char *const axes[] = {"targets", "components"};
    labels("targets", 1, targets);
    labels("components", 7, components);
    float *shares = array("shares", PSC_F32, 2, axes);
    for (int i = 0; i < 7; i++) shares[i] = (float)i;
    json_t *root = written();
    has(root, "shares/largest/0/heads", "[{\"label\":\"L3H4\",\"value\":4.0}]");
    has(root, "shares/largest/0/neurons", "[{\"label\":\"L7N8\",\"value\":6.0}]");
    cr_assert_eq(json_array_size(at(root, "plugins/p/arrays/shares/largest/0/all")), 7);
    json_decref(root);
}

/* Beyond 256 lists only the last row has some; beyond 256 targets only the first do. */
Test(json_numbers, the_number_of_lists_is_bounded) {
    static const char *const components[] = {"a", "b"};
    static const char *const axes[] = {"targets", "rows", "components"};
    static char names[300][8];
    const char *targets[300];
    for (int i = 0; i < 300; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        targets[i] = names[i];
    }
    labels("targets", 300, targets);
    numbers("rows", 2, 3);
    labels("components", 2, components);
    float *shares = array("shares", PSC_F32, 3, axes);
    for (int i = 0; i < 1200; i++) shares[i] = (float)i;
    json_t *root = written();
    cr_assert_eq(json_array_size(at(root, "plugins/p/arrays/shares/largest")), 256);
    has(root, "shares/largest/255",
        "{\"target\":\"t255\",\"row\":4,\"all\":[{\"label\":\"b\",\"value\":1023.0},"
        "{\"label\":\"a\",\"value\":1022.0}]}");
    json_decref(root);
}
