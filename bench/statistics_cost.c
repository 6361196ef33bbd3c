/* Statistics of many elements over the examples of a set, against the products that define them.
 *
 *      statistics_cost [--elements 12800] [--examples 64] [--draws 10000] [--threads 0] [--rounds 3]
 *
 *   ratio = (time of all statistics per element) / (time of draws x counts x values, twice, per element)
 *
 * The denominator multiplies a draw's counts by the values of 16 elements, for as many draws as bootstrap
 * and sign vectors have; it is measured for 64 elements on one thread. Time is the process's processor
 * time; the wall time stands beside it. */
#include "bench.h"
#include "options.h"
#include "resampling.h"
#include "resampling_draws.h"

enum { LANES = 16, TILES = 4 };

static uint64_t enter(void) {
    return 0;
}

static void leave(uint64_t state) {
    (void)state;
}

static double *make_values(int64_t n) {
    double *values = calloc((size_t)n, sizeof *values);
    for (int64_t i = 0; i < n; i++) values[i] = (double)bench_token((int)i, 10007) / 10007.0 - 0.45;
    return values;
}

/* Seconds per element of the statistics; adds the wall time to *wall. */
static double statistics(int elements, int examples, int draws, psc_team *team, double *wall) {
    psc_error error;
    double *values = make_values((int64_t)elements * examples);
    double *all = calloc((size_t)elements * 7, sizeof *all);
    int64_t *n = calloc((size_t)elements, sizeof *n);
    const double **rows = calloc((size_t)examples, sizeof *rows);
    for (int i = 0; i < examples; i++) rows[i] = values + (int64_t)i * elements;
    double *of[7];
    for (int i = 0; i < 7; i++) of[i] = all + (int64_t)i * elements;
    const psc_resampled out = {n, of[0], of[1], of[2], of[3], of[4], of[5], of[6]};
    const psc_resampling how = {.draws = draws, .level = 0.95};
    const double start = bench_seconds(1), wall_start = bench_now();
    bench_check(psc_resample(&out, elements, examples, rows, &how, team, &error), &error);
    const double seconds = bench_seconds(1) - start;
    *wall += bench_now() - wall_start;
    free(values);
    free(all);
    free(n);
    free((void *)rows);
    return seconds / elements;
}

/* Seconds per element of counts times values; *sink keeps the compiler from leaving it out. */
static double products(int examples, int draws, double *sink) {
    double *values = make_values((int64_t)examples * LANES * TILES);
    double *weights = calloc((size_t)examples, sizeof *weights);
    const double start = bench_seconds(1);
    for (int d = 0; d < 2 * draws; d++) {
        psc_draw_counts(examples, weights, 0, d);
        for (int tile = 0; tile < TILES; tile++) {
            const double *v = values + (int64_t)tile * examples * LANES;
            double sum[LANES] = {0};
            for (int i = 0; i < examples; i++)
                for (int lane = 0; lane < LANES; lane++)
                    sum[lane] += weights[i] * v[i * LANES + lane];
            for (int lane = 0; lane < LANES; lane++) *sink += sum[lane];
        }
    }
    const double seconds = bench_seconds(1) - start;
    free(values);
    free(weights);
    return seconds / (LANES * TILES);
}

int main(int argc, char **argv) {
    int elements = 12800, examples = 64, draws = 10000, threads = 0, rounds = 3;
    const char *usage = "statistics_cost [options]", *none[1];
    const bench_option options[] = {{"--elements", "N", "of an example", NULL, &elements, 1},
        {"--examples", "N", "of the set", NULL, &examples, 2},
        {"--draws", "N", "of the bootstrap and of the signs", NULL, &draws, 1},
        {"--threads", "N", "0: two", NULL, &threads, 0}, {"--rounds", "N", "", NULL, &rounds, 1}};
    if (bench_options(argc, argv, usage, options, 5, none, 0) != 0)
        bench_refuse(usage, "it takes no argument");
    psc_error error;
    psc_team *team;
    bench_check(psc_team_open(&team, threads ? threads : 2, enter, leave, &error), &error);
    double *ratios = calloc((size_t)rounds, sizeof *ratios), sink = 0, wall = 0, seconds = 0;
    for (int r = 0; r < rounds; r++) {
        const double ours = statistics(elements, examples, draws, team, &wall);
        ratios[r] = ours / products(examples, draws, &sink);
        seconds += ours / rounds;
    }
    printf("%d elements of %d examples, %d draws: %.4f ms each, wall %.2f s in all\n", elements,
        examples, draws, 1e3 * seconds, wall / rounds);
    printf("ratio to the products %.3f, from %.3f to %.3f%s\n", bench_quantile(ratios, rounds, 0.5),
        bench_quantile(ratios, rounds, 0.0), bench_quantile(ratios, rounds, 1.0),
        sink == 1.0 ? "." : "");
    free(ratios);
    psc_team_close(&team);
    return 0;
}
