/* Lists of the command line. The first byte chooses the reader of the rest:
 *   F  forms, tab-separated    C  forms of CoNLL-U    S  spans    P  --prompts    W  a text's words */
#include "form_list.h"
#include "fuzz.h"
#include "prompts.h"
#include "setup.h"
#include "spans_file.h"
#include "word_texts.h"

#include <string.h>

static void read_forms(fuzz_bytes rest, int is_treebank) {
    cli_form_list list;
    psc_error error = {0};
    const char *path = fuzz_put(is_treebank ? "x.conllu" : "x.tsv", rest);
    memset(&list, 0, sizeof list);
    fuzz_check(is_treebank ? cli_form_list_collect(&list, fuzz_model(), &path, 1, &error)
                           : cli_form_list_read(&list, fuzz_model(), path, &error),
        &error);
    cli_form_list_free(&list);
}

static void read_spans(fuzz_bytes rest) {
    cli_spans spans;
    psc_error error = {0};
    const psc_status status = cli_spans_read(&spans, fuzz_put("x.jsonl", rest), &error);
    fuzz_check(status, &error);
    for (int32_t i = 0; !status && i < spans.n; i++) {
        const psc_sentence *s = &spans.sentences[i];
        fuzz_expect(strlen(s->text) == s->bytes, "a text of another length");
        for (int32_t j = 0; j < s->n; j++)
            fuzz_expect(s->words[j].start < s->words[j].end && s->words[j].end <= s->bytes,
                "a span outside its text");
    }
    cli_spans_free(&spans);
}

static const cli_option options[] = {CLI_PROMPTS_OPTIONS, CLI_TARGET_OPTIONS("next"), {0}};
static const cli_verb verb = {"analyze", "", "", NULL, options, 0, NULL};

static void read_prompts(fuzz_bytes rest) {
    cli_arguments arguments, alone;
    cli_prompts prompts;
    psc_error error = {0};
    char *argv[] = {(char *)"--prompts", (char *)fuzz_put("x.prompts", rest), NULL};
    fuzz_expect(cli_parse(&arguments, &verb, 2, argv) == CLI_OK, "the command line is refused");
    memset(&prompts, 0, sizeof prompts);
    psc_status status = cli_prompts_read(&prompts, &arguments, &error);
    fuzz_check(status, &error);
    if (!status) fuzz_check(cli_prompts_try(&prompts, fuzz_model(), &arguments, &error), &error);
    for (int32_t i = 0; !status && i < prompts.n && i < 8; i++) {
        fuzz_check(cli_prompts_alone(&alone, &prompts, i, &arguments, &error), &error);
        cli_prompts_drop(&alone);
    }
    cli_prompts_free(&prompts);
    cli_free_arguments(&arguments);
}

static void read_words(fuzz_bytes rest) {
    cli_word_text text;
    cli_word_block block;
    psc_error error = {0};
    const unsigned kind = fuzz_byte(&rest);
    cli_word_options how = {.alone = kind & 1,
        .letters = kind >> 1 & 1,
        .cut = kind >> 2 & 1,
        .least = 1,
        .most = FUZZ_CONTEXT,
        .units = {0, 1000},
        .limit = 10,
        .path = "x"};
    psc_status status = cli_word_text_make(&text, (const char *)rest.data, rest.size, &error);
    fuzz_check(status, &error);
    if (status || text.sentence.n == 0) {
        cli_word_text_free(&text);
        return;
    }
    memset(&block, 0, sizeof block);
    fuzz_check(cli_word_block_make(&block, fuzz_model(), &text.sentence, 1, &how, &error), &error);
    cli_word_block_free(&block);
    cli_word_text_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    fuzz_bytes rest = {data, size};
    switch (fuzz_byte(&rest)) {
    case 'F':
        read_forms(rest, 0);
        break;
    case 'C':
        read_forms(rest, 1);
        break;
    case 'S':
        read_spans(rest);
        break;
    case 'P':
        read_prompts(rest);
        break;
    case 'W':
        read_words(rest);
        break;
    default:
        break;
    }
    return 0;
}
