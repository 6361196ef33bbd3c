/* A thread draws the bar four times per second, starting after the first second. So work that never
 * reports (loading) is shown too, and work that reports often pays little. */
#include "progress.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "say.h"
#include "signals.h"

enum { FIRST_MS = 1000, EVERY_MS = 250, BAR_COLUMNS = 30, LEAST_COLUMNS = 5 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    struct timespec start;
    double done;           /* negative: unknown */
    double base;           /* done at the stage's first update, which excludes earlier work */
    struct timespec stage; /* when it began: a stage ends where done falls */
    char name[64];         /* of the checkpoint; "": none */
    char what[136];
    bool running, stop, drawn;
} bar = {.lock = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER};

static struct timespec later(struct timespec time, long ms) {
    time.tv_sec += ms / 1000;
    time.tv_nsec += ms % 1000 * 1000000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

/* "0:07", "12:30", "3:05:00" */
static void clock_text(char out[32], double seconds) {
    const long s = (long)seconds;
    if (s >= 3600)
        snprintf(out, 32, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "%ld:%02ld", s / 60, s % 60);
}

static double seconds_between(struct timespec from, struct timespec to) {
    return (double)(to.tv_sec - from.tv_sec) + 1e-9 * (double)(to.tv_nsec - from.tv_nsec);
}

static int columns(void) {
    struct winsize size;
    const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

/* " 45 %, 1:05 elapsed, 0:50 left" */
static void times_text(char out[120], struct timespec now) {
    char elapsed[32], left[32], percent[16] = "";
    const double here = seconds_between(bar.stage, now), gone = bar.done - bar.base;
    clock_text(elapsed, seconds_between(bar.start, now));
    if (bar.done >= 0) snprintf(percent, sizeof percent, " %.0f %%,", 100 * bar.done);
    const bool known = bar.done >= 0 && gone > 0 && bar.done < 1 && here > 2;
    if (known) clock_text(left, here * (1 - bar.done) / gone);
    snprintf(out, 120, "%s %s elapsed%s%s%s", percent, elapsed, known ? ", " : "",
        known ? left : "", known ? " left" : "");
}

/* The first bytes of the text that are whole characters; at most n. */
static int cut(const char *text, int n) {
    const int length = (int)strlen(text);
    if (length <= n) return length;
    while (n > 0 && ((unsigned char)text[n] & 0xc0) == 0x80) n--;
    return n > 0 ? n : 0;
}

/* What, a bar, and times, in one line of the terminal: a narrow one has a shorter bar, then
 * none, then a shorter text. */
static void draw(struct timespec now) {
    char times[120];
    times_text(times, now);
    const int room = columns() - 1 - (int)strlen(times), what = cut(bar.what, room);
    int cells = room - what - 1;
    if (cells > BAR_COLUMNS) cells = BAR_COLUMNS;
    if (!cli_signals_line_begin()) return;
    fprintf(stderr, "\r\033[K%.*s", what, bar.what);
    if (bar.done >= 0 && cells >= LEAST_COLUMNS) {
        const int full = (int)(bar.done * cells + 0.5);
        fputc(' ', stderr);
        for (int i = 0; i < cells; i++) fputs(i < full ? "█" : "░", stderr);
    }
    if (room >= 0) fputs(times, stderr);
    fflush(stderr);
    bar.drawn = true;
    cli_signals_line_end(true);
}

static void *draw_loop(void *unused) {
    (void)unused;
    pthread_mutex_lock(&bar.lock);
    struct timespec next = later(bar.start, FIRST_MS);
    while (!bar.stop) {
        struct timespec now;
        pthread_cond_timedwait(&bar.wake, &bar.lock, &next);
        clock_gettime(CLOCK_REALTIME, &now);
        bool due =
            now.tv_sec > next.tv_sec || (now.tv_sec == next.tv_sec && now.tv_nsec >= next.tv_nsec);
        if (bar.stop || !due) continue;
        draw(now);
        next = later(now, EVERY_MS);
    }
    if (bar.drawn && cli_signals_line_begin()) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        cli_signals_line_end(false);
    }
    pthread_mutex_unlock(&bar.lock);
    return NULL;
}

static void set_what(const char *what) {
    char text[sizeof bar.what];
    snprintf(text, sizeof text, "%s%s%s", bar.name, *bar.name ? ": " : "", what);
    psc_report_escape(bar.what, sizeof bar.what, text, strlen(text));
}

void cli_progress_name(const char *name) {
    snprintf(bar.name, sizeof bar.name, "%s", name ? name : "");
}

/* Whether the sentence was printed before, for another name. Of very many
 * the last are forgotten. */
static bool is_repeated(const char *sentence) {
    enum { MOST = 64 };
    static uint64_t seen[MOST];
    static int n;
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    if (!*bar.name) return false;
    for (const char *c = sentence; *c; c++) hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    for (int i = 0; i < n; i++)
        if (seen[i] == hash) return true;
    if (n < MOST) seen[n++] = hash;
    return false;
}

static bool muted;

void cli_progress_mute(void) {
    muted = true;
}

void cli_progress_start(const char *what) {
    cli_progress_stop();
    if (muted || !isatty(STDERR_FILENO)) return;
    bar.stop = bar.drawn = false;
    bar.done = bar.base = -1;
    set_what(what);
    clock_gettime(CLOCK_REALTIME, &bar.start);
    bar.stage = bar.start;
    sigset_t before;
    cli_signals_block(&before); /* the thread leaves every signal to the main one */
    bar.running = pthread_create(&bar.thread, NULL, draw_loop, NULL) == 0;
    cli_signals_unblock(&before);
}

int cli_progress_update(double done, const char *what, void *payload) {
    (void)payload;
    if (!bar.running) return 0;
    pthread_mutex_lock(&bar.lock);
    if (!(done >= 0)) done = -1; /* unknown, such as NaN */
    if (bar.base < 0 || done < bar.done) {
        bar.base = done;
        clock_gettime(CLOCK_REALTIME, &bar.stage);
    }
    bar.done = done > 1 ? 1 : done;
    if (what && *what) set_what(what);
    pthread_mutex_unlock(&bar.lock);
    return 0;
}

void cli_progress_line(const char *sentence) {
    if (muted || is_repeated(sentence)) return;
    if (bar.running) pthread_mutex_lock(&bar.lock);
    if (bar.running && bar.drawn) fputs("\r\033[K", stderr);
    if (sentence) cli_say("%s", sentence);
    if (bar.running) pthread_mutex_unlock(&bar.lock);
}

void cli_progress_stop(void) {
    if (!bar.running) return;
    pthread_mutex_lock(&bar.lock);
    bar.stop = true;
    pthread_cond_signal(&bar.wake);
    pthread_mutex_unlock(&bar.lock);
    pthread_join(bar.thread, NULL);
    bar.running = false;
}
