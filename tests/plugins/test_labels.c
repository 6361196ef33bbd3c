/* The labels of a run, from the caller and from a file that the host reads; what is refused. */
#include "plugin_fixture.h"

#define OWN PSC_SOURCE_DIR "/tests/golden/structure/own.conllu"

static psc_context *context;
static const psc_sentence *given, *read_once, *read_again;
static int32_t n_given, n_read;
static const char *asked; /* the path that the plugin reads in run_begin */

static int labels_open(psc_context *c, const psc_host *table, void **state) {
    (void)state;
    context = c;
    host = table;
    int32_t n = 7;
    cr_assert(host->sentences(c, &n) == NULL && n == 0);
    read_once = host->read_sentences(c, OWN, &n_read);
    return read_once ? 0 : -1;
}

static int labels_begin(psc_context *c, void *state) {
    (void)state;
    given = host->sentences(c, &n_given);
    read_again = host->read_sentences(c, asked, &n_read);
    return read_again ? 0 : -1;
}

static void forbidden(int64_t begin, int64_t end, int32_t thread, void *payload) {
    int32_t n;
    (void)end, (void)thread;
    if (begin == 0 && payload) cr_assert_null(host->read_sentences(context, OWN, &n));
    if (begin == 0 && !payload) cr_assert_null(host->sentences(context, &n));
}

static int labels_in_parallel(psc_context *c, void *state, int status) {
    (void)status;
    host->parallel_for(c, 2, forbidden, state);
    return 0;
}

static const char run_text[] = "He sat. He sat.";
static const psc_word he_sat[] = {{0, 2, 1, "He", "he", "PRON", "", "", "nsubj", ""},
    {3, 6, -1, "sat", "sit", "VERB", "", "", "root", ""},
    {6, 7, 1, ".", ".", "PUNCT", "", "", "punct", ""}};
static psc_word labelled[3];
static psc_sentence two[2];
static psc_run_options options;

static void begin_labels(void) {
    open_session("parallel_f32", 3, 2);
    find_bridge();
    asked = OWN;
    bridge->open = labels_open;
    bridge->run_begin = labels_begin;
    memcpy(labelled, he_sat, sizeof labelled);
    two[0] = (psc_sentence){"1", "He sat.", 7, 0, 3, labelled, 0, 0, 1};
    two[1] = (psc_sentence){"2", "He sat.", 7, 8, 3, labelled, 0, 0, 5};
    options = (psc_run_options)PSC_RUN_OPTIONS_INIT;
    options.text = run_text;
    options.text_bytes = strlen(run_text);
    options.sentences = two;
    options.n_sentences = 2;
}

static psc_status run_labelled(void) {
    psc_input input = {0, 10, ten};
    psc_session_truncate(session, 0, 0);
    return psc_session_run(session, &input, 1, &options, &error);
}

TestSuite(labels, .init = begin_labels, .fini = fixture_close);

Test(labels, a_plugin_receives_what_the_caller_gave) {
    must_load(PLUGIN("bridge"), NULL);
    cr_assert_eq(run_labelled(), PSC_OK, "%s", error.message);
    cr_assert(given == two && n_given == 2);
    cr_assert(read_again == read_once && n_read == 8, "the file is read once");
    options.n_sentences = 0;
    cr_assert_eq(run_labelled(), PSC_OK, "%s", error.message);
    cr_assert(given == NULL && n_given == 0);
    options.struct_size = (uint32_t)offsetof(psc_run_options, n_sentences); /* an older caller */
    options.n_sentences = -1;
    cr_assert_eq(run_labelled(), PSC_OK, "%s", error.message);
    cr_assert(given == NULL && n_given == 0);
}

Test(labels, a_file_that_cannot_be_read_ends_the_run) {
    must_load(PLUGIN("bridge"), NULL);
    asked = "/tmp/none.conllu";
    REFUSED(run_labelled(), PSC_ERROR_IO, "plugin bridge", "cannot open /tmp/none.conllu");
    asked = OWN;
    cr_assert_eq(run_labelled(), PSC_OK, "%s", error.message);
}

Test(labels, calls_inside_parallel_for_are_refused) {
    bridge->run_end = labels_in_parallel;
    must_load(PLUGIN("bridge"), NULL);
    REFUSED(run_labelled(), PSC_ERROR_STATE, "sentences was called inside parallel_for");
}

#define FAULT(change, says)                                                                        \
    do {                                                                                           \
        begin_labels();                                                                            \
        change;                                                                                    \
        REFUSED(run_labelled(), PSC_ERROR_INPUT, says);                                            \
        fixture_close();                                                                           \
    } while (0)

Test(labels, faults_of_a_caller) {
    cr_assert_eq(run_labelled(), PSC_OK, "%s", error.message);
    fixture_close();
    FAULT(options.n_sentences = -1, "-1 sentences: labels need a text");
    FAULT(options.sentences = NULL, "2 sentences: labels need a text");
    FAULT(options.text = NULL, "2 sentences: labels need a text");
    FAULT(two[1].id = NULL, "sentence 1 (''): its id or text is null");
    FAULT(two[1].words = NULL, "sentence 1 ('2'): it has no words");
    FAULT(two[1].start = 6, "it begins before the end");
    FAULT(two[1].start = 9, "it ends after the run's text");
    FAULT(two[1].start = UINT32_MAX, "it ends after the run's text");
    FAULT(two[0].text = "He saw.", "its text is not what the run's text has");
    FAULT(labelled[1].start = 6, "a word is empty, out of order or outside");
    FAULT(labelled[1].end = 8, "a word is empty, out of order or outside");
    FAULT(labelled[2].start = 2, "a word is empty, out of order or outside");
    FAULT(labelled[0].lemma = NULL, "a word's label is null");
    FAULT(labelled[0].head = 3, "its heads are not one tree");
    FAULT(labelled[0].head = -2, "its heads are not one tree");
    FAULT(labelled[0].head = -1, "its heads are not one tree");
    FAULT(labelled[1].head = 0, "its heads are not one tree");
    open_session("parallel_f32", 3, 2); /* for the suite's end */
}
