/* Random circuits beside the chosen ones: each is a shuffle's first edges, tested as a file. */
#include "circuit_fixture.h"
#include "cuts.h"

#define PATH "test_circuit_random.json"

static const fixture_run how = {.threads = 2};

/* Names as the plugin has them. */
static void name_edge(char *out, size_t size, const psc_edge_shape *shape, int64_t edge) {
    int32_t r = 0;
    const int32_t each = 3 * shape->n_heads + 1, a_layer = shape->n_heads + 1;
    while (psc_edge_first(shape, r + 1) <= edge) r++;
    const int32_t u = (int32_t)(edge - psc_edge_first(shape, r)) - 1, at = r % each;
    char sender[32] = "embed", receiver[32] = "logits";
    if (u >= 0 && u % a_layer == shape->n_heads)
        snprintf(sender, sizeof sender, "%d_mlp_out", u / a_layer);
    else if (u >= 0)
        snprintf(sender, sizeof sender, "L%dH%d", u / a_layer, u % a_layer);
    if (r < psc_edge_receivers(shape, shape->n_layers) && at == 3 * shape->n_heads)
        snprintf(receiver, sizeof receiver, "%d_mlp_out", r / each);
    else if (r < psc_edge_receivers(shape, shape->n_layers))
        snprintf(receiver, sizeof receiver, "L%dH%d.%c", r / each, at % shape->n_heads,
            "qkv"[at / shape->n_heads]);
    snprintf(out, size, "%s<-%s", receiver, sender);
}

/* The first n edges of the shuffle that begins at the seed, as a file. */
static void write_random(const psc_edge_shape *shape, uint64_t seed, int n) {
    const int32_t all = (int32_t)psc_edge_count(shape);
    int32_t edges[2000];
    cr_assert_lt(all, 2000);
    for (int32_t i = 0; i < all; i++) edges[i] = i;
    for (int32_t i = all - 1; i > 0; i--) {
        const int32_t j = psc_tree_random_below(&seed, i + 1), kept = edges[i];
        edges[i] = edges[j];
        edges[j] = kept;
    }
    FILE *f = fopen(PATH, "w");
    cr_assert(f);
    for (int i = 0; i < n; i++) {
        char name[80];
        name_edge(name, sizeof name, shape, edges[i]);
        fprintf(f, "%s\"%s\"", i ? ", " : "{\"edges\": [", name);
    }
    fputs("]}\n", f);
    cr_assert_eq(fclose(f), 0);
}

static double random_at(psc_model *model, const char *options, int size) {
    psc_session *session = tested(model, options, &how);
    const psc_array curve = must_array(session, "circuit.curve_random");
    const double value = array_at(&curve, size);
    psc_session_close(&session);
    return value;
}

/* Size number 6 has 100 edges. */
Test(circuit_random, equals_the_circuit_of_a_file) {
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    const psc_model_info *info = psc_model_get_info(model);
    const psc_edge_shape shape = {info->n_layers, info->n_heads, info->parallel_residual};
    double of[2];
    for (int seed = 7; seed <= 8; seed++) {
        char options[80];
        write_random(&shape, (uint64_t)seed, 100);
        psc_session *session = tested(model, "minimal=0,random=0,file=" PATH, &how);
        of[seed - 7] = number(session, "faithfulness");
        cr_assert_eq(number(session, "circuit_edges"), 100);
        cr_assert_float_neq(of[seed - 7], 1.0, 1e-3);
        psc_session_close(&session);
        snprintf(options, sizeof options, "minimal=0,seed=%d", seed);
        cr_assert_eq(random_at(model, options, 6), of[seed - 7]);
    }
    cr_assert_neq(of[0], of[1]);
    cr_assert_float_eq(
        random_at(model, "minimal=0,seed=7,random=2", 6), (of[0] + of[1]) / 2, 1e-12);
    remove(PATH);
    psc_model_close(&model);
}

Test(circuit_random, all_edges_are_the_run) {
    psc_model *model = must_model(golden_path("sequential_f32", NULL));
    psc_session *session = tested(model, "minimal=0,random=3", &how);
    const psc_array curve = must_array(session, "circuit.curve_random");
    cr_assert_float_eq(array_at(&curve, array_count(&curve) - 1), 1.0, 1e-12);
    psc_session_close(&session);
    session = tested(model, "minimal=0,random=0", &how);
    psc_array none;
    cr_assert_neq(
        psc_results_find_array(&none, psc_session_results(session), "circuit.curve_random", &error),
        PSC_OK);
    psc_session_close(&session);
    psc_model_close(&model);
}

Test(circuit_random, same_bits) {
    const fixture_run other = {.isa = "reference", .threads = 3, .chunk = 3};
    psc_model *model = must_model(golden_path("old_f16", NULL));
    psc_session *a = tested(model, "minimal=0,random=2", &how);
    psc_session *b = tested(model, "minimal=0,random=2", &other);
    const psc_array x = must_array(a, "circuit.curve_random");
    const psc_array y = must_array(b, "circuit.curve_random");
    cr_assert_arr_eq(x.data, y.data, (size_t)array_count(&x) * sizeof(double));
    psc_session_close(&a);
    psc_session_close(&b);
    psc_model_close(&model);
}

Test(circuit_random, refusals) {
    static const char *const options[] = {"edges=0,random=2", "random=0,seed=3", "edges=0,seed=3",
        "random=-1", "random=1001", "scores=none,path=L0H1->logits,random=2"};
    psc_model *model = must_model(golden_path("parallel_f32", NULL));
    psc_session *session = must_session(model, NULL, 1, 0);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        cr_assert_neq(
            psc_session_plugin(session, "circuit", options[i], &error), PSC_OK, "%s", options[i]);
    psc_session_close(&session);
    psc_model_close(&model);
}
