/* The examples that a caller gives to a run, before a plugin sees them: targets of the model's
 * vocabulary, and positions that can be. */
#include "session.h"

static psc_status check_example(
    const psc_session *s, const psc_input *input, const psc_example *example, psc_error *error) {
    const int32_t a = example->a, b = example->b, most = s->model->info.d_vocab - 1;
    const int32_t *from = example->source_positions;
    if (example->number < 0 || a < -1 || a > most || b < -1 || b > most || (a < 0 && b >= 0))
        return psc_fail(error, PSC_ERROR_INPUT,
            "sequence %d: example %lld has the target %d, %d; ids are 0 to %d, and -1 is none",
            (int)input->sequence, (long long)example->number, (int)a, (int)b, (int)most);
    if (a >= 0 && a == b)
        return psc_fail(error, PSC_ERROR_INPUT,
            "sequence %d: the contrast of token %d with itself is always 0; use two tokens",
            (int)input->sequence, (int)a);
    for (int32_t t = 0; from && t < input->n; t++)
        if (from[t] < -1 || from[t] >= s->model->info.n_ctx)
            return psc_fail(error, PSC_ERROR_INPUT,
                "sequence %d: token %d is aligned with position %d, which no source has",
                (int)input->sequence, (int)t, (int)from[t]);
    return PSC_OK;
}

psc_status psc_run_check_examples(const psc_session *s, const psc_input *inputs, int32_t n_inputs,
    const psc_run_options *options, psc_error *error) {
    psc_status status = PSC_OK;
    for (int32_t t = 0; !options->examples && t < s->targets.n; t++)
        if (s->targets.targets[t].kind == PSC_TARGET_EXAMPLE)
            return psc_fail(error, PSC_ERROR_INPUT,
                "the target example is that of a set of pairs, which this run is not; pass --pairs, "
                "or write text:example for the word");
    for (int32_t i = 0; options->examples && !status && i < n_inputs; i++)
        status = check_example(s, &inputs[i], &options->examples[i], error);
    return status;
}
