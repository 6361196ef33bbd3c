/* A thread draws the bar four times per second, starting after the first second. So work that never
 * reports (loading) is shown too, and work that reports often pays little. */
#include "progress.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { FIRST_MS = 1000, EVERY_MS = 250, BAR_COLUMNS = 30 };

static struct {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    pthread_t thread;
    struct timespec start;
    double done;   /* negative: unknown */
    double base;   /* done at the first update, which excludes earlier work */
    char name[64]; /* of the checkpoint; "": none */
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

static void draw(struct timespec now) {
    fprintf(stderr, "\r\033[K%.90s ", bar.what);
    if (bar.done >= 0) {
        int full = (int)(bar.done * BAR_COLUMNS + 0.5);
        for (int i = 0; i < BAR_COLUMNS; i++) fputs(i < full ? "█" : "░", stderr);
        fprintf(stderr, " %3.0f %%", 100 * bar.done);
    }
    long seconds = (long)(now.tv_sec - bar.start.tv_sec);
    fprintf(stderr, " %ld s", seconds);
    if (bar.done > bar.base && bar.done < 1 && seconds > 4) {
        long left = (long)((double)seconds * (1 - bar.done) / (bar.done - bar.base));
        fprintf(stderr, ", %ld:%02ld:%02ld left", left / 3600, left / 60 % 60, left % 60);
    }
    fflush(stderr);
    bar.drawn = true;
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
    if (bar.drawn) fputs("\r\033[K", stderr);
    fflush(stderr);
    pthread_mutex_unlock(&bar.lock);
    return NULL;
}

static void set_what(const char *what) {
    snprintf(bar.what, sizeof bar.what, "%s%s%s", bar.name, *bar.name ? ": " : "", what);
}

void cli_progress_name(const char *name) {
    snprintf(bar.name, sizeof bar.name, "%s", name ? name : "");
}

/* Whether the sentence was printed before, for another name. Of very many the last are forgotten. */
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

void cli_progress_start(const char *what) {
    cli_progress_stop();
    if (!isatty(STDERR_FILENO)) return;
    bar.stop = bar.drawn = false;
    bar.done = bar.base = -1;
    set_what(what);
    clock_gettime(CLOCK_REALTIME, &bar.start);
    bar.running = pthread_create(&bar.thread, NULL, draw_loop, NULL) == 0;
}

int cli_progress_update(double done, const char *what, void *payload) {
    (void)payload;
    if (!bar.running) return 0;
    pthread_mutex_lock(&bar.lock);
    bar.done = done > 1 ? 1 : done;
    if (bar.base < 0) bar.base = bar.done;
    if (what && *what) set_what(what);
    pthread_mutex_unlock(&bar.lock);
    return 0;
}

void cli_progress_line(const char *sentence) {
    if (is_repeated(sentence)) return;
    if (bar.running) pthread_mutex_lock(&bar.lock);
    if (bar.running && bar.drawn) fputs("\r\033[K", stderr);
    if (sentence) fprintf(stderr, "pythiascope: %s\n", sentence);
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
