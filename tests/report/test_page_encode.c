/* The encodings of a page's arrays, decoded again: exact, 16-bit floats within 2^-11, the largest
 * entries as a search over all entries finds them. */
#include "page_encode.h"

#include "page_fixture.h"
#include "results_fixture.h"

Test(page_encode, every_half_is_read_back) {
    for (uint32_t bits = 0; bits < 0x10000; bits++) {
        const double value = half_value(bits);
        if (isnan(value))
            cr_assert(isnan(half_value(psc_page_half(value))));
        else
            cr_assert_eq(psc_page_half(value), bits, "%04x", bits);
    }
}

/* Between two neighbors the nearer one wins, in the middle the even one; 65520 is the middle
 * between the largest half and the next power of 2, which is infinity. */
Test(page_encode, halves_are_the_nearest) {
    for (uint32_t bits = 0; bits < 0x7c00; bits++) {
        const double low = half_value(bits), high = bits == 0x7bff ? 65536 : half_value(bits + 1);
        const double middle = (low + high) / 2;
        cr_assert_eq(psc_page_half(middle), bits % 2 ? bits + 1 : bits, "%04x", bits);
        cr_assert_eq(psc_page_half(nextafter(middle, 0)), bits, "%04x", bits);
        cr_assert_eq(psc_page_half(-nextafter(middle, 1e9)), (bits + 1) | 0x8000, "%04x", bits);
    }
}

/* --- arrays ---------------------------------------------------------------------------------- */

typedef struct made {
    psc_page_facts facts;
    psc_page_encoding encoding;
    json_t *json;
    char *text;
} made;

typedef psc_page_encoding (*choose_fn)(
    const psc_page_facts *facts, const psc_array *array, int64_t room);

/* Encodes an array in at most `room` bytes. */
static made encode_as(const psc_array *array, choose_fn choose, int64_t room) {
    made m;
    size_t bytes;
    psc_error error = {0};
    FILE *out = open_memstream(&m.text, &bytes);
    psc_json json = {.out = out, .page = true};
    psc_page_examine(&m.facts, array);
    m.encoding = choose(&m.facts, array, room);
    cr_assert_leq(m.encoding.bytes, room);
    psc_json_object(&json, NULL);
    cr_assert_eq(psc_page_encode(&json, array, &m.facts, &m.encoding, NULL, &error), PSC_OK);
    psc_json_end(&json);
    cr_assert(psc_json_close(&json));
    fclose(out);
    cr_assert_leq((int64_t)bytes, m.encoding.bytes + 40, "the size is known in advance");
    m.json = json_loads(m.text, 0, NULL);
    cr_assert(m.json, "%s", m.text);
    return m;
}

static made encode(const psc_array *array, int64_t room) {
    return encode_as(array, psc_page_choose, room);
}

static void discard(made *m) {
    json_decref(m->json);
    free(m->text);
}

static psc_array array_of_reals(
    psc_element element, const void *data, int64_t rows, int64_t columns, const char *key) {
    return (psc_array){.name = key,
        .key = key,
        .element = element,
        .n_axes = 2,
        .shape = {rows, columns},
        .axes = {"a", "b"},
        .data = data};
}

static double random_real(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

enum { ROWS = 37, COLUMNS = 300 };

/* Magnitudes over 20 powers of 2, zeros, and one slice without a number. */
static void fill(double out[ROWS][COLUMNS]) {
    uint64_t state = 7;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++) {
            const double sign = random_real(&state) < 0.5 ? -1 : 1;
            const double power = exp2(20 * random_real(&state));
            out[r][c] = random_real(&state) < 0.2 ? 0 : sign * power * 1e-3;
            if (r == 5) out[r][c] = (double)NAN;
        }
    out[0][0] = (double)NAN;
    out[0][1] = (double)INFINITY;
}

static bool same(double a, double b) {
    return (isnan(a) && isnan(b)) || a == b;
}

Test(page_encode, floats_are_exact_or_within_their_bound) {
    static double values[ROWS][COLUMNS];
    static float floats[ROWS][COLUMNS];
    fill(values);
    for (int i = 0; i < ROWS * COLUMNS; i++) (&floats[0][0])[i] = (float)(&values[0][0])[i];
    const psc_array array = array_of_reals(PSC_F32, floats, ROWS, COLUMNS, "x");
    for (int half = 0; half <= 1; half++) {
        made m = encode(&array, half ? ROWS * COLUMNS * 4 : INT64_MAX);
        size_t n;
        const char *type = half ? "f16" : "f32";
        cr_assert_str_eq(text_in(m.json, "encoding"), type);
        double *read = numbers_of(m.json, "data", type, scale_in(m.json, "scale"), &n);
        cr_assert_eq(n, ROWS * COLUMNS);
        for (size_t i = 0; i < n; i++) {
            const double want = (double)(&floats[0][0])[i];
            if (half && isfinite(want))
                cr_assert_leq(fabs(read[i] - want), fabs(want) * 0x1p-11, "%g", want);
            else
                cr_assert(same(read[i], want), "%g %g", read[i], want);
        }
        free(read);
        discard(&m);
    }
}

/* Numbers beyond a float's range take 16 bits with a scale; tiny ones do, too. */
Test(page_encode, extreme_doubles_keep_their_scale) {
    static const double most[] = {1e308, 1e39, 65504, 1, 1e-40, 1e-300};
    for (size_t k = 0; k < sizeof most / sizeof *most; k++) {
        const double data[2][2] = {{most[k], -most[k] / 3}, {0, most[k] / 1024}};
        const psc_array array = array_of_reals(PSC_F64, data, 2, 2, "x");
        made m = encode(&array, 80);
        size_t n;
        cr_assert_str_eq(text_in(m.json, "encoding"), most[k] == 0 ? "f32" : "f16");
        double *read = numbers_of(m.json, "data", "f16", scale_in(m.json, "scale"), &n);
        for (size_t i = 0; i < n; i++) {
            const double want = (&data[0][0])[i];
            cr_assert_leq(fabs(read[i] - want), fabs(want) * 0x1p-11, "%g %g", read[i], want);
        }
        free(read);
        discard(&m);
    }
    const double large[1][1] = {{1e300}};
    const psc_array array = array_of_reals(PSC_F64, large, 1, 1, "x");
    made m = encode(&array, INT64_MAX);
    cr_expect_str_eq(text_in(m.json, "encoding"), "f16", "1e300 is no float");
    discard(&m);
}

/* How many entries of the slice rank above entry i. */
static int rank_of(const double slice[COLUMNS], int i) {
    int rank = 0;
    for (int k = 0; k < COLUMNS; k++)
        if (isfinite(slice[k]) &&
            (fabs(slice[k]) > fabs(slice[i]) || (fabs(slice[k]) == fabs(slice[i]) && k < i)))
            rank++;
    return rank;
}

static void check_top(const made *m, double values[ROWS][COLUMNS], bool is_pattern) {
    size_t n_counts, n_index, n_values, n_rests, at = 0;
    const double scale = scale_in(m->json, "scale"), rest_scale = scale_in(m->json, "rest_scale");
    const int kept = (int)json_integer_value(json_object_get(m->json, "kept"));
    double *count = numbers_of(m->json, "count", text_in(m->json, "count_type"), 1, &n_counts);
    double *index = numbers_of(m->json, "index", text_in(m->json, "index_type"), 1, &n_index);
    double *value = numbers_of(m->json, "value", text_in(m->json, "value_type"), scale, &n_values);
    double *rest = numbers_of(m->json, "rest", text_in(m->json, "rest_type"), rest_scale, &n_rests);
    const bool is_share = strcmp(text_in(m->json, "value_type"), "log8") == 0;
    const double most = json_real_value(json_object_get(m->json, "most"));
    for (size_t i = 0; is_share && i < n_values; i++)
        value[i] = 0.005 * pow(most / 0.005, value[i] / 255);
    const double bound = is_share ? 0.011 : 0x1p-11;
    cr_assert(n_counts == ROWS && n_rests == ROWS && n_index == n_values);
    for (int r = 0; r < ROWS; r++) {
        bool is_kept[COLUMNS] = {false};
        int want = 0;
        double sum = 0, magnitude = 0;
        for (int k = 0; k < (int)count[r]; k++, at++) {
            const int c = (int)index[at];
            cr_assert(c >= 0 && c < COLUMNS && (k == 0 || index[at] > index[at - 1]));
            is_kept[c] = true;
            cr_assert_leq(fabs(value[at] - values[r][c]), fabs(values[r][c]) * bound, "%g %g",
                value[at], values[r][c]);
        }
        for (int c = 0; c < COLUMNS; c++) {
            const double x = values[r][c];
            const bool may = isfinite(x) && x != 0 && (!is_pattern || fabs(x) >= 0.005);
            const bool keep = may && rank_of(values[r], c) < kept;
            cr_assert_eq(is_kept[c], keep, "slice %d, entry %d: %g", r, c, x);
            want += keep;
            if (!keep && isfinite(x)) sum += x, magnitude += fabs(x);
        }
        cr_assert_eq((int)count[r], want);
        if (r == 5)
            cr_assert(is_share ? rest[r] < 0 : isnan(rest[r]), "a slice without a number");
        else if (is_share)
            cr_assert_leq(fabs(rest[r] - sum), rest_scale * 0.51);
        else
            cr_assert_leq(fabs(rest[r] - sum),
                fabs(sum) * (is_pattern ? 0x1p-10 : 0x1p-23) + magnitude * 1e-12);
    }
    cr_assert_eq(at, n_index);
    free(count);
    free(index);
    free(value);
    free(rest);
}

Test(page_encode, the_largest_entries_are_those_of_a_search) {
    static double values[ROWS][COLUMNS];
    fill(values);
    values[1][7] = values[1][9] = -values[1][11]; /* ties */
    const psc_array array = array_of_reals(PSC_F64, values, ROWS, COLUMNS, "x");
    int64_t last = INT64_MAX;
    int sizes = 0;
    for (int64_t room = 28000; room > 1000; room -= 200) {
        made m = encode(&array, room);
        if (strcmp(text_in(m.json, "encoding"), "top") == 0 && m.encoding.kept != last) {
            check_top(&m, values, false);
            last = m.encoding.kept;
            sizes++;
        }
        discard(&m);
    }
    cr_assert_geq(sizes, 5, "from many entries to 4");
    cr_assert_eq(last, 4);
    made none = encode(&array, 500);
    cr_expect_str_eq(text_in(none.json, "encoding"), "omitted");
    discard(&none);
}

Test(page_encode, a_pattern_keeps_entries_from_its_threshold) {
    static double values[ROWS][COLUMNS];
    uint64_t state = 3;
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < COLUMNS; c++)
            values[r][c] = r == 5 ? (double)NAN : c > r ? 0 : pow(random_real(&state), 8) / (r + 1);
    psc_array array = array_of_reals(PSC_F64, values, ROWS, COLUMNS, "pattern");
    made m = encode(&array, 3000);
    cr_assert_str_eq(text_in(m.json, "encoding"), "top");
    cr_assert_leq(m.encoding.kept, 8);
    cr_expect_eq(json_real_value(json_object_get(m.json, "least")), 0.005);
    cr_expect_str_eq(text_in(m.json, "value_type"), "log8");
    check_top(&m, values, true);
    discard(&m);
    values[3][1] = -0.5; /* no share: 16 bits, with the sign */
    m = encode(&array, 3000);
    cr_expect_str_eq(text_in(m.json, "value_type"), "f16");
    check_top(&m, values, true);
    discard(&m);
    psc_page_facts facts;
    array.key = "anything";
    array.axes[0] = "rows";
    array.axes[1] = "keys";
    psc_page_examine(&facts, &array);
    cr_expect(facts.is_pattern, "rows by keys");
    array.axes[0] = array.axes[1] = NULL;
    array.key = "blocks.0.attn.hook_pattern";
    psc_page_examine(&facts, &array);
    cr_expect(facts.is_pattern, "a capture");
}

Test(page_encode, few_columns_are_rounded_by_their_ranges) {
    enum { N = 500, WIDTH = 3 };
    static float data[N][WIDTH];
    uint64_t state = 11;
    for (int i = 0; i < N; i++) {
        data[i][0] = (float)(1e6 * (random_real(&state) - 0.5));
        data[i][1] = i == 9 ? NAN : (float)(1e-6 * random_real(&state));
        data[i][2] = 4.5f;
    }
    const psc_array array = array_of_reals(PSC_F32, data, N, WIDTH, "x");
    made m = encode_as(&array, psc_page_round, 10000);
    size_t n;
    cr_assert_str_eq(text_in(m.json, "encoding"), "q8");
    double *read = numbers_of(m.json, "data", "u8", 1, &n);
    cr_assert_eq(n, N * WIDTH);
    for (size_t i = 0; i < n; i++) {
        const double low = json_real_value(json_array_get(json_object_get(m.json, "low"), i % 3));
        const double step = json_real_value(json_array_get(json_object_get(m.json, "step"), i % 3));
        const double want = (double)(&data[0][0])[i];
        if (isnan(want))
            cr_assert_lt(read[i], 0);
        else
            cr_assert_leq(fabs(low + step * read[i] - want), step * 0.501);
    }
    free(read);
    discard(&m);
    const psc_array wide = array_of_reals(PSC_F32, data, N * WIDTH / 20, 20, "x");
    psc_page_facts facts;
    psc_page_examine(&facts, &wide);
    cr_expect_eq(psc_page_round(&facts, &wide, 1 << 20).code, PSC_PAGE_OMITTED, "too many columns");
    data[0][0] = INFINITY;
    psc_page_examine(&facts, &array);
    cr_expect_eq(psc_page_round(&facts, &array, 1 << 20).code, PSC_PAGE_OMITTED, "no finite range");
}

Test(page_encode, histograms_per_neuron_are_summed) {
    enum { LAYERS = 2, NEURONS = 100, BINS = 7 };
    static double data[LAYERS][NEURONS][BINS];
    for (int i = 0; i < LAYERS * NEURONS * BINS; i++) (&data[0][0][0])[i] = i % 13;
    const psc_array array = {.name = "x",
        .key = "x",
        .element = PSC_F64,
        .n_axes = 3,
        .shape = {LAYERS, NEURONS, BINS},
        .axes = {"layers", "neurons", "pre_bins"},
        .data = data};
    made m = encode(&array, 1000);
    size_t n;
    cr_assert_str_eq(text_in(m.json, "encoding"), "sums");
    cr_expect_eq(json_integer_value(json_object_get(m.json, "over")), 1);
    double *read = numbers_of(m.json, "data", text_in(m.json, "type"), 1, &n);
    cr_assert_eq(n, LAYERS * BINS);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int bin = 0; bin < BINS; bin++) {
            double sum = 0;
            for (int k = 0; k < NEURONS; k++) sum += data[layer][k][bin];
            cr_assert_eq(read[layer * BINS + bin], sum);
        }
    free(read);
    discard(&m);
}

Test(page_encode, integers_are_exact_or_omitted) {
    static const struct {
        int32_t low, high;
        const char *type;
        int width;
    } cases[] = {{-1, 254, "u8", 1}, {-1, 255, "i16", 2}, {-2, 0, "i16", 2},
        {-32768, 32767, "i16", 2}, {-1, 32768, "u16", 2}, {-1, 65534, "u16", 2},
        {-1, 65535, "i32", 4}, {-2, 32768, "i32", 4}, {INT32_MIN, INT32_MAX, "i32", 4}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        const int32_t data[3] = {cases[k].low, cases[k].high, 0};
        const psc_array array = array_of_reals(PSC_I32, data, 1, 3, "x");
        made m = encode(&array, 200);
        size_t n;
        cr_assert_str_eq(text_in(m.json, "encoding"), cases[k].type);
        double *read = numbers_of(m.json, "data", cases[k].type, 1, &n);
        cr_assert_eq(n, 3);
        for (int i = 0; i < 3; i++) cr_assert_eq(read[i], data[i]);
        free(read);
        discard(&m);
    }
    const int32_t data[300] = {0};
    const psc_array array = array_of_reals(PSC_I32, data, 1, 300, "x");
    made m = encode(&array, 200);
    cr_expect_str_eq(text_in(m.json, "encoding"), "omitted", "a token id has no magnitude");
    discard(&m);
}

Test(page_encode, empty_arrays_and_single_numbers) {
    const double one = 2.5;
    psc_array array = {.name = "x", .key = "x", .element = PSC_F64, .data = &one};
    made m = encode(&array, INT64_MAX);
    size_t n;
    double *read = numbers_of(m.json, "data", "f32", 1, &n);
    cr_expect(n == 1 && read[0] == 2.5);
    free(read);
    discard(&m);
    array.n_axes = 2;
    array.shape[0] = 3;
    m = encode(&array, INT64_MAX);
    cr_expect_str_eq(text_in(m.json, "data"), "");
    discard(&m);
}
