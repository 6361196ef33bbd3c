/* Files that plugins read and write through the host: tensors of every type as f32,
 * entries of them, settings of every kind; each refusal's sentence; memory and calls of
 * the system that fail. */
#define _GNU_SOURCE /* RTLD_NEXT */
#include "failing_calls.h"
#include "failing_malloc.h"
#include "plugin_fixture.h"

static char folder[] = "/tmp/psc-host-files-XXXXXX";

/* --- a plugin that makes one call in each run ------------------------------------------------ */

static psc_context *c;
static int (*action)(void);

static int on_open(psc_context *context, const psc_host *given, void **state) {
    (void)context, (void)state;
    host = given;
    return 0;
}

static int on_begin(psc_context *context, void *state) {
    (void)state;
    c = context;
    const int returned = action ? action() : 0;
    calls_back();
    memory_back();
    return returned;
}

static void begin(void) {
    cr_assert(mkdtemp(folder));
    open_session("parallel_f32", 10, 1);
    find_bridge();
    bridge->open = on_open;
    bridge->run_begin = on_begin;
    must_load(PLUGIN("bridge"), NULL);
}

static void end(void) {
    char command[100];
    fixture_close();
    snprintf(command, sizeof command, "rm -r '%s'", folder);
    cr_assert_eq(system(command), 0);
}

TestSuite(host_files, .init = begin, .fini = end);

static void does(int (*call)(void)) {
    action = call;
    must_run_ten();
}

/* "@" in the sentence is the folder. */
static void fails(int (*call)(void), psc_status status, const char *sentence) {
    char whole[1400] = "plugin bridge: ";
    size_t n = strlen(whole);
    for (const char *s = sentence; *s; s++)
        n += (size_t)snprintf(
            whole + n, sizeof whole - n, *s == '@' ? "%s" : "%.1s", *s == '@' ? folder : s);
    action = call;
    cr_assert_eq(run_ten(), status, "%s", error.message);
    cr_assert_str_eq(error.message, whole, "%s", error.message);
}

static char *at(const char *name) {
    static char paths[4][200];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const void *bytes, size_t n) {
    FILE *file = fopen(at(name), "wb");
    cr_assert(file && fwrite(bytes, 1, n, file) == n && fclose(file) == 0);
}

/* --- tensors --------------------------------------------------------------------------------- */

/* A safetensors file: a header, and these bytes. */
static void put_tensors(const char *name, const char *header, const void *data, size_t n) {
    const size_t length = strlen(header);
    unsigned char bytes[4096] = {0};
    for (int i = 0; i < 8; i++) bytes[i] = (unsigned char)(length >> 8 * i);
    memcpy(bytes + 8, header, length);
    if (n) memcpy(bytes + 8 + length, data, n);
    put(name, bytes, 8 + length + n);
}

#define ONE(dtype, shape, end)                                                                     \
    "{\"w\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[0," end "]}}"

static const char *file_name, *tensor_name;
static int64_t entry = -1, shape[8];
static int32_t n_axes;
static int or_only;
static float found[64];

/* Takes what was read; its floats live as long as the plugin. */
static int take(const float *data) {
    int64_t n = 1;
    if (!data) return -1;
    for (int32_t i = 0; i < n_axes; i++) n *= shape[i];
    memcpy(found, data, (size_t)n * sizeof *found);
    return 0;
}

static int reads(void) {
    return take(host->read_tensor(c, at(file_name), tensor_name, &n_axes, shape));
}

static int reads_entry(void) {
    return take(host->read_entry(c, at(file_name), tensor_name, or_only, entry, &n_axes, shape));
}

Test(host_files, tensors_of_every_type) {
    static const uint16_t f16[] = {0x3c00, 0xc000, 0x3800}, bf16[] = {0x3f80, 0xc000, 0x3f00};
    static const float f32[] = {1, -2, 0.5f};
    static const double f64[] = {1, -2, 0.5};
    put_tensors("F16", ONE("F16", "3", "6"), f16, 6);
    put_tensors("BF16", ONE("BF16", "3", "6"), bf16, 6);
    put_tensors("F32", ONE("F32", "3", "12"), f32, 12);
    put_tensors("F64", ONE("F64", "3", "24"), f64, 24);
    static const char *const types[] = {"F16", "BF16", "F32", "F64"};
    for (int i = 0; i < 8; i++) {
        file_name = types[i / 2];
        tensor_name = i % 2 ? "w" : NULL; /* the only one needs no name */
        memset(found, 0, sizeof found);
        does(reads);
        cr_assert(n_axes == 1 && shape[0] == 3, "%s", file_name);
        cr_assert_arr_eq(found, f32, sizeof f32, "%s", file_name);
    }
    put_tensors("I64", ONE("I64", "1", "8"), f64, 8);
    file_name = "I64";
    fails(reads, PSC_ERROR_INPUT,
        "@/I64: tensor \"w\" has dtype I64, but only F32, F16, BF16 and F64 are supported");
    fails(reads_entry, PSC_ERROR_INPUT,
        "@/I64: tensor \"w\" has dtype I64, but only F32, F16, BF16 and F64 are supported");
}

#define NAMED(name, at, end)                                                                       \
    "\"" name "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[" at "," end "]}"

Test(host_files, tensors_by_name) {
    static const float data[] = {1, 2, 3, 4, 5};
    put_tensors("five",
        "{" NAMED("a", "0", "4") "," NAMED("b", "4", "8") "," NAMED("c", "8", "12") "," NAMED(
            "d", "12", "16") "," NAMED("e", "16", "20") "}",
        data, 20);
    put_tensors("two", "{" NAMED("a", "0", "4") "," NAMED("b", "4", "8") "}", data, 8);
    put_tensors("one", ONE("F32", "1", "4"), data, 4);
    put_tensors("none", "{}", NULL, 0);
    put_tensors("empty", ONE("F32", "0", "0"), NULL, 0);
    file_name = "five";
    tensor_name = "d";
    does(reads);
    cr_assert_eq(found[0], 4);
    tensor_name = "x";
    fails(reads, PSC_ERROR_INPUT,
        "@/five has no tensor \"x\", only \"a\", \"b\", \"c\", \"d\" and 1 more");
    file_name = "two";
    fails(reads, PSC_ERROR_INPUT, "@/two has no tensor \"x\", only \"a\", \"b\"");
    or_only = 1;
    fails(reads_entry, PSC_ERROR_INPUT, "@/two has no tensor \"x\", only \"a\", \"b\"");
    tensor_name = NULL;
    fails(reads, PSC_ERROR_INPUT, "@/two has 2 tensors; name one of them");
    file_name = "none";
    fails(reads, PSC_ERROR_INPUT, "@/none has 0 tensors; name one of them");
    tensor_name = "x";
    fails(reads, PSC_ERROR_INPUT, "@/none has no tensor \"x\"");
    file_name = "one";
    does(reads_entry); /* or_only: the only tensor may have any name */
    cr_assert_eq(found[0], 1);
    or_only = 0;
    fails(reads_entry, PSC_ERROR_INPUT, "@/one has no tensor \"x\", only \"w\"");
    file_name = "empty";
    tensor_name = "w";
    fails(reads, PSC_ERROR_INPUT, "@/empty: tensor \"w\" is empty");
}

static void entry_is(const char *name, int64_t index, int axes, float first) {
    file_name = name;
    entry = index;
    does(reads_entry);
    cr_assert_eq(n_axes, axes, "%s: %d axes", name, (int)n_axes);
    cr_assert_eq(found[0], first, "%s: %g", name, (double)found[0]);
}

Test(host_files, entries) {
    static const float data[] = {1, 2, 3, 4, 5, 6};
    tensor_name = NULL;
    put_tensors("1x1x6", ONE("F32", "1,1,6", "24"), data, 24);
    put_tensors("1x3x2", ONE("F32", "1,3,2", "24"), data, 24);
    put_tensors("3x2", ONE("F32", "3,2", "24"), data, 24);
    put_tensors("1x1", ONE("F32", "1,1", "4"), data, 4);
    put_tensors("6", ONE("F32", "6", "24"), data, 24);
    put_tensors("scalar", ONE("F32", "", "4"), data, 4);
    entry_is("1x1x6", -1, 1, 1);
    cr_assert_eq(shape[0], 6);
    entry_is("1x3x2", -1, 2, 1);
    entry_is("1x3x2", 2, 1, 5); /* of the three, not of the one */
    entry_is("3x2", 1, 1, 3);
    entry_is("1x1x6", 0, 1, 1);
    entry_is("1x1", 0, 1, 1);
    entry_is("6", -1, 1, 1);
    entry_is("scalar", -1, 0, 1);
    entry = 0;
    file_name = "6";
    fails(reads_entry, PSC_ERROR_INPUT,
        "@/6: tensor \"w\" is one vector, from which no entry can be taken");
    file_name = "scalar";
    fails(reads_entry, PSC_ERROR_INPUT,
        "@/scalar: tensor \"w\" is one vector, from which no entry can be taken");
    file_name = "3x2";
    entry = 3;
    fails(reads_entry, PSC_ERROR_INPUT, "@/3x2: tensor \"w\" has the entries 0 to 2, and no 3");
}

/* --- settings -------------------------------------------------------------------------------- */

static const char *key;
static psc_setting setting;
static int loaded;

static int loads(void) {
    loaded = host->load_setting(c, folder, key, &setting);
    return loaded < 0 ? -1 : 0;
}

Test(host_files, settings_of_every_kind) {
    static const char config[] = "{\"text\": \"caf\\u00e9\", \"whole\": 7, \"real\": -0.25, "
                                 "\"yes\": true, \"no\": false, \"null\": null, \"list\": [1]}";
    put("config.json", config, sizeof config - 1);
    key = "text";
    does(loads);
    cr_assert(loaded == 1 && setting.kind == PSC_SETTING_TEXT);
    cr_assert_str_eq(setting.text, "caf\xc3\xa9");
    static const struct {
        const char *key;
        int kind;
        double number;
    } cases[] = {{"whole", PSC_SETTING_NUMBER, 7}, {"real", PSC_SETTING_NUMBER, -0.25},
        {"yes", PSC_SETTING_BOOLEAN, 1}, {"no", PSC_SETTING_BOOLEAN, 0}};
    for (int i = 0; i < 4; i++) {
        key = cases[i].key;
        does(loads);
        cr_assert(loaded == 1 && setting.kind == cases[i].kind, "%s", key);
        cr_assert_eq(setting.number, cases[i].number, "%s", key);
    }
    key = "null";
    does(loads);
    cr_assert_eq(loaded, 0);
    key = "absent";
    does(loads);
    cr_assert_eq(loaded, 0);
    key = "list";
    fails(loads, PSC_ERROR_INPUT, "@/config.json: \"list\" is not a string, a number or a boolean");
    put("config.json", "[1]", 3);
    fails(loads, PSC_ERROR_INPUT, "@/config.json is not a JSON object");
    put("config.json", "{", 1);
    action = loads;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "config.json is not valid JSON: ", "(line 1)");
}

/* --- saving ---------------------------------------------------------------------------------- */

static const float floats[] = {1, 2, 3, 4, 5, 6};
static psc_setting settings[8];
static psc_named_tensor tensors[2];
static int32_t n_settings, n_tensors;

static int saves(void) {
    return host->save_folder(c, at("out"), n_settings, settings, n_tensors, tensors);
}

static void prepare_folder(void) {
    static const double numbers[] = {7, -0.25, 0x1p53, -0x1p60, 1e300, INFINITY, 1};
    static const char *const keys[] = {"whole", "real", "large", "low", "huge", "infinite", "on"};
    n_settings = 8;
    n_tensors = 2;
    settings[0] = (psc_setting){"text", PSC_SETTING_TEXT, "two \"words\"", 0};
    for (int i = 0; i < 7; i++)
        settings[i + 1] = (psc_setting){
            keys[i], i == 6 ? PSC_SETTING_BOOLEAN : PSC_SETTING_NUMBER, NULL, numbers[i]};
    tensors[0] = (psc_named_tensor){"a", 2, {2, 3, 0, 0}, floats};
    tensors[1] = (psc_named_tensor){"b", 0, {0}, floats};
}

static bool out_is_there(void) {
    return access(at("out/config.json"), F_OK) == 0 &&
           access(at("out/params.safetensors"), F_OK) == 0;
}

Test(host_files, a_folder_that_is_saved) {
    char text[600] = "";
    prepare_folder();
    does(saves);
    FILE *file = fopen(at("out/config.json"), "rb");
    cr_assert(file && fread(text, 1, sizeof text - 1, file) > 0);
    fclose(file);
    cr_assert_str_eq(text,
        "{\n  \"text\": \"two \\\"words\\\"\",\n  \"whole\": 7,\n  \"real\": -0.25,\n"
        "  \"large\": 9007199254740992.0,\n  \"low\": -1.152921504606847e18,\n"
        "  \"huge\": 1.0000000000000001e300,\n  \"infinite\": null,\n  \"on\": true\n}",
        "%s", text);
    file_name = "out/params.safetensors";
    tensor_name = "a";
    does(reads);
    cr_assert(n_axes == 2 && shape[1] == 3 && found[5] == 6);
    fails(saves, PSC_ERROR_IO,
        "cannot create the output folder @/out: it exists and is not empty; use a new or empty folder");
}

Test(host_files, without_tensors_only_the_place_is_checked) {
    prepare_folder();
    n_tensors = 0;
    does(saves);
    cr_assert_neq(access(at("out"), F_OK), 0);
}

Test(host_files, tensors_that_cannot_be_saved) {
    static const struct {
        psc_named_tensor tensor;
        const char *fault;
    } cases[] = {{{NULL, 1, {1}, floats}, "has no name"},
        {{"t", -1, {1}, floats}, "does not have 0 to 4 axes"},
        {{"t", 5, {1}, floats}, "does not have 0 to 4 axes"},
        {{"t", 2, {1, -1}, floats}, "has an axis of a negative length"},
        {{"t", 2, {1 << 30, 1 << 30}, floats}, "is too large"},
        {{"t", 3, {0, INT64_MAX, 2}, floats}, "is too large"},
        {{"t", 1, {1}, NULL}, "has no data"}};
    char sentence[100];
    prepare_folder();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        tensors[1] = cases[i].tensor;
        snprintf(sentence, sizeof sentence, "save_folder: tensor 1 %s", cases[i].fault);
        fails(saves, PSC_ERROR_PLUGIN, sentence);
    }
    tensors[1] = (psc_named_tensor){"e", 2, {0, 3}, floats}; /* an empty one is none of them */
    does(saves);
    cr_assert(out_is_there());
}

/* --- one file -------------------------------------------------------------------------------- */

static const char *note;
static int noted;

static int saves_tensors(void) {
    return host->save_tensors(c, at("one"), n_settings, settings, n_tensors, tensors);
}

static int notes(void) {
    noted = host->read_note(c, at("one"), key, &note);
    return noted < 0;
}

Test(host_files, tensors_with_notes) {
    static const char *const want[][2] = {{"text", "two \"words\""}, {"whole", "7"},
        {"real", "-0.25"}, {"large", "9007199254740992"}, {"low", "-1.152921504606847e+18"},
        {"huge", "1e+300"}, {"infinite", "inf"}, {"on", "true"}};
    prepare_folder();
    n_tensors = 0; /* only asks */
    does(saves_tensors);
    cr_assert_neq(access(at("one"), F_OK), 0);
    n_tensors = 2;
    does(saves_tensors);
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        key = want[i][0];
        does(notes);
        cr_assert(noted == 1 && strcmp(note, want[i][1]) == 0, "%s: %s", key, note);
    }
    key = "absent";
    does(notes);
    cr_assert(noted == 0 && !note);
    file_name = "one";
    tensor_name = "a";
    does(reads);
    cr_assert(n_axes == 2 && shape[1] == 3 && found[5] == 6);
    tensors[1].name = NULL;
    fails(saves_tensors, PSC_ERROR_PLUGIN, "save_tensors: tensor 1 has no name");
    put("one", "{", 1);
    action = notes;
    REFUSED(run_ten(), PSC_ERROR_INPUT, "one has 1 bytes", "truncated");
}

static const char *written_path;
static const char *written;

static int saves_file(void) {
    return host->save_file(c, written_path, written, written ? strlen(written) : 0);
}

Test(host_files, one_file) {
    char text[16] = "";
    written = "some words";
    written_path = at("file");
    does(saves_file);
    FILE *file = fopen(at("file"), "rb");
    cr_assert(file && fread(text, 1, sizeof text - 1, file) == 10);
    fclose(file);
    written = NULL; /* only asks */
    does(saves_file);
    written_path = at("new");
    does(saves_file);
    cr_assert_neq(access(at("new"), F_OK), 0);
    written_path = "";
    fails(saves_file, PSC_ERROR_INPUT, "'' is not the name of a file");
    written_path = at("name/");
    fails(saves_file, PSC_ERROR_INPUT, "'@/name/' is not the name of a file");
    written_path = folder;
    fails(saves_file, PSC_ERROR_INPUT, "@ is not a regular file");
    written_path = at("none/file");
    fails(saves_file, PSC_ERROR_IO, "cannot write @/none/file: No such file or directory");
}

/* --- failures -------------------------------------------------------------------------------- */

static int (*tried)(void);
static long fail_at;
static bool of_memory;

static int tries(void) {
    if (of_memory)
        memory_fail_at(fail_at, false);
    else
        calls_fail_at(fail_at, EIO, false);
    return tried();
}

static void remove_out(void) {
    char command[100];
    snprintf(command, sizeof command, "rm -rf '%s/out'", folder);
    cr_assert_eq(system(command), 0);
}

static void fail_each(int (*call)(void), bool memory, long least) {
    tried = call;
    of_memory = memory;
    fail_at = 0;
    remove_out();
    does(tries);
    const long n = memory ? memory_requests : calls_made;
    cr_assert(!(memory ? MEMORY_FAILS : CALLS_FAIL) || n >= least, "%ld", n);
    for (fail_at = 1; fail_at <= n; fail_at++) {
        remove_out();
        action = tries;
        const psc_status status = run_ten();
        if (memory)
            cr_assert(status == PSC_OK || strstr(error.message, "memory"), "request %ld: %s",
                fail_at, error.message);
        if (call == saves) cr_assert_eq(out_is_there(), status == PSC_OK, "%s", error.message);
    }
}

Test(host_files, failures) {
    static const char config[] = "{\"text\": \"some words\"}";
    put("config.json", config, sizeof config - 1);
    put_tensors("t", ONE("F32", "2,3", "24"), floats, 24);
    file_name = "t";
    key = "text";
    entry = 1;
    for (int memory = 0; memory < 2; memory++) {
        prepare_folder();
        fail_each(reads, memory, 3);
        fail_each(reads_entry, memory, 3);
        fail_each(loads, memory, 2);
        fail_each(saves, memory, 10);
        fail_each(saves_tensors, memory, 3);
        key = "text";
        fail_each(notes, memory, 1);
        written_path = at("file");
        written = "words";
        fail_each(saves_file, memory, 1);
        written = NULL;
        fail_each(saves_file, memory, 1);
    }
}
