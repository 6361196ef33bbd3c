/* safetensors: false headers, false indexes, and good files. */
#include "loader_fixture.h"
#include "weight_files.h"

TestSuite(safetensors, .init = fixture_open, .fini = fixture_close);

#define T(name, dtype, shape, offsets)                                                             \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"

static psc_status open_one(const char *header, size_t data_size, psc_error *error) {
    psc_tensors *tensors;
    put_safetensors("x.safetensors", header, data_size);
    psc_status status = psc_tensors_open_file(&tensors, at("x.safetensors"), error);
    cr_assert_eq(!status, tensors != NULL);
    psc_tensors_close(&tensors);
    cr_assert_null(tensors);
    return status;
}

Test(safetensors, good_headers) {
    static const struct {
        const char *header;
        size_t data_size;
    } cases[] = {
        {"{}", 0},
        {"{\"__metadata__\":{\"format\":\"pt\"}}   ", 0},
        {"{" T("a", "F32", "[2,3]", "[0,24]") "," T("b", "BOOL", "[3]", "[24,27]") "}", 27},
        {"{" T("b", "I64", "[]", "[4,12]") "," T("a", "BF16", "[2,1]", "[0,4]") "}", 12},
        {"{" T("e", "F32", "[0,7]", "[4,4]") "," T("a", "F32", "[1]", "[0,4]") "}", 4},
        {"{" T("e", "F32", "[0]", "[0,0]") "}", 0},
    };
    psc_error error = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        cr_assert_eq(open_one(cases[i].header, cases[i].data_size, &error), PSC_OK, "%s: %s",
            cases[i].header, error.message);
}

Test(safetensors, tensors_are_found_with_their_bytes) {
    psc_tensors *tensors;
    psc_error error = {0};
    put_safetensors("model.safetensors",
        "{" T("b", "F16", "[3]", "[0,6]") "," T("a", "F32", "[1,2]", "[6,14]") "}", 14);
    cr_assert_eq(psc_tensors_open(&tensors, folder, &error), PSC_OK, "%s", error.message);
    const psc_tensor *a = psc_tensors_find(tensors, "a"), *b = psc_tensors_find(tensors, "b");
    cr_assert(a && b && !psc_tensors_find(tensors, "c") && tensors->count == 2);
    cr_assert(a->data == b->data + 6 && a->size == 8 && a->rank == 2 && a->shape[1] == 2);
    cr_assert_str_eq(b->dtype, "F16");
    psc_tensors_close(&tensors);
}

static const struct {
    const char *header, *words;
    size_t data_size;
} lies[] = {
    {"", "header", 0},
    {"[]", "header is not a JSON object", 0},
    {"{\"a\":1", "not valid JSON", 0},
    {"{} x", "not valid JSON", 0},
    {"{\"a\":1}", "\"a\"|object", 0},
    {"{\"__metadata__\":7}", "__metadata__", 0},
    {"{\"__metadata__\":{\"x\":1}}", "__metadata__|string", 0},
    {"{" T("a", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[4,8]") "}", "duplicate", 8},
    {"{" T("a", "F33", "[1]", "[0,4]") "}", "\"a\"|dtype|F33", 4},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", "\"a\"|no dtype", 4},
    {"{\"a\":{\"dtype\":5,\"shape\":[1],\"data_offsets\":[0,4]}}", "\"a\"|no dtype", 4},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", "\"a\"|no shape", 4},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", "\"a\"|no data_offsets", 4},
    {"{" T("a", "F32", "[-1]", "[0,4]") "}", "\"a\"|shape", 4},
    {"{" T("a", "F32", "[1.0]", "[0,4]") "}", "\"a\"|shape", 4},
    {"{" T("a", "F32", "\"1\"", "[0,4]") "}", "\"a\"|no shape", 4},
    {"{" T("a", "F32", "[1,1,1,1,1,1,1,1,1]", "[0,4]") "}", "more than 8", 4},
    {"{" T("a", "F32", "[4611686018427387905]", "[0,4]") "}", "overflows", 4},
    {"{" T("a", "F32", "[4294967296,4294967296]", "[0,0]") "}", "overflows", 0},
    {"{" T("a", "F32", "[9223372036854775808]", "[0,4]") "}", "not valid JSON", 4},
    {"{" T("a", "F32", "[2]", "[0,4]") "}", "\"a\"|4 bytes by its data_offsets|8 by", 4},
    {"{" T("a", "F16", "[2]", "[0,8]") "}", "\"a\"|8 bytes", 8},
    {"{" T("a", "F32", "[1]", "[4,0]") "}", "end before", 4},
    {"{" T("a", "F32", "[1]", "[-4,0]") "}", "data_offsets", 4},
    {"{" T("a", "F32", "[1]", "[0,4,8]") "}", "data_offsets", 4},
    {"{" T("a", "F32", "[1]", "[0,1e1]") "}", "data_offsets", 4},
    {"{" T("a", "F32", "[2]", "[0,8]") "}", "ends at byte 8|only 4|truncated", 4},
    {"{" T("a", "F32", "[1]", "[9223372036854775800,9223372036854775804]") "}", "ends at", 4},
    {"{" T("a", "F32", "[2]", "[0,8]") "," T("b", "F32", "[1]", "[4,8]") "}", "overlap", 8},
    {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[0,4]") "}", "overlap", 4},
    {"{" T("a", "F32", "[1]", "[0,4]") "," T("b", "F32", "[1]", "[8,12]") "}",
        "4 bytes before tensor \"b\"", 12},
    {"{" T("a", "F32", "[1]", "[4,8]") "}", "4 bytes before", 8},
    {"{" T("a", "F32", "[1]", "[0,4]") "}", "last 1 bytes", 5},
    {"{}", "not belong to any tensor", 3},
};

Test(safetensors, headers_that_lie) {
    psc_error error;
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        psc_status status = open_one(lies[i].header, lies[i].data_size, &error);
        expect_error(status, PSC_ERROR_INPUT, &error, lies[i].words);
        cr_assert(strstr(error.message, "x.safetensors"), "no file in: %s", error.message);
    }
}

/* A file with these eight length bytes, little-endian, and `size` bytes in total. */
static psc_status open_length(uint64_t length, size_t size, psc_error *error) {
    unsigned char bytes[64] = {0};
    psc_tensors *tensors;
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
    memcpy(bytes + 8, "{}", 2);
    put("x.safetensors", bytes, size);
    psc_status status = psc_tensors_open_file(&tensors, at("x.safetensors"), error);
    psc_tensors_close(&tensors);
    return status;
}

Test(safetensors, lengths_that_lie) {
    psc_error error;
    expect_error(open_length(2, 0, &error), PSC_ERROR_INPUT, &error, "0 bytes|truncated");
    expect_error(open_length(2, 7, &error), PSC_ERROR_INPUT, &error, "7 bytes|truncated");
    expect_error(open_length(2, 8, &error), PSC_ERROR_INPUT, &error, "claims 2 bytes|only 0");
    expect_error(open_length(3, 10, &error), PSC_ERROR_INPUT, &error, "claims 3 bytes|only 2");
    expect_error(open_length(1ull << 30, 10, &error), PSC_ERROR_INPUT, &error, "1073741824 bytes");
    expect_error(open_length(UINT64_MAX, 10, &error), PSC_ERROR_INPUT, &error, "more than");
    expect_error(open_length(UINT64_MAX - 7, 10, &error), PSC_ERROR_INPUT, &error, "more than");
    expect_error(open_length(0, 10, &error), PSC_ERROR_INPUT, &error, "header");
    cr_assert_eq(open_length(2, 10, &error), PSC_OK); /* the control */
}

Test(safetensors, deep_nesting_is_refused) {
    size_t n = 1 << 20;
    char *header = malloc(n + 1);
    psc_error error;
    memset(header, '[', n);
    memcpy(header, "{\"a\":", 5);
    header[n] = 0;
    expect_error(open_one(header, 0, &error), PSC_ERROR_INPUT, &error, "not valid JSON|depth");
    free(header);
}

/* --- sharded sets --------------------------------------------------------------------------- */

static psc_status open_set(const char *index, psc_error *error) {
    psc_tensors *tensors;
    put_safetensors("s1", "{" T("a", "F32", "[1]", "[0,4]") "}", 4);
    put_safetensors(
        "s2", "{" T("b", "F32", "[1]", "[0,4]") "," T("c", "F32", "[1]", "[4,8]") "}", 8);
    put_safetensors("dup", "{" T("a", "F32", "[1]", "[0,4]") "}", 4);
    put_text("model.safetensors.index.json", index);
    psc_status status = psc_tensors_open(&tensors, folder, error);
    if (!status) cr_assert_eq(tensors->count, 3);
    psc_tensors_close(&tensors);
    return status;
}

Test(safetensors, indexes) {
    static const struct {
        const char *index, *words;
        psc_status status;
    } cases[] = {
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\",\"c\":\"s2\"}}", NULL, PSC_OK},
        {"", "index.json|JSON", PSC_ERROR_INPUT},
        {"[]", "weight_map", PSC_ERROR_INPUT},
        {"{}", "no weight_map", PSC_ERROR_INPUT},
        {"{\"weight_map\":{}}", "no weight_map", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":1}}", "not name a file for tensor \"a\"", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"s1\",\"a\":\"s2\"}}", "duplicate", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"../s1\"}}", "../s1|plain file name", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"/etc/passwd\"}}", "plain file name", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"..\"}}", "plain file name", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"\"}}", "plain file name", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"gone\"}}", "index.json lists gone|not in its folder",
            PSC_ERROR_IO},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\",\"c\":\"s1\"}}", "\"c\" in s1|it is in s2",
            PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\",\"c\":\"s2\",\"d\":\"s2\"}}",
            "\"d\" in s2|does not contain", PSC_ERROR_INPUT},
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\"}}", NULL, PSC_OK}, /* c is unlisted */
        {"{\"weight_map\":{\"a\":\"s1\",\"b\":\"s2\",\"c\":\"dup\"}}",
            "\"c\" in dup, but it is in s2", PSC_ERROR_INPUT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        psc_error error = {0};
        psc_status status = open_set(cases[i].index, &error);
        if (cases[i].status)
            expect_error(status, cases[i].status, &error, cases[i].words);
        else
            cr_assert_eq(status, PSC_OK, "%s", error.message);
    }
}

Test(safetensors, folders_without_weights) {
    psc_tensors *tensors;
    psc_error error;
    expect_error(psc_tensors_open(&tensors, folder, &error), PSC_ERROR_IO, &error,
        "neither model.safetensors nor pytorch_model.bin");
    cr_assert_null(tensors);
}

/* Old buffers that the index omits: one per shard, and one of the same name in two shards. */
Test(safetensors, unlisted_tensors_stay) {
    psc_tensors *tensors;
    psc_error error = {0};
    put_safetensors(
        "s1", "{" T("a", "F32", "[1]", "[0,4]") "," T("old", "U8", "[4]", "[4,8]") "}", 8);
    put_safetensors("s2",
        "{" T("b", "F32", "[1]", "[0,4]") "," T("old", "U8", "[4]", "[4,8]") "," T(
            "a", "F32", "[1]", "[8,12]") "," T("bias", "BOOL", "[1]", "[12,13]") "}",
        13);
    put_text("model.safetensors.index.json",
        "{\"weight_map\":{\"a\":\"s2\",\"b\":\"s2\",\"c\":\"s1\"}}");
    expect_error(psc_tensors_open(&tensors, folder, &error), PSC_ERROR_INPUT, &error,
        "\"c\" in s1, which does not contain it");
    put_text("model.safetensors.index.json",
        "{\"weight_map\":{\"a\":\"s2\",\"b\":\"s2\",\"s\":\"s1\"}}");
    put_safetensors("s1",
        "{" T("s", "F32", "[1]", "[0,4]") "," T("a", "F32", "[1]", "[4,8]") "," T(
            "old", "U8", "[4]", "[8,12]") "}",
        12);
    cr_assert_eq(psc_tensors_open(&tensors, folder, &error), PSC_OK, "%s", error.message);
    cr_assert_eq(tensors->count, 5); /* a, b, bias, old, s */
    const psc_tensor *a = psc_tensors_find(tensors, "a");
    cr_assert_str_eq(tensors->files[a->file].name, "s2"); /* where the index says */
    cr_assert_not_null(psc_tensors_find(tensors, "old")->flaw);
    cr_assert_null(psc_tensors_find(tensors, "bias")->flaw);
    psc_tensors_close(&tensors);
}
