/* A plugin that ends the process, or leaves a callback by a jump: do=, in the callback when=. */
#define _DEFAULT_SOURCE /* mkstemp, on glibc */
#include "psc_plugin.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
    DO_SEGV,
    DO_BUS,
    DO_FPE,
    DO_ILL,
    DO_ABORT,
    DO_EXIT,
    DO_THREAD_EXIT,
    DO_STACK,
    DO_JUMP,
    DO_OWN_SEGV,
    DO_OWN_EXIT,
    DO_WRITE
};
enum { IN_OPEN, IN_RUN_BEGIN, IN_EVENT, IN_PART, IN_RUN_END, IN_REPORT, IN_CLOSE };

static const char *const deeds[] = {"segv", "bus", "fpe", "ill", "abort", "exit", "thread_exit",
    "stack", "jump", "own_segv", "own_exit", "write", NULL};
static const char *const places[] = {
    "open", "run_begin", "event", "part", "run_end", "report", "close", NULL};

typedef struct faulty {
    int32_t deed, place;
    const psc_host *host;
} faulty;

static const psc_option_description options[] = {
    {"do", "segv", "what to do", PSC_OPTION_WORD, offsetof(faulty, deed), 0, 0, deeds},
    {"when", "run_end", "in which callback", PSC_OPTION_WORD, offsetof(faulty, place), 0, 0,
        places},
    {0},
};

static jmp_buf back;

static void use_no_memory(void) {
    volatile int *volatile nowhere = NULL;
    *nowhere = 1;
}

/* A page past the end of its file. */
static void use_cut_file(void) {
    char path[] = "/tmp/psc_faulty_XXXXXX";
    const int file = mkstemp(path);
    volatile char *page = mmap(NULL, 4096, PROT_READ, MAP_SHARED, file, 0);
    unlink(path);
    (void)page[0];
}

static int fill_stack(volatile char *before) {
    volatile char here[4096];
    memset((void *)here, before[0], sizeof here);
    return here[17] + fill_stack(here) + here[18];
}

static void *use_no_memory_there(void *payload) {
    use_no_memory();
    return payload;
}

static void *exit_there(void *payload) {
    (void)payload;
    exit(0);
}

static void in_thread(void *(*fn)(void *)) {
    pthread_t thread;
    if (pthread_create(&thread, NULL, fn, NULL) == 0) pthread_join(thread, NULL);
}

static void do_deed(int32_t deed) {
    volatile char start[1] = {1};
    if (deed == DO_SEGV) use_no_memory();
    if (deed == DO_BUS) use_cut_file();
    if (deed == DO_FPE) raise(SIGFPE);
    if (deed == DO_ILL) raise(SIGILL);
    if (deed == DO_ABORT) abort();
    if (deed == DO_EXIT) exit(0);
    if (deed == DO_THREAD_EXIT) pthread_exit(NULL);
    if (deed == DO_STACK) (void)fill_stack(start);
    if (deed == DO_JUMP) longjmp(back, 1);
    if (deed == DO_OWN_SEGV) in_thread(use_no_memory_there);
    if (deed == DO_OWN_EXIT) in_thread(exit_there);
}

static void act(const faulty *s, int32_t place) {
    if (s->place == place) do_deed(s->deed);
}

static int on_event(const psc_event *event, void *payload) {
    const faulty *s = payload;
    act(s, IN_EVENT);
    if (s->deed == DO_WRITE) event->tensor.data[0] += 1;
    return 0;
}

static void on_part(int64_t begin, int64_t end, int32_t thread, void *payload) {
    (void)thread;
    if (begin <= 999 && end > 999) act(payload, IN_PART);
}

static int faulty_open(psc_context *c, const psc_host *host, void **state) {
    faulty *s = *state = host->life_alloc(c, sizeof *s);
    if (!s || host->options(c, s)) return -1;
    s->host = host;
    act(s, IN_OPEN);
    return host->observe(c, PSC_HOOK_RESID_POST, NULL, on_event, s);
}

static int faulty_begin(psc_context *c, void *state) {
    (void)c;
    act(state, IN_RUN_BEGIN);
    return 0;
}

static int faulty_end(psc_context *c, void *state, int status) {
    const faulty *s = state;
    if (status != 0) return 0;
    if (setjmp(back) == 0) s->host->parallel_for(c, 1000, on_part, state);
    act(s, IN_RUN_END);
    return 0;
}

static int faulty_report(psc_context *c, void *state) {
    (void)c;
    act(state, IN_REPORT);
    return 0;
}

static void faulty_close(psc_context *c, void *state) {
    (void)c;
    act(state, IN_CLOSE);
}

static const psc_plugin plugin = {
    .abi = PSC_PLUGIN_ABI,
    .struct_size = sizeof plugin,
    .name = "faulty",
    .version = "1.0",
    .summary = "Ends the program.",
    .options = options,
    .open = faulty_open,
    .run_begin = faulty_begin,
    .run_end = faulty_end,
    .report = faulty_report,
    .close = faulty_close,
};

PSC_PLUGIN_EXPORT {
    return &plugin;
}
