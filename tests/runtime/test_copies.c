/* Copies: whole tensors of a run in the caller's memory, with the bits that observers see; for
 * every model, chunk and number of sequences, with filters, beside observers, and after edits.
 * Captures are the same tensors as arrays. */
#include "copies_fixture.h"

#define ROWS 30
#define MORE 9 /* rows of a second run of the same sequences */

static psc_model *model;
static psc_session *session;
static psc_token tokens[ROWS + MORE];
static copy_set set;
static recording seen;
static psc_error error;

static psc_input inputs[3];

/* One sequence, or three of different lengths. */
static void set_inputs(bool several) {
    static const int32_t n[] = {ROWS, 1, 11};
    set.n_inputs = several ? 3 : 1;
    for (int32_t i = 0; i < set.n_inputs; i++) {
        inputs[i] = (psc_input){i, n[i], tokens + i};
        set.inputs[i] = (copied_input){i, 0, n[i]};
    }
}

/* The inputs of the second run. */
static void advance(void) {
    for (int32_t i = 0; i < set.n_inputs; i++) {
        set.inputs[i].before = psc_session_length(session, i);
        set.inputs[i].n = inputs[i].n = MORE - 4 * i;
        inputs[i].tokens = tokens + ROWS - i;
    }
}

static void restart(void) {
    for (int32_t i = 0; i < 3; i++) psc_session_truncate(session, i, 0);
}

static psc_status run(void) {
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.no_logits = 1;
    options.copies = set.list;
    options.n_copies = set.n;
    return psc_session_run(session, inputs, set.n_inputs, &options, &error);
}

static void must(psc_status status) {
    cr_assert_eq(status, PSC_OK, "%s", error.message);
}

static void open_model(const char *variant, int32_t threads, int32_t chunk) {
    for (int i = 0; i < ROWS + MORE; i++) tokens[i] = (psc_token){.id = (i * i + 3 * i) % 80};
    model = must_model(golden_path(variant, NULL));
    session = must_session(model, NULL, threads, chunk);
    set.info = *psc_model_get_info(model);
    recording_open(&seen, &set.info, 3, ROWS + MORE);
}

static void close_model(void) {
    copies_close(&set);
    recording_close(&seen);
    psc_session_close(&session);
    psc_model_close(&model);
}

/* A run of observers alone fills `seen`, a run of copies alone the copies: both twice, the second
 * time on top of the first. */
static void compare_runs(const char *what, int32_t rows, int32_t begin, int32_t end) {
    for (int both = 0; both < 2; both++) {
        restart();
        for (int second = 0; second < 2; second++) {
            if (second)
                advance();
            else
                set_inputs(set.n_inputs == 3);
            recording_attach(&seen, session);
            must(run());
            if (!both) psc_session_unhook(session, &seen);
            for (int32_t i = 0; i < set.n_inputs; i++)
                psc_session_truncate(session, i, set.inputs[i].before);
            copies_add_all(&set, set.info.n_layers, rows, begin, end);
            must(run());
            copies_assert_same(&set, &seen, what);
            copies_close(&set);
            psc_session_unhook(session, &seen);
        }
    }
}

static void check(const char *variant, int32_t threads, int32_t chunk) {
    open_model(variant, threads, chunk);
    for (int several = 0; several < 2; several++) {
        set_inputs(several);
        compare_runs(variant, PSC_ROWS_ALL, 0, 0);
    }
    close_model();
}

Test(copies, chunks_of_all_rows) {
    for (const char *const *v = golden_variants; *v; v++) check(*v, 2, 0);
}

Test(copies, chunks_of_seven_rows) {
    for (const char *const *v = golden_variants; *v; v++) check(*v, 3, 7);
}

Test(copies, chunks_of_one_row) {
    for (const char *const *v = golden_variants; *v; v++) check(*v, 1, 1);
}

Test(copies, selected_rows) {
    for (const char *const *v = golden_variants; *v; v++) {
        open_model(*v, 2, 7);
        set_inputs(true);
        compare_runs(*v, PSC_ROWS_LAST, 0, 0);
        compare_runs(*v, PSC_ROWS_RANGE, 5, 10);
        compare_runs(*v, PSC_ROWS_RANGE, ROWS + 2, ROWS + MORE + 100);
        close_model();
    }
}

/* --- beside other subscribers ---------------------------------------------------------------- */

/* Doubles one element in each row, so that every later value changes. */
static int twice(const psc_event *event, void *payload) {
    (void)payload;
    const psc_view *t = &event->tensor;
    for (int32_t r = 0; r < event->n_rows; r++) t->data[r * t->stride[0]] *= 2;
    return 0;
}

Test(copies, edited_runs) {
    static const char *const variants[] = {"parallel_f32", "sequential_bf16_v5", "odd_sizes"};
    for (int v = 0; v < 3; v++) {
        for (int p = 0; p < PSC_POINT_COUNT; p++) {
            open_model(variants[v], 2, 7);
            set_inputs(true);
            if (seen.width[p])
                must(psc_session_edit(session, (psc_point)p, NULL, twice, NULL, &error));
            compare_runs(psc_point_suffix((psc_point)p), PSC_ROWS_ALL, 0, 0);
            close_model();
        }
    }
}

static int look(const psc_event *event, void *payload) {
    (void)event;
    ++*(int *)payload;
    return 0;
}

/* A copy of one point, alone and beside an observer of another: each may split the pass's steps in
 * another way. */
static void beside_each(const psc_copy *copy) {
    set.list[0] = *copy;
    set.n = 1;
    for (int p = -1; p < PSC_POINT_COUNT; p++) {
        int looks = 0;
        if (p >= 0 && !seen.width[p]) continue;
        if (p >= 0) must(psc_session_observe(session, (psc_point)p, NULL, look, &looks, &error));
        memset(copy->out, 0, (size_t)copy->capacity * sizeof(float));
        restart();
        must(run());
        psc_session_unhook(session, &looks);
        cr_assert_eq(looks > 0, p >= 0);
        copies_assert_same(&set, &seen, p < 0 ? "alone" : psc_point_suffix((psc_point)p));
    }
}

Test(copies, one_point_beside_another) {
    static const char *const variants[] = {"rotary_base_v5", "sequential_f32", "odd_sizes"};
    for (int v = 0; v < 3; v++) {
        open_model(variants[v], 2, 0);
        set_inputs(false);
        recording_attach(&seen, session);
        must(run());
        psc_session_unhook(session, &seen);
        copies_add_all(&set, set.info.n_layers, PSC_ROWS_ALL, 0, 0);
        copy_set all = set;
        for (int32_t i = 0; i < all.n; i++) beside_each(&all.list[i]);
        set = all;
        close_model();
    }
}

/* Two copies of the same tensor, and a capture of it. */
Test(copies, several_of_one_tensor) {
    open_model("parallel_f32", 2, 7);
    set_inputs(true);
    psc_copy copy = PSC_COPY_INIT;
    copy.point = PSC_HOOK_PATTERN;
    copy.layer = 1;
    copies_add(&set, copy);
    copies_add(&set, copy);
    copy.rows = PSC_ROWS_LAST;
    copies_add(&set, copy);
    must(psc_session_capture(session, "blocks.1.attn.hook_pattern", &error));
    recording_attach(&seen, session);
    must(run());
    copies_assert_same(&set, &seen, "pattern");
    const float *at = set.list[0].out;
    for (int32_t i = 0; i < 3; i++) {
        char name[64];
        psc_array array;
        snprintf(name, sizeof name, "blocks.1.attn.hook_pattern@%d", (int)i);
        must(psc_session_array(session, name, &array, &error));
        const int64_t n = array.shape[0] * array.shape[1] * array.shape[2];
        cr_assert(array.shape[1] == set.inputs[i].n && array.shape[2] == set.inputs[i].n);
        cr_assert(!memcmp(array.data, at, (size_t)n * sizeof(float)));
        at += n;
    }
    close_model();
}

/* --- refusals -------------------------------------------------------------------------------- */

static void refuse(psc_copy copy, const char *words) {
    set.list[0] = copy;
    set.n = 1;
    cr_assert_eq(run(), PSC_ERROR_INPUT, "%s", words);
    cr_assert(strstr(error.message, words), "'%s' is not in: %s", words, error.message);
    cr_assert_eq(psc_session_length(session, 0), 0);
    set.n = 0;
    must(run());
    restart();
}

Test(copies, refusals) {
    static float out[ROWS * 64];
    open_model("parallel_f32", 2, 7);
    set_inputs(false);
    psc_copy good = PSC_COPY_INIT, bad;
    good.point = PSC_HOOK_Z;
    good.layer = 0;
    good.out = out;
    good.capacity = ROWS * set.info.d_model;
    cr_assert_leq(good.capacity, ROWS * 64);
#define WITH(member, value, words) (bad = good, bad.member = value, refuse(bad, words))
    WITH(capacity, good.capacity - 1, "blocks.0.attn.hook_z");
    WITH(capacity, good.capacity + 1, "floats of blocks.0.attn.hook_z");
    WITH(capacity, -1, "floats of");
    WITH(out, NULL, "is for 0");
    WITH(point, -1, "hook point number -1");
    WITH(point, PSC_POINT_COUNT, "hook point number");
    WITH(point, PSC_HOOK_RESID_MID, "no hook_resid_mid");
    WITH(point, PSC_HOOK_EMBED, "its layer must be -1");
    WITH(layer, -1, "layer -1 of attn.hook_z");
    WITH(layer, set.info.n_layers, "does not exist");
    WITH(rows, 3, "rows mode 3");
    WITH(struct_size, 8, "PSC_COPY_INIT");
    WITH(rows, PSC_ROWS_LAST, "floats of");
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.n_copies = 1;
    cr_assert_eq(psc_session_run(session, inputs, 1, &options, &error), PSC_ERROR_INPUT);
    options.copies = &good;
    options.n_copies = -1;
    cr_assert_eq(psc_session_run(session, inputs, 1, &options, &error), PSC_ERROR_INPUT);
    options.n_copies = 1;
    must(psc_session_run(session, inputs, 1, &options, &error));
    close_model();
}

/* A later version's larger structure: the first one's size is the distance. */
Test(copies, structures_of_a_later_version) {
    struct {
        psc_copy copy;
        char newer[16];
    } larger[2];
    open_model("parallel_f32", 2, 0);
    set_inputs(false);
    recording_attach(&seen, session);
    for (int i = 0; i < 2; i++) {
        psc_copy copy = PSC_COPY_INIT;
        copy.point = i ? PSC_HOOK_MLP_POST : PSC_HOOK_EMBED;
        copy.layer = i ? 1 : -1;
        larger[i].copy = *copies_add(&set, copy);
        larger[i].copy.struct_size = sizeof larger[i];
    }
    psc_run_options options = PSC_RUN_OPTIONS_INIT;
    options.copies = &larger[0].copy;
    options.n_copies = 2;
    must(psc_session_run(session, inputs, 1, &options, &error));
    copies_assert_same(&set, &seen, "larger structures");
    close_model();
}
