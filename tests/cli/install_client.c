/* A client of the installed library: loads the example plugin and checks its norms against the
 * captured residual stream. usage: install_client MODEL NORMS.so */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <psc.h>

static int fail(const psc_error *error) {
    fprintf(stderr, "install_client: %s\n", error->message);
    return 1;
}

/* The largest relative |norm - |x|| over layers and rows. */
static double largest_error(psc_session *session, int32_t n_layers, psc_error *error) {
    psc_array norms, resid;
    double most = 0;
    if (psc_session_array(session, "norms.resid_post", &norms, error)) return INFINITY;
    for (int32_t l = 0; l < n_layers; l++) {
        char name[64];
        psc_point_name(name, sizeof name, PSC_HOOK_RESID_POST, l);
        if (psc_session_array(session, name, &resid, error)) return INFINITY;
        int64_t rows = resid.shape[0], n = resid.shape[1];
        if (norms.n_axes != 2 || norms.shape[0] != n_layers || norms.shape[1] != rows)
            return INFINITY;
        for (int64_t r = 0; r < rows; r++) {
            double squares = 0, norm = ((const float *)norms.data)[l * rows + r];
            for (int64_t i = 0; i < n; i++) {
                double x = ((const float *)resid.data)[r * n + i];
                squares += x * x;
            }
            double off = fabs(norm - sqrt(squares)) / sqrt(squares);
            if (!(off <= most)) most = off; /* NaN counts as the largest */
        }
    }
    return most;
}

int main(int argc, char **argv) {
    static const char text[] = "The sun rose over the city";
    psc_model *model = NULL;
    psc_session *session = NULL;
    psc_token *tokens = NULL;
    psc_error error = {PSC_ERROR_INPUT, "two arguments are needed"};
    int32_t n = 0, n_layers = 0;
    int code = 1;
    if (argc != 3 || psc_model_open(&model, argv[1], &error)) return fail(&error);
    n_layers = psc_model_get_info(model)->n_layers;
    if (psc_model_encode(&tokens, &n, model, text, strlen(text), false, &error)) goto done;
    psc_input input = {0, n, tokens};
    if (psc_session_open(&session, model, NULL, &error)) goto done;
    if (psc_session_plugin(session, argv[2], NULL, &error)) goto done;
    if (psc_session_capture(session, "blocks.*.hook_resid_post", &error)) goto done;
    if (psc_session_run(session, &input, 1, NULL, &error)) goto done;
    double off = largest_error(session, n_layers, &error);
    printf("largest relative error of a norm: %g\n", off);
    if (off < 1e-6)
        code = 0;
    else if (!error.message[0])
        psc_fail(&error, PSC_ERROR_PLUGIN, "the norms are wrong");
done:
    psc_session_close(&session);
    psc_free(tokens);
    psc_model_close(&model);
    return code ? fail(&error) : 0;
}
