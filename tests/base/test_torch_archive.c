/* Archives of torch.save that lie, made here: what a storage, a tensor and the state dict may
 * be, each refused with its own sentence; memory that runs out. tests/golden/torch/files has
 * those that torch made. */
#include "failing_malloc.h"
#include "loader_fixture.h"
#include "safetensors_file.h"
#include "torch_file.h"

TestSuite(torch_archive, .init = fixture_open, .fini = fixture_close);

/* --- an archive ------------------------------------------------------------------------------ */

static unsigned char archive[1 << 16], headers[1 << 12];
static size_t size, n_headers, n_entries;

static void put_number(unsigned char *to, int width, size_t value) {
    for (int i = 0; i < width; i++) to[i] = (unsigned char)(value >> 8 * i);
}

static void add(const char *name, const void *bytes, size_t n) {
    const size_t length = strlen(name);
    unsigned char *local = archive + size, *header = headers + n_headers;
    memcpy(header, "PK\1\2", 4);
    put_number(header + 20, 4, n);
    put_number(header + 24, 4, n);
    put_number(header + 28, 2, length);
    put_number(header + 42, 4, size);
    memcpy(header + 46, name, length);
    n_headers += 46 + length;
    memcpy(local, "PK\3\4", 4);
    put_number(local + 26, 2, length);
    memcpy(local + 30, name, length);
    memcpy(local + 30 + length, bytes, n);
    size += 30 + length + n;
    n_entries++;
}

static void begin(void) {
    memset(archive, 0, sizeof archive);
    memset(headers, 0, sizeof headers);
    size = n_headers = n_entries = 0;
}

static void finish(void) {
    unsigned char end[22] = "PK\5\6";
    put_number(end + 10, 2, n_entries);
    put_number(end + 12, 4, n_headers);
    put_number(end + 16, 4, size);
    memcpy(archive + size, headers, n_headers);
    memcpy(archive + size + n_headers, end, sizeof end);
    put("x.bin", archive, size + n_headers + sizeof end);
}

/* --- its pickle ------------------------------------------------------------------------------ */

static char pickle[4096];
static size_t n_pickle;

static void op(const char *bytes, size_t n) {
    cr_assert_lt(n_pickle + n, sizeof pickle);
    memcpy(pickle + n_pickle, bytes, n);
    n_pickle += n;
}
#define OP(literal) op(literal, sizeof literal - 1)

static void text(const char *value) {
    const size_t n = strlen(value);
    unsigned char head[5] = {'X'};
    put_number(head + 1, 4, n);
    op((const char *)head, 5);
    op(value, n);
}

static void storage_of(const char *type, const char *key, const char *elements) {
    OP("(");
    text("storage");
    op(type, strlen(type));
    text(key);
    text("cpu");
    op(elements, strlen(elements));
    OP("tQ");
}

#define FLOATS "ctorch\nFloatStorage\n"
#define REBUILD "ctorch._utils\n_rebuild_tensor_v2\n"
#define REFUSES_CALL "with arguments that no state dict needs; the file is not read"

/* The state dict {"t": tensor}, of storage "0", which has four floats;
 * middle: after the storage. */
static void write_tensor(const char *middle, size_t n) {
    n_pickle = 0;
    OP("}(");
    text("t");
    OP(REBUILD "(");
    storage_of(FLOATS, "0", "K\4");
    op(middle, n);
    OP("tRu.");
}
#define TENSOR(literal) write_tensor(literal, sizeof literal - 1)
/* offset 0, shape (2, 2), strides (2, 1), requires_grad, hooks */
#define GOOD "K\0K\2K\2\x86K\2K\1\x86\x89}"

static void write_archive(void) {
    static const char data[16] = {0};
    begin();
    add("x/data.pkl", pickle, n_pickle);
    add("x/data/0", data, sizeof data);
    finish();
}

static psc_tensors *set;
static psc_error error;

static psc_status open_file(const char *name) {
    error = (psc_error){PSC_OK, ""};
    set = calloc(1, sizeof *set);
    const psc_status status = psc_tensors_add_only(set, at(name), psc_torch_add_file, &error);
    if (status) psc_tensors_close(&set);
    return status;
}

static void refused_file(psc_status expected, const char *sentence) {
    char whole[2048];
    cr_assert_eq(open_file("x.bin"), expected, "not refused: %s (%s)", sentence, error.message);
    snprintf(whole, sizeof whole, "%s%s", at("x.bin"), sentence);
    cr_assert_str_eq(error.message, whole);
}

static void refused(psc_status expected, const char *sentence) {
    write_archive();
    refused_file(expected, sentence);
}

static const psc_tensor *opened(const char *name) {
    write_archive();
    cr_assert_eq(open_file("x.bin"), PSC_OK, "%s", error.message);
    const psc_tensor *tensor = psc_tensors_find(set, name);
    cr_assert(tensor);
    return tensor;
}

/* --- tensors --------------------------------------------------------------------------------- */

Test(torch_archive, tensors) {
    TENSOR(GOOD);
    const psc_tensor *t = opened("t");
    cr_assert(t->rank == 2 && t->shape[0] == 2 && t->size == 16 && !strcmp(t->dtype, "F32"));
    psc_tensors_close(&set);
    TENSOR(GOOD "N"); /* metadata that is none, and an empty dict */
    opened("t");
    psc_tensors_close(&set);
    TENSOR(GOOD "}");
    opened("t");
    psc_tensors_close(&set);
    TENSOR("K\4K\0K\2\x86K\7K\1\x86\x89}"); /* empty: its strides do not count */
    cr_assert(opened("t")->size == 0 && !psc_tensors_find(set, "t")->flaw);
    psc_tensors_close(&set);
    TENSOR("K\0K\1K\4\x86K\7K\1\x86\x89}"); /* nor does that of one row */
    cr_assert_null(opened("t")->flaw);
    psc_tensors_close(&set);
    TENSOR("K\0K\2K\2\x86K\1K\2\x86\x89}");
    cr_assert_str_eq(opened("t")->flaw,
        "is not contiguous in the file; save a copy made by Tensor.contiguous()");
    psc_tensors_close(&set);
}

Test(torch_archive, tensors_that_are_refused) {
    TENSOR("K\0K\2K\2\x86K\2K\1\x86\x89");
    refused(PSC_ERROR_INPUT, ": data.pkl rebuilds a tensor from other than 6 or 7 arguments");
    TENSOR(GOOD "NN");
    refused(PSC_ERROR_INPUT, ": data.pkl rebuilds a tensor from other than 6 or 7 arguments");
    static const char properties[] =
        ": data.pkl has a tensor with properties that no state dict needs; the file is not read";
    TENSOR(GOOD "K\1");
    refused(PSC_ERROR_INPUT, properties);
    TENSOR(GOOD "}NNs");
    refused(PSC_ERROR_INPUT, properties);
    static const char no_offset[] = ": data.pkl rebuilds a tensor without a storage and an offset";
    TENSOR("NK\2K\2\x86K\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT, no_offset);
    TENSOR("J\377\377\377\377K\2K\2\x86K\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT, no_offset);
    static const char unfit[] =
        ": data.pkl has a tensor whose shape and strides do not fit each other";
    TENSOR("K\0NK\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT, unfit);
    TENSOR("K\0K\2K\2\x86N\x89}");
    refused(PSC_ERROR_INPUT, unfit);
    TENSOR("K\0K\2K\2\x86K\1\x85\x89}");
    refused(PSC_ERROR_INPUT, unfit);
    static const char shape[] =
        ": data.pkl has a tensor whose shape is not a list of non-negative integers";
    TENSOR("K\0NK\2\x86K\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT, shape);
    TENSOR("K\0J\377\377\377\377K\2\x86K\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT, shape);
    TENSOR("K\0K\2K\2\x86NK\1\x86\x89}");
    refused(PSC_ERROR_INPUT, shape);
    TENSOR("K\0\x8a\10\377\377\377\377\377\377\377\177K\2\x86K\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT, ": data.pkl has a tensor whose shape overflows");
    TENSOR("K\1K\2K\2\x86K\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT,
        ": a tensor reads 4 elements from element 1 of x/data/0, which has only 4");
    TENSOR("K\5K\2K\2\x86K\2K\1\x86\x89}");
    refused(PSC_ERROR_INPUT,
        ": a tensor reads 4 elements from element 5 of x/data/0, which has only 4");
}

/* A tensor's first argument is another object than a storage. */
Test(torch_archive, a_tensor_of_a_tensor) {
    TENSOR(GOOD);
    n_pickle -= 2; /* "u." */
    OP("q\0u(");
    text("u");
    OP(REBUILD "(h\0" GOOD "tRu.");
    refused(PSC_ERROR_INPUT, ": data.pkl rebuilds a tensor without a storage and an offset");
    TENSOR(GOOD);
    n_pickle -= 2;
    OP("q\0u(");
    text("u");
    OP("ctorch._utils\n_rebuild_parameter\n(h\0\x89}tRu."); /* which a parameter is */
    cr_assert_eq(opened("u")->data, psc_tensors_find(set, "t")->data);
    psc_tensors_close(&set);
}

Test(torch_archive, calls_that_are_refused) {
    static const struct {
        const char *call, *name;
    } cases[] = {{"ccollections\nOrderedDict\nN\x85R.", "collections.OrderedDict"},
        {"ctorch._utils\n_rebuild_parameter\nN\x85R.", "torch._utils._rebuild_parameter"},
        {"ctorch._utils\n_rebuild_parameter\nNNN\x87R.", "torch._utils._rebuild_parameter"},
        {FLOATS ")R.", "torch.FloatStorage"}};
    char sentence[200];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        n_pickle = 0;
        op(cases[i].call, strlen(cases[i].call));
        snprintf(sentence, sizeof sentence, ": data.pkl calls %s " REFUSES_CALL, cases[i].name);
        refused(PSC_ERROR_SUPPORT, sentence);
    }
}

/* --- storages -------------------------------------------------------------------------------- */

static void only_storage(const char *type, const char *key, const char *elements) {
    n_pickle = 0;
    storage_of(type, key, elements);
    OP(".");
}

Test(torch_archive, storages_that_are_refused) {
    static const char other[] =
        ": data.pkl refers to an object that is not a storage; the file is not read";
    static const char *const ids[] = {"NQ.", "NNNN(tQ.", "(U\7storageNNNtQ.", "(NNNNNtQ.",
        "(U\7storagsNNNNtQ.", "(U\10storage.NNNNtQ."};
    for (size_t i = 0; i < sizeof ids / sizeof *ids; i++) {
        n_pickle = 0;
        op(ids[i], strlen(ids[i]));
        refused(PSC_ERROR_INPUT, other);
    }
    static const char incomplete[] = ": data.pkl has a storage without type, key and length";
    char key[128] = "";
    only_storage("N", "0", "K\4");
    refused(PSC_ERROR_INPUT, incomplete);
    only_storage(REBUILD, "0", "K\4");
    refused(PSC_ERROR_INPUT, incomplete);
    only_storage(FLOATS, "0", "N");
    refused(PSC_ERROR_INPUT, incomplete);
    memset(key, '7', 101);
    only_storage(FLOATS, key, "K\4");
    refused(PSC_ERROR_INPUT, incomplete);
    n_pickle = 0;
    OP("(U\7storage" FLOATS "NNK\4tQ.");
    refused(PSC_ERROR_INPUT, incomplete);
    only_storage(FLOATS, "1", "K\4");
    refused(PSC_ERROR_INPUT, ": data.pkl refers to data/1, which is not in the archive");
    only_storage(FLOATS, "0", "K\3");
    refused(PSC_ERROR_INPUT, ": data/0 has 16 bytes, but data.pkl gives it 3 elements of 4 bytes");
    only_storage(FLOATS, "0", "J\377\377\377\377");
    refused(PSC_ERROR_INPUT, ": data/0 has 16 bytes, but data.pkl gives it -1 elements of 4 bytes");
}

Test(torch_archive, a_storage_that_ends_within_an_element) {
    only_storage(FLOATS, "0", "K\3");
    begin();
    add("x/data.pkl", pickle, n_pickle);
    add("x/data/0", "123456789abcde", 14);
    finish();
    refused_file(
        PSC_ERROR_INPUT, ": data/0 has 14 bytes, but data.pkl gives it 3 elements of 4 bytes");
}

Test(torch_archive, a_packed_storage) {
    only_storage(FLOATS, "0", "K\4");
    begin();
    add("x/data.pkl", pickle, n_pickle);
    const size_t second = n_headers;
    add("x/data/0", "1234567890abcdef", 16);
    headers[second + 10] = 8;
    finish();
    refused_file(PSC_ERROR_SUPPORT,
        ": data/0 is compressed or encrypted, which torch.save never does; the file is not read");
}

/* --- the state dict -------------------------------------------------------------------------- */

#define NO_NAME ": data.pkl has a tensor whose name is not a text of at most 1,024 bytes"
#define ALONE "; save the state dict alone: torch.save(model.state_dict(), FILE)"

Test(torch_archive, state_dicts_that_are_refused) {
    char name[1100];
    memset(name, 'n', sizeof name);
    n_pickle = 0;
    OP("]. ");
    refused(PSC_ERROR_INPUT,
        ": data.pkl is not a dict; save the model's state dict: torch.save(model.state_dict(), FILE)");
    static const char *const keys[] = {"}NNs.", "}U\2\377\376Ns."};
    for (int i = 0; i < 2; i++) {
        n_pickle = 0;
        op(keys[i], strlen(keys[i]));
        refused(PSC_ERROR_INPUT, NO_NAME);
    }
    n_pickle = 0;
    OP("}U\3a\0bNs.");
    refused(PSC_ERROR_INPUT, NO_NAME);
    name[1025] = 0;
    n_pickle = 0;
    OP("}");
    text(name);
    OP("Ns.");
    refused(PSC_ERROR_INPUT, NO_NAME);
    n_pickle = 0;
    OP("}U\5epochK\3s.");
    refused(PSC_ERROR_INPUT, ": the entry \"epoch\" is not a tensor" ALONE);
    char shown[400];
    name[300] = 0;
    n_pickle = 0;
    OP("}");
    text(name);
    OP("K\3s.");
    snprintf(shown, sizeof shown, ": the entry \"%.200s\" is not a tensor" ALONE, name);
    refused(PSC_ERROR_INPUT, shown);
}

/* --- the archive's other entries ------------------------------------------------------------- */

static void put_beside(const char *name, const char *value) {
    begin();
    add("x/data.pkl", "}.", 2);
    add(name, value, strlen(value));
    finish();
}

Test(torch_archive, what_lies_beside_the_pickle) {
    static const char order[] =
        " was saved with another byte order than little-endian; save it again on another machine";
    put_beside("x/byteorder", "little");
    cr_assert_eq(open_file("x.bin"), PSC_OK, "%s", error.message);
    psc_tensors_close(&set);
    put_beside("x/byteorder", "bigend");
    refused_file(PSC_ERROR_SUPPORT, order);
    put_beside("x/byteorder", "big");
    refused_file(PSC_ERROR_SUPPORT, order);
    put_beside("x/constants.pkl", "");
    refused_file(PSC_ERROR_SUPPORT,
        " is a TorchScript program; save the model's state dict: torch.save(model.state_dict(), FILE)");
    put_beside("y/constants.pkl", ""); /* of another folder */
    cr_assert_eq(open_file("x.bin"), PSC_OK, "%s", error.message);
    psc_tensors_close(&set);
}

Test(torch_archive, archives_without_a_pickle) {
    static const char *const names[] = {"data.pkl", "x/y/data.pkl", "/data.pkl.", "x/data.pkl2"};
    for (int i = 0; i < 4; i++) {
        begin();
        add(names[i], "}.", 2);
        finish();
        refused_file(
            PSC_ERROR_INPUT, " is a zip archive without data.pkl, not a file of torch.save");
    }
}

Test(torch_archive, a_packed_byte_order_and_a_pickle_that_is_too_large) {
    begin();
    add("x/data.pkl", "}.", 2);
    const size_t second = n_headers;
    add("x/byteorder", "little", 6);
    headers[second + 8] = 1; /* encrypted */
    finish();
    refused_file(PSC_ERROR_SUPPORT,
        " was saved with another byte order than little-endian; save it again on another machine");
    const size_t large = PSC_TORCH_PICKLE_CAP + 1, tail = 56 + 22;
    unsigned char *bytes = calloc(1, 40 + large + tail);
    begin();
    add("x/data.pkl", "", 0);
    put_number(headers + 20, 4, large);
    put_number(headers + 24, 4, large);
    unsigned char end[22] = "PK\5\6";
    put_number(end + 10, 2, 1);
    put_number(end + 12, 4, n_headers);
    put_number(end + 16, 4, size + large);
    memcpy(bytes, archive, size);
    memcpy(bytes + size + large, headers, n_headers);
    memcpy(bytes + size + large + n_headers, end, sizeof end);
    put("x.bin", bytes, size + large + n_headers + sizeof end);
    free(bytes);
    refused_file(PSC_ERROR_INPUT, ": data.pkl has 16777217 bytes; the limit is 16777216");
}

Test(torch_archive, a_file_that_is_not_there) {
    cr_assert_eq(open_file("none.bin"), PSC_ERROR_IO);
    expect_error(PSC_ERROR_IO, PSC_ERROR_IO, &error, "none.bin|No such file");
}

Test(torch_archive, memory_that_runs_out) {
    TENSOR(GOOD);
    write_archive();
    memory_fail_at(0, false);
    cr_assert_eq(open_file("x.bin"), PSC_OK, "%s", error.message);
    const long n = memory_back();
    psc_tensors_close(&set);
    cr_assert(!MEMORY_FAILS || n > 10, "%ld requests", n);
    for (long i = 2; i <= n; i++) { /* the first is the test's own */
        memory_fail_at(i, false);
        const psc_status status = open_file("x.bin");
        memory_back();
        cr_assert_eq(status, PSC_ERROR_MEMORY, "request %ld of %ld: %s", i, n, error.message);
    }
}
