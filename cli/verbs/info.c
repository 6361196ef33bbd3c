/* info: what a model folder contains: config, identity, sizes, tokenizer and hook points. It reads
 * headers and writes nothing. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "prompt.h"
#include "report.h"

static const cli_option options[] = {
    {"load", 0, false, "",
        "read the weights, too, as other verbs do: shows the\n"
        "hash, and why weights are not cached"},
    CLI_CACHE_OPTIONS,
    {0},
};

typedef struct point_line {
    const char *shape; /* after [rows] */
    int layered;
} point_line;

static const point_line points[PSC_POINT_COUNT] = {
#define POINT_LINE(id, name, shape, layered) [id] = {shape, layered},
    PSC_POINTS(POINT_LINE)
#undef POINT_LINE
};

/* LayerNorms, the four projections with their biases, embedding and unembedding. */
static int64_t count_parameters(const psc_model_info *info) {
    int64_t n = info->d_model, heads = (int64_t)info->n_heads * info->d_head, m = info->d_mlp;
    int64_t attention = 3 * heads * (n + 1) + n * heads + n;
    int64_t mlp = m * (n + 1) + n * m + n;
    int64_t vocabulary = (info->tied ? 1 : 2) * (int64_t)info->d_vocab * n;
    return info->n_layers * (4 * n + attention + mlp) + 2 * n + vocabulary;
}

static void print_escaped(const char *text, const char *indent) {
    while (*text) {
        char shown[1024];
        size_t length = strcspn(text, "\n");
        psc_report_escape(shown, sizeof shown, text, length);
        printf("%s%s\n", indent, shown);
        text += length + (text[length] == '\n');
    }
}

/* One letter per axis, as in PSC_POINTS. */
static void print_shape(const char *shape, const psc_model_info *info) {
    printf("[rows");
    for (; *shape; shape++) {
#define AXIS(letter, member)                                                                       \
    if (*shape == letter) printf(", %d", info->member);
        PSC_AXES(AXIS)
#undef AXIS
        if (*shape == 'K') printf(", keys");
        if (*shape == '1') printf(", 1");
    }
    printf("]\n");
}

static void print_points(const psc_model_info *info) {
    printf("\nhook points (l from 0 to %d)\n", info->n_layers - 1);
    for (int i = 0; i < PSC_POINT_COUNT; i++) {
        char name[96];
        if (i == PSC_HOOK_RESID_MID && info->parallel_residual) continue;
        psc_point_name(name, sizeof name, (psc_point)i, -1);
        printf("  %-34s ", name);
        print_shape(points[i].shape, info);
    }
}

static int run_info(const cli_arguments *arguments) {
    psc_model *model = NULL;
    psc_error error = {0};
    const char *folder = arguments->n_operands ? arguments->operands[0] : NULL;
    const bool loads = cli_has(arguments, "load");
    if ((loads ? cli_open_model : cli_open_header)(&model, folder, &error)) return cli_fail(&error);
    const psc_model_info *info = psc_model_get_info(model);
    print_escaped(info->name, "");
    print_escaped(info->path, "  folder       ");
    if (info->hash[0])
        printf("  hash         %s (XXH3-128 of config and tensors)\n", info->hash);
    else
        printf("  hash         not known without reading the weights; --load reads them\n");
    print_escaped(psc_model_weights_text(model), "  weights      ");
    printf("  parameters   %" PRId64 "\n", count_parameters(info));
    printf("  layers       %d, %s residual\n", info->n_layers,
        info->parallel_residual ? "parallel" : "sequential");
    printf("  heads        %d of %d dimensions, rotary on the first %d\n", info->n_heads,
        info->d_head, info->rotary_dims);
    printf("  d_model      %d\n  d_mlp        %d\n", info->d_model, info->d_mlp);
    printf("  d_vocab      %d, %s unembedding\n", info->d_vocab, info->tied ? "tied" : "untied");
    printf("  context      %d\n", info->n_ctx);
    if (psc_model_has_tokenizer(model))
        printf("  tokenizer    %d entries\n", psc_model_tokenizer_size(model));
    else
        print_escaped(psc_model_tokenizer_reason(model), "  tokenizer    none: ");
    printf("\nconfig.json\n");
    print_escaped(psc_model_config_text(model), "  ");
    print_points(info);
    psc_model_close(&model);
    return CLI_OK;
}

const cli_verb cli_verb_info = {
    .name = "info",
    .summary = "Shows a model folder's config, identity, sizes, tokenizer and hook points.",
    .usage = "[MODEL] [options]",
    .notes =
        "MODEL is a folder, or a name like EleutherAI/pythia-160m@step3000; without it, info shows\n"
        "the embedded model.",
    .options = options,
    .max_operands = 1,
    .run = run_info,
};
