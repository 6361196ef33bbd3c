/* The pickle machine on data that is cut short or lies: each instruction's own sentence; memory
 * that runs out. tests/base/test_torch_file.c has whole files, and the machine at its caps. */
#include "failing_malloc.h"
#include "pickle.h"

#include <criterion/criterion.h>
#include <string.h>

static psc_error error;

/* It knows one function, m.f, whose result is its first argument. */
static int find(const char *module, size_t m, const char *name, size_t n) {
    return m == 1 && *module == 'm' && n == 1 && *name == 'f' ? 0 : -1;
}

static psc_status call(psc_pickle_value *out, const psc_pickle *machine, int64_t name,
    const psc_pickle_value *arguments, void *payload) {
    (void)name, (void)payload;
    if (arguments->n == 0) return psc_fail(&error, PSC_ERROR_INPUT, "no arguments");
    *out = *psc_pickle_item(machine, arguments, 0);
    return PSC_OK;
}

static psc_status load(
    psc_pickle_value *out, const psc_pickle *machine, const psc_pickle_value *id, void *payload) {
    (void)machine, (void)payload;
    if (id->kind != PSC_PICKLE_INT) return psc_fail(&error, PSC_ERROR_INPUT, "no such object");
    *out = (psc_pickle_value){.kind = PSC_PICKLE_OBJECT, .number = id->number};
    return PSC_OK;
}

static const psc_pickle_calls calls = {find, call, load, "data.pkl", NULL};

/* Some data with its length, which may contain zeros. */
typedef struct text {
    const char *bytes;
    size_t n;
} text;
#define TEXT(literal)                                                                              \
    { literal, sizeof literal - 1 }

static psc_status run(psc_pickle **out, text data) {
    /* in memory of its own size: a read past the end is seen by a sanitizer */
    unsigned char *copy = malloc(data.n ? data.n : 1);
    memcpy(copy, data.bytes, data.n);
    error = (psc_error){PSC_OK, ""};
    psc_status status = psc_pickle_run(out, copy, data.n, &calls, &error);
    cr_assert_eq(!status, *out != NULL);
    free(copy);
    return status;
}

static void refuse(text data, psc_status expected, const char *sentence) {
    psc_pickle *machine;
    cr_assert_eq(run(&machine, data), expected, "%s: %s", data.bytes, error.message);
    cr_assert_str_eq(error.message, sentence, "%s gives: %s", data.bytes, error.message);
}

Test(pickle_machine, data_that_is_cut_short) {
    static const text cut[] = {TEXT("K"), TEXT("M\1"), TEXT("J\1\2\3"), TEXT("\x8a"),
        TEXT("\x8a\5ab"), TEXT("X\5\0\0"), TEXT("X\5\0\0\0abcd"), TEXT("U"), TEXT("U\3ab"),
        TEXT("\x8c\1"), TEXT("\x8d\1\0\0\0\0\0\0"), TEXT("\x8d\1\0\0\0\0\0\0\0"), TEXT("G1234567"),
        TEXT("I01"), TEXT("Nq"), TEXT("Nr\1\0\0"), TEXT("h"), TEXT("j\0\0\0"), TEXT("cmodule"),
        TEXT("cmodule\nname"), TEXT("\x80"), TEXT("\x95\1\0\0\0\0\0\0")};
    for (size_t i = 0; i < sizeof cut / sizeof *cut; i++)
        refuse(cut[i], PSC_ERROR_INPUT,
            "data.pkl ends in the middle of an instruction (is the file damaged?)");
    static const text endless[] = {TEXT(""), TEXT("N"), TEXT("\x80\2")};
    for (size_t i = 0; i < 3; i++)
        refuse(endless[i], PSC_ERROR_INPUT, "data.pkl has no end (is the file damaged?)");
}

Test(pickle_machine, values_that_were_not_made) {
    static const text taken[] = {TEXT("q\0"), TEXT("\x94"), TEXT("t"), TEXT("N\x86"),
        TEXT("NN(N\x86"), TEXT("NNs"), TEXT("u"), TEXT("(NNu"), TEXT("]a"), TEXT("e"), TEXT("(Ne"),
        TEXT("X\1\0\0\0m\x93"), TEXT("NR"), TEXT("Q"), TEXT("}b"), TEXT("(Q")};
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        refuse(taken[i], PSC_ERROR_INPUT,
            "data.pkl takes more values than it has made (is the file damaged?)");
    static const text unkept[] = {TEXT("h\0"), TEXT("Nq\5h\3"), TEXT("Nq\5j\6\0\0\0")};
    for (size_t i = 0; i < 3; i++)
        refuse(unkept[i], PSC_ERROR_INPUT,
            "data.pkl recalls a value that it has not kept (is the file damaged?)");
    static const text ends[] = {TEXT("."), TEXT("NN."), TEXT("N(."), TEXT("(N.")};
    for (size_t i = 0; i < 4; i++)
        refuse(ends[i], PSC_ERROR_INPUT,
            "data.pkl does not end with one value (is the file damaged?)");
}

Test(pickle_machine, values_of_another_kind) {
    static const struct {
        text data;
        const char *sentence;
    } cases[] = {{TEXT("}(Nu"),
                     "data.pkl sets entries of a value that is not a dict (is the file damaged?)"},
        {TEXT("N(NNu"),
            "data.pkl sets entries of a value that is not a dict (is the file damaged?)"},
        {TEXT("NNNs"),
            "data.pkl sets entries of a value that is not a dict (is the file damaged?)"},
        {TEXT("NNa"), "data.pkl appends to a value that is not a list (is the file damaged?)"},
        {TEXT("}(NNe"), "data.pkl appends to a value that is not a list (is the file damaged?)"},
        {TEXT("NU\1f\x93"),
            "data.pkl names something by a value that is not a text (is the file damaged?)"},
        {TEXT("U\1mN\x93"),
            "data.pkl names something by a value that is not a text (is the file damaged?)"},
        {TEXT("N)R"), "data.pkl calls a value that is not a function (is the file damaged?)"},
        {TEXT("cm\nf\nNR"), "data.pkl calls a value that is not a function (is the file damaged?)"},
        {TEXT("N}b"),
            "data.pkl sets attributes of a value that is not a dict (is the file damaged?)"},
        {TEXT("}Nb"),
            "data.pkl sets attributes of a value that is not a dict (is the file damaged?)"},
        {TEXT("cm\nf\n)R"), "no arguments"}, {TEXT("NQ"), "no such object"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].data, PSC_ERROR_INPUT, cases[i].sentence);
}

#define TEN "0123456789"

Test(pickle_machine, what_no_state_dict_needs) {
    static const struct {
        text data;
        const char *sentence;
    } cases[] = {
        {TEXT("I7\n."),
            "data.pkl has an integer as text, which no state dict needs; the file is not read"},
        {TEXT("I17\n."),
            "data.pkl has an integer as text, which no state dict needs; the file is not read"},
        {TEXT("I02\n."),
            "data.pkl has an integer as text, which no state dict needs; the file is not read"},
        {TEXT("\x80\6N."), "data.pkl has pickle protocol 6; only 1 to 5 are read"},
        {TEXT("N2."),
            "data.pkl has the pickle instruction 0x32, which no state dict needs; the file is not read"},
        {TEXT("cos\nsystem\n"),
            "data.pkl calls os.system, which no state dict needs; the file is not read"},
        {TEXT("U\1mU\1g\x93"),
            "data.pkl calls m.g, which no state dict needs; the file is not read"},
        {TEXT("c" TEN TEN TEN TEN TEN TEN "cut\n" TEN TEN TEN TEN TEN TEN "cut\n"),
            "data.pkl calls " TEN TEN TEN TEN TEN TEN "." TEN TEN TEN TEN TEN TEN
            ", which no state dict needs; the file is not read"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        refuse(cases[i].data, PSC_ERROR_SUPPORT, cases[i].sentence);
    refuse((text)TEXT("Nr\377\377\377\377"), PSC_ERROR_INPUT,
        "data.pkl has more than 1048576 values, which no state dict needs; the file is not read");
}

Test(pickle_machine, values) {
    static const struct {
        text data;
        psc_pickle_kind kind;
        uint32_t n;
    } cases[] = {{TEXT("\x8a\11"
                       "123456789."),
                     PSC_PICKLE_OPAQUE, 0},
        {TEXT("\x8d\2\0\0\0\0\0\0\0ab."), PSC_PICKLE_TEXT, 2},
        {TEXT("G12345678."), PSC_PICKLE_OPAQUE, 0},
        {TEXT("\x80\5\x95"
              "12345678N."),
            PSC_PICKLE_NONE, 0},
        {TEXT("}}b."), PSC_PICKLE_DICT, 0}, {TEXT("(NNNt."), PSC_PICKLE_TUPLE, 3},
        {TEXT("]NaNa."), PSC_PICKLE_OPAQUE, 0}, {TEXT("](NNe."), PSC_PICKLE_OPAQUE, 0},
        {TEXT("}(NNNNu."), PSC_PICKLE_DICT, 2}, {TEXT("cm\nf\nU\3abc\x85R."), PSC_PICKLE_TEXT, 3},
        {TEXT("K\7Q."), PSC_PICKLE_OBJECT, 0}, {TEXT("U\1mU\1f\x93."), PSC_PICKLE_NAME, 0},
        {TEXT("\x88."), PSC_PICKLE_BOOL, 0}, {TEXT("I00\n."), PSC_PICKLE_BOOL, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        psc_pickle *machine;
        cr_assert_eq(psc_pickle_run(&machine, (const unsigned char *)cases[i].data.bytes,
                         cases[i].data.n, &calls, &error),
            PSC_OK, "%zu: %s", i, error.message);
        const psc_pickle_value *value = psc_pickle_result(machine);
        cr_assert_eq((psc_pickle_kind)value->kind, cases[i].kind, "case %zu", i);
        cr_assert_eq(value->n, cases[i].n, "case %zu", i);
        psc_pickle_close(&machine);
    }
    psc_pickle *none = NULL;
    psc_pickle_close(&none);
}

/* Every kind of list of the machine grows. */
Test(pickle_machine, memory_that_runs_out) {
    static const text data = TEXT("}q\0(U\1aK\1K\2\x86q\1U\1bh\1u.");
    psc_pickle *machine;
    memory_fail_at(0, false);
    cr_assert_eq(
        psc_pickle_run(&machine, (const unsigned char *)data.bytes, data.n, &calls, &error), PSC_OK,
        "%s", error.message);
    const long n = memory_back();
    cr_assert(!MEMORY_FAILS || n >= 7, "%ld requests", n);
    psc_pickle_close(&machine);
    for (long i = 1; i <= n; i++) {
        memory_fail_at(i, false);
        const psc_status status =
            psc_pickle_run(&machine, (const unsigned char *)data.bytes, data.n, &calls, &error);
        memory_back();
        cr_assert_eq(status, PSC_ERROR_MEMORY, "request %ld", i);
        cr_assert_str_eq(error.message, "not enough memory to read data.pkl");
        cr_assert_null(machine);
    }
}
