/* Lines of JSON with numbers that JSON or 64 bits have not, at every end that a number can have;
 * the first bytes by which files are told. */
#include "file_kind.h"
#include "jsonl.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static json_error_t why;

/* The value of the line, from memory of its own size. */
static json_t *read_line(const char *text) {
    const size_t n = strlen(text);
    char *line = malloc(n ? n : 1);
    memcpy(line, text, n);
    json_t *value = psc_json_line(line, n, 0, &why);
    free(line);
    return value;
}

static void is_zero(const char *text) {
    json_t *value = read_line(text), *found;
    cr_assert(value, "%s: %s", text, why.text);
    found = json_is_object(value) ? json_object_get(value, "a") : json_array_get(value, 0);
    cr_assert(json_is_real(found) && json_real_value(found) == 0, "%s", text);
    json_decref(value);
}

Test(jsonl, numbers_out_of_range_are_zero) {
    static const char *const numbers[] = {"NaN", "Infinity", "-Infinity", "9223372036854775808",
        "-9223372036854775809", "123456789012345678901234567890", "1e999", "-1E999", "1e+999",
        "0.5e999"};
    static const char *const forms[] = {"[%s]", "[%s ]", "[%s\t]", "[%s\r]", "[%s,1]", "{\"a\":%s}",
        "{\"a\": %s , \"b\": 1}", "{\"b\":\"}\\\"\\\\\",\"a\":%s}"};
    char text[100];
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        for (size_t k = 0; k < sizeof forms / sizeof *forms; k++) {
            snprintf(text, sizeof text, forms[k], numbers[i]);
            is_zero(text);
        }
}

Test(jsonl, what_is_no_number_is_refused) {
    static const char *const bad[] = {"", "-", "NaNs", "Infinit", "Infinity1", "1.", "1.e5", "1e",
        "1e+", "1e-", "1E", "-.5", ".5", "00", "01", "1e5x", "[NaN", "\"NaN", "\"\\", "NaN:1",
        "1e999x", "+1", "--1", "nan", "0x10", "1 NaN", "[1e]", "{NaN:1}"};
    char text[64];
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        for (int k = 0; k < 3; k++) { /* k: the form of the line that holds it */
            snprintf(text, sizeof text, k == 0 ? "[%s]" : k == 1 ? "{\"a\":%s" : "[1,%s", bad[i]);
            if (k == 0 && !bad[i][0]) continue; /* an empty list */
            cr_assert_null(read_line(text), "%s", text);
            cr_assert(*why.text, "%s", text);
            cr_assert_null(psc_json_line_fault(&why), "%s", text);
        }
    cr_assert_null(read_line("NaN"), "a value alone is no line");
}

Test(jsonl, other_values_stay) {
    json_t *value = read_line("{\"a\":[1e2,-0.25,12,\"NaN, 1e999\",9223372036854775807,"
                              "-9223372036854775808],\"b\":NaN}");
    json_t *list = json_object_get(value, "a");
    cr_assert_eq(json_number_value(json_array_get(list, 0)), 100);
    cr_assert_eq(json_number_value(json_array_get(list, 1)), -0.25);
    cr_assert_eq(json_integer_value(json_array_get(list, 2)), 12);
    cr_assert_str_eq(json_string_value(json_array_get(list, 3)), "NaN, 1e999");
    cr_assert_eq(json_integer_value(json_array_get(list, 4)), INT64_MAX);
    cr_assert_eq(json_integer_value(json_array_get(list, 5)), INT64_MIN);
    json_decref(value);
}

Test(jsonl, faults_of_characters) {
    cr_assert_null(read_line("[\"\xff\"]"));
    cr_assert_str_eq(psc_json_line_fault(&why), "is not UTF-8");
    cr_assert_null(read_line("[\"\\ud800\"]"));
    cr_assert_str_eq(psc_json_line_fault(&why),
        "has half of a surrogate pair (\\ud800 to \\udfff), which is no character");
}

/* --- kinds of files -------------------------------------------------------------------------- */

Test(file_kind, first_bytes) {
    static const struct {
        const char *bytes;
        size_t n;
        psc_file_kind kind;
    } cases[] = {{"", 0, PSC_FILE_OTHER},
        {"version https://git-lfs.github.com/spec/v1", 42, PSC_FILE_LFS_POINTER},
        {"version https://git-lfs.github.com/spec", 39, PSC_FILE_OTHER}, {"GGUF", 4, PSC_FILE_GGUF},
        {"GGU", 3, PSC_FILE_OTHER}, {"PK\3\4", 4, PSC_FILE_ZIP}, {"PK\5\6", 4, PSC_FILE_OTHER},
        {"\x89HDF\r\n", 6, PSC_FILE_HDF5}, {"<!DOCTYPE html>", 15, PSC_FILE_HTML},
        {"<!doctype html>", 15, PSC_FILE_HTML}, {"<html>", 6, PSC_FILE_HTML},
        {"<htm>", 5, PSC_FILE_OTHER}, {"\x80\2", 2, PSC_FILE_PICKLE},
        {"\x80\5.", 3, PSC_FILE_PICKLE}, {"\x80\1", 2, PSC_FILE_OTHER},
        {"\x80\6", 2, PSC_FILE_OTHER}, {"\x80", 1, PSC_FILE_OTHER},
        {"\2\0\0\0\0\0\0\0{}", 10, PSC_FILE_SAFETENSORS}, {"\2\0\0\0\0\0\0\0{", 9, PSC_FILE_OTHER},
        {"\2\0\0\0\0\0\0\0[]", 10, PSC_FILE_OTHER}, {"\2\0\0\0\0\0\1\0{}", 10, PSC_FILE_OTHER},
        {"\2\0\0\0\0\0\0\1{}", 10, PSC_FILE_OTHER}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(psc_file_kind_of((const unsigned char *)cases[i].bytes, cases[i].n),
            cases[i].kind, "case %zu", i);
    unsigned char tar[512] = {0};
    memcpy(tar + 257, "ustar", 5);
    cr_assert_eq(psc_file_kind_of(tar, 512), PSC_FILE_OLD_TORCH);
    cr_assert_eq(psc_file_kind_of(tar, 261), PSC_FILE_OTHER);
}

Test(file_kind, kinds_that_are_refused) {
    static const struct {
        psc_file_kind kind;
        psc_status status;
        const char *sentence;
    } cases[] = {{PSC_FILE_LFS_POINTER, PSC_ERROR_INPUT,
                     "x is a git-lfs pointer, not the file itself; run git lfs pull in its folder"},
        {PSC_FILE_GGUF, PSC_ERROR_SUPPORT,
            "x is a GGUF file, which is not read; pass the Hugging Face folder that it was made from"},
        {PSC_FILE_HDF5, PSC_ERROR_SUPPORT,
            "x is an HDF5 file, which is not read; save the model as safetensors"},
        {PSC_FILE_HTML, PSC_ERROR_INPUT,
            "x is an HTML page, not the file itself; download it again"},
        {PSC_FILE_OLD_TORCH, PSC_ERROR_SUPPORT,
            "x has PyTorch's format from before 1.6, which is not read; convert it in Python: "
            "torch.save(torch.load(FILE), FILE)"}};
    static const psc_file_kind taken[] = {
        PSC_FILE_OTHER, PSC_FILE_ZIP, PSC_FILE_PICKLE, PSC_FILE_SAFETENSORS};
    psc_error error;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cr_assert_eq(psc_file_kind_refuse(cases[i].kind, "x", &error), cases[i].status);
        cr_assert_str_eq(error.message, cases[i].sentence);
    }
    for (int i = 0; i < 4; i++) cr_assert_eq(psc_file_kind_refuse(taken[i], "x", &error), PSC_OK);
}
