/* Named values of totals: N tokens, B bytes, W words, L nats, in w windows
 * with sums X and n tokens.
 *
 *   loss L/N;  bits_per_byte L/(B log 2);  perplexity exp(L/N), by word exp(L/W), by byte exp(L/B)
 *   standard error of a mean m = sum X/sum n over windows:
 *     sqrt(w/(w - 1) sum (X - m n)^2)/N, from the sums of X X, X n and n n
 *   in-context score  mean d;  standard error sqrt((mean d d - mean^2)/(w - 1)) */
#include "loss.h"

#include <math.h>
#include <stdio.h>

#define LOG_2 0.69314718055994530942

static double power(const loss_state *s, double x) {
    s->reductions->exp_f64(&x, &x, 1);
    return isinf(x) ? (double)NAN : x; /* null in results */
}

/* The perplexity of a mean loss as text: a number, "infinite" or "undefined". */
static const char *power_text(char out[32], const loss_state *s, double mean) {
    const double x = power(s, mean);
    if (!isfinite(x)) return isfinite(mean) ? "infinite" : "undefined";
    snprintf(out, 32, "%.4g", x);
    return out;
}

static double ratio(double a, double b) {
    return b > 0.0 ? a / b : (double)NAN;
}

int loss_is_compared(const loss_totals *t) {
    return t->counts[LOSS_WINDOWS] > 0.0 && t->counts[LOSS_COMPARED] == t->counts[LOSS_WINDOWS];
}

/* Of the mean of a measure, over windows. */
static double error_of(const loss_totals *t, int measure) {
    const double *x = t->sums + (ptrdiff_t)measure * LOSS_MOMENTS;
    const double w = t->counts[LOSS_WINDOWS], n = t->counts[LOSS_TOKENS];
    const double m = ratio(x[LOSS_SUM], n);
    const double squares =
        x[LOSS_SQUARE] - 2.0 * m * x[LOSS_WITH_TOKENS] + m * m * t->counts[LOSS_TOKENS_SQUARE];
    return w > 1.0 ? sqrt(fmax(squares, 0.0) * w / (w - 1.0)) / n : (double)NAN;
}

static double score_error(const loss_totals *t) {
    const double w = t->counts[LOSS_SCORES], m = ratio(t->sums[LOSS_SCORE], w);
    const double variance = t->sums[LOSS_SCORE_SQUARE] / w - m * m;
    return w > 1.0 ? sqrt(fmax(variance, 0.0) / (w - 1.0)) : (double)NAN;
}

/* " (standard error over windows 0.0123)", or nothing. */
static const char *error_text(char out[64], double error) {
    if (isnan(error))
        out[0] = 0;
    else
        snprintf(out, 64, " (standard error over windows %.4f)", error);
    return out;
}

static int put(loss_state *s, const char *name, double value) {
    return s->host->value_number(s->context, name, value);
}

static int put_counts(loss_state *s, const loss_totals *t) {
    return put(s, "windows_scored", t->counts[LOSS_WINDOWS]) ||
           put(s, "tokens_scored", t->counts[LOSS_TOKENS]) ||
           put(s, "bytes_scored", t->counts[LOSS_BYTES]) ||
           put(s, "words_begun", t->counts[LOSS_WORDS]);
}

static int put_loss(loss_state *s, const loss_totals *t) {
    const double nats = t->sums[LOSS_SUM], n = t->counts[LOSS_TOKENS];
    const double bytes = t->counts[LOSS_BYTES], words = t->counts[LOSS_WORDS];
    const double loss = ratio(nats, n), error = error_of(t, LOSS_OWN);
    const double bits = ratio(nats, bytes) / LOG_2;
    char line[400], of[64], power_of[2][32];
    if (put_counts(s, t) || put(s, "loss", loss) || put(s, "loss_error", error) ||
        put(s, "bits_per_byte", bits) || put(s, "perplexity", power(s, loss)) ||
        put(s, "perplexity_word", power(s, ratio(nats, words))) ||
        put(s, "perplexity_byte", power(s, ratio(nats, bytes))))
        return -1;
    if (n == 0.0)
        return s->host->summary_text(
            s->context, "No token is scored: a token needs one before it.");
    snprintf(line, sizeof line, "%.4f nats per token%s over %s token%s; perplexity %s.", loss,
        error_text(of, error), PSC_COMMAS(n), n == 1.0 ? "" : "s",
        power_text(power_of[0], s, loss));
    if (s->host->summary_text(s->context, line)) return -1;
    if (bytes == 0.0) return 0;
    snprintf(line, sizeof line,
        "%.4f bits per byte over %s bytes; perplexity by byte %s, by word %s (%s words).", bits,
        PSC_COMMAS(bytes), power_text(power_of[0], s, ratio(nats, bytes)),
        power_text(power_of[1], s, ratio(nats, words)), PSC_COMMAS(words));
    return s->host->summary_text(s->context, line);
}

static int put_change(loss_state *s, const loss_totals *t) {
    const double n = t->counts[LOSS_TOKENS], loss = ratio(t->sums[LOSS_SUM], n);
    const double change = ratio(t->sums[LOSS_CHANGE * LOSS_MOMENTS + LOSS_SUM], n);
    const double error = error_of(t, LOSS_CHANGE);
    char line[300], of[64];
    if (!loss_is_compared(t)) return 0;
    if (put(s, "loss_unchanged", loss - change) || put(s, "difference", change) ||
        put(s, "difference_error", error))
        return -1;
    snprintf(line, sizeof line,
        "The interventions change it by %+.4f nats per token%s, from %.4f without them.", change,
        error_text(of, error), loss - change);
    return s->host->summary_text(s->context, line);
}

static int put_score(loss_state *s, const loss_totals *t) {
    const double w = t->counts[LOSS_SCORES], score = ratio(t->sums[LOSS_SCORE], w);
    const double error = score_error(t);
    char line[300], of[64];
    if (put(s, "early", s->early) || put(s, "late", s->late) || put(s, "in_context_score", score) ||
        put(s, "in_context_score_error", error) || put(s, "in_context_windows", w))
        return -1;
    if (w == 0.0) return 0;
    snprintf(line, sizeof line,
        "In-context score %+.4f nats%s: the loss at position %d minus that at %d, in %s window%s.",
        score, error_text(of, error), (int)s->late, (int)s->early, PSC_COMMAS(w),
        w == 1.0 ? "" : "s");
    return s->host->summary_text(s->context, line);
}

int loss_figures(loss_state *s, const loss_totals *t) {
    return put_loss(s, t) || put_change(s, t) || put_score(s, t);
}
