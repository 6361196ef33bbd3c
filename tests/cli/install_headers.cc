// The public headers as C++17, with warnings as errors: every _INIT names every member.
#include <psc.h>
#include <psc_corpus.h>
#include <psc_results.h>
#include <psc_limits.h>
#include <psc_treebank.h>

int main() {
    psc_model_options model = PSC_MODEL_OPTIONS_INIT;
    psc_session_options session = PSC_SESSION_OPTIONS_INIT;
    psc_run_options run = PSC_RUN_OPTIONS_INIT;
    psc_corpus_options corpus = PSC_CORPUS_OPTIONS_INIT;
    psc_sampler sampler = PSC_SAMPLER_INIT;
    psc_filter filter = PSC_FILTER_INIT;
    psc_strategy strategy = PSC_STRATEGY_INIT;
    psc_result_model head = PSC_RESULT_MODEL_INIT;
    psc_result_run ran = PSC_RESULT_RUN_INIT;
    psc_result_section section = PSC_RESULT_SECTION_INIT;
    psc_corpus_totals totals = PSC_CORPUS_TOTALS_INIT;
    psc_format_options format = PSC_FORMAT_OPTIONS_INIT;
    const uint32_t sizes[] = {model.struct_size, session.struct_size, run.struct_size,
        corpus.struct_size, sampler.struct_size, filter.struct_size, strategy.struct_size,
        head.struct_size, ran.struct_size, totals.struct_size, section.struct_size,
        format.struct_size};
    for (uint32_t size : sizes)
        if (size < sizeof size) return 1;
    return 0;
}
