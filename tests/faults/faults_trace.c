/* Runs a program and makes its n-th system call fail, in any thread and wherever the
 * call comes from, the C library's inside included. Or it kills the program there.
 * README.md lists the options.
 *   a seccomp filter stops the chosen calls only, so that all others run at full speed;
 *   the calls count from the program's entry on: what the loader does before is not its concern;
 *   calls on the standard error never count: the program's sentences must arrive;
 *   in a build that counts branches, calls count until the counters' first file (.gcda) is opened, which
 *   is at the program's end: a fault there would destroy the counters of all runs before. */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "faults_calls.h"
#include "faults_errno.h"

#define SKIPPED 77 /* as CTest knows it: this machine does not allow tracing */

typedef enum { FAIL, SHORTEN, KILL, TEAR } fault_kind;

/* A call that had to run, whose end changes. */
typedef struct {
    pid_t thread; /* 0: none */
    const psc_fault_call *call;
    struct user_regs_struct asked; /* the registers before it */
} ending;

typedef struct {
    bool chosen[PSC_N_FAULT_CALLS];
    long at;      /* the call that fails; 0: none */
    bool goes_on; /* from it on */
    fault_kind kind;
    int number;       /* of errno */
    const char *only; /* a part of the path that a call must have; null: any */
    FILE *log;        /* null: none */
    const char *count_path, *where_path;
    char **command;

    pid_t program;
    uint64_t entry;
    long saved_word;
    bool armed, is_over;
    long counted;
    ending endings[16];
    int status; /* of the program */
} trace;

static int refuse(const char *what) {
    fprintf(stderr, "faults_trace: %s\n", what);
    return 2;
}

/* The thread's registers, by the machine. */
static void get_registers(pid_t thread, struct user_regs_struct *out) {
    struct iovec vector = {out, sizeof *out};
    ptrace(PTRACE_GETREGSET, thread, (void *)NT_PRSTATUS, &vector);
}

static void set_registers(pid_t thread, struct user_regs_struct *registers) {
    struct iovec vector = {registers, sizeof *registers};
    ptrace(PTRACE_SETREGSET, thread, (void *)NT_PRSTATUS, &vector);
}

#if defined(__x86_64__)
#define PC rip
#define BREAKPOINT 0xcc
#define BREAKPOINT_MASK 0xffL
#define BREAKPOINT_ADVANCE 1
#define RESULT rax
#define ARGUMENT(r, i) ((i) == 0 ? (r).rdi : (i) == 1 ? (r).rsi : (r).rdx)
#define SET_FIRST(r, value) ((r).rdi = (value))
#define SET_THIRD(r, value) ((r).rdx = (value))
#define RESTORE(r, asked) ((r).rdi = (asked).rdi, (r).rdx = (asked).rdx)
#define MACHINE AUDIT_ARCH_X86_64
static long number_of(pid_t thread, const struct user_regs_struct *r) {
    (void)thread;
    return (long)r->orig_rax;
}
static void skip_call(pid_t thread, struct user_regs_struct *r) {
    (void)thread;
    r->orig_rax = (unsigned long long)-1;
}
#elif defined(__aarch64__)
#define PC pc
#define BREAKPOINT 0xd4200000L
#define BREAKPOINT_MASK 0xffffffffL
#define BREAKPOINT_ADVANCE 0
#define RESULT regs[0]
#define ARGUMENT(r, i) ((r).regs[i])
#define SET_FIRST(r, value) ((r).regs[0] = (value))
#define SET_THIRD(r, value) ((r).regs[2] = (value))
#define RESTORE(r, asked) ((r).regs[2] = (asked).regs[2]) /* the first holds the result */
static long number_of(pid_t thread, const struct user_regs_struct *r) {
    (void)thread;
    return (long)r->regs[8];
}
static void skip_call(pid_t thread, struct user_regs_struct *r) {
    int none = -1;
    struct iovec vector = {&none, sizeof none};
    ptrace(PTRACE_SETREGSET, thread, (void *)NT_ARM_SYSTEM_CALL, &vector);
    (void)r;
}
#else
#error "faults_trace.c knows the registers of x86-64 and aarch64"
#endif

/* In the child: stops at the chosen calls, then runs the command. */
static void begin_program(const trace *t, int ready) {
    struct sock_filter filter[PSC_N_FAULT_CALLS * 2 + 2];
    unsigned short n = 0;
    char byte;
    filter[n++] =
        (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (int i = 0; i < PSC_N_FAULT_CALLS; i++) {
        if (!t->chosen[i]) continue;
        filter[n++] = (struct sock_filter)BPF_JUMP(
            BPF_JMP | BPF_JEQ | BPF_K, (unsigned)psc_fault_calls[i].number, 0, 1);
        filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRACE);
    }
    filter[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {n, filter};
    if (read(ready, &byte, 1) != 1) _exit(SKIPPED); /* the parent could not trace */
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0) != 0) {
        fprintf(stderr, "faults_trace: this machine does not allow a seccomp filter\n");
        _exit(SKIPPED);
    }
    close(ready);
    execvp(t->command[0], t->command);
    fprintf(stderr, "faults_trace: cannot run %s: %s\n", t->command[0], strerror(errno));
    _exit(127);
}

static uint64_t entry_of(pid_t program) {
    char path[64];
    uint64_t pair[2], entry = 0;
    snprintf(path, sizeof path, "/proc/%d/auxv", (int)program);
    FILE *file = fopen(path, "rb");
    if (!file) return 0;
    while (!entry && fread(pair, sizeof pair, 1, file) == 1)
        if (pair[0] == AT_ENTRY) entry = pair[1];
    fclose(file);
    return entry;
}

static void set_breakpoint(trace *t) {
    if (t->entry) return; /* a program that this one started */
    t->entry = entry_of(t->program);
    t->saved_word = ptrace(PTRACE_PEEKTEXT, t->program, (void *)t->entry, NULL);
    ptrace(PTRACE_POKETEXT, t->program, (void *)t->entry,
        (void *)((t->saved_word & ~BREAKPOINT_MASK) | BREAKPOINT));
}

/* True when the stop was the breakpoint at the program's entry. */
static bool passed_entry(trace *t, pid_t thread) {
    struct user_regs_struct registers;
    if (t->armed || thread != t->program) return false;
    get_registers(thread, &registers);
    if (registers.PC - BREAKPOINT_ADVANCE != t->entry) return false;
    registers.PC = t->entry;
    set_registers(thread, &registers);
    ptrace(PTRACE_POKETEXT, thread, (void *)t->entry, (void *)t->saved_word);
    t->armed = true;
    return true;
}

/* The path that a call names, by a pointer or a descriptor; "" for none. */
static void path_of_descriptor(char *out, size_t size, pid_t thread, uint64_t descriptor) {
    char link[64];
    snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)thread, (int)descriptor);
    const ssize_t n = readlink(link, out, size - 1);
    out[n < 0 ? 0 : n] = 0;
}

static void path_of(char *out, size_t size, pid_t thread, const psc_fault_call *call,
    const struct user_regs_struct *registers) {
    const uint64_t argument = ARGUMENT(*registers, call->path == '2' ? 1 : 0);
    out[0] = 0;
    if (call->path == '-') return;
    if (call->path != 'd') {
        struct iovec here = {out, size - 1}, there = {(void *)argument, size - 1};
        ssize_t n = process_vm_readv(thread, &here, 1, &there, 1, 0);
        if (n < 0) { /* the text ends near the end of its pages */
            here.iov_len = there.iov_len =
                4096 - argument % 4096 < size ? 4096 - argument % 4096 : 1;
            n = process_vm_readv(thread, &here, 1, &there, 1, 0);
        }
        out[n < 0 ? 0 : n] = 0;
    }
    if (!out[0] && call->path != '1') /* fstat is newfstatat of "" */
        path_of_descriptor(out, size, thread, ARGUMENT(*registers, 0));
}

static ending *ending_of(trace *t, pid_t thread) {
    for (int i = 0; i < 16; i++)
        if (t->endings[i].thread == thread) return &t->endings[i];
    return NULL;
}

static void write_where(const trace *t, const psc_fault_call *call, const char *path) {
    FILE *file = t->where_path ? fopen(t->where_path, "w") : NULL;
    if (!file) return;
    fprintf(file, "%s %s\n", call->name, path);
    fclose(file);
}

static bool ends_in(const char *text, const char *suffix) {
    const size_t n = strlen(text), m = strlen(suffix);
    return n >= m && strcmp(text + n - m, suffix) == 0;
}

/* A chosen call is about to run. Returns the request that lets the thread go on. */
static long on_call(trace *t, pid_t thread) {
    struct user_regs_struct registers;
    char path[512];
    if (!t->armed) return PTRACE_CONT;
    get_registers(thread, &registers);
    const psc_fault_call *call = psc_fault_call_of(number_of(thread, &registers));
    if (t->is_over || !call || (call->path == 'd' && ARGUMENT(registers, 0) == 2))
        return PTRACE_CONT;
    const bool names = call->path != '-' && call->path != 'd';
    if (names || t->log || t->only || t->where_path)
        path_of(path, sizeof path, thread, call, &registers);
    if (names && ends_in(path, ".gcda")) t->is_over = true;
    if (t->is_over || (t->only && !strstr(path, t->only))) return PTRACE_CONT;
    const long n = ++t->counted;
    if (t->log) fprintf(t->log, "%ld %s %s\n", n, call->name, path), fflush(t->log);
    if (!t->at || n < t->at || (n > t->at && !t->goes_on)) return PTRACE_CONT;
    if (n == t->at) write_where(t, call, path);
    if (t->kind == KILL) {
        kill(t->program, SIGKILL);
        return PTRACE_CONT;
    }
    if (t->kind == SHORTEN && !call->is_count) return PTRACE_CONT;
    const ending end = {thread, call, registers};
    bool runs = true;
    if (t->kind != FAIL) {
        if (call->is_count) SET_THIRD(registers, (ARGUMENT(registers, 2) + 1) / 2);
    } else if (strcmp(call->name, "brk") == 0) {
        SET_FIRST(registers, 0);                   /* it fails by answering where the break is */
    } else if (strcmp(call->name, "close") != 0) { /* a descriptor is gone whatever close returns */
        skip_call(thread, &registers);
        registers.RESULT = (uint64_t) - (int64_t)t->number;
        runs = false;
    }
    set_registers(thread, &registers);
    ending *slot = runs ? ending_of(t, 0) : NULL;
    if (!slot) return PTRACE_CONT;
    *slot = end;
    return PTRACE_SYSCALL;
}

/* A call that had to run ends. The kernel keeps all registers but the result. */
static void on_end(trace *t, pid_t thread) {
    struct user_regs_struct registers;
    ending *end = ending_of(t, thread);
    if (!end) return;
    end->thread = 0;
    if (t->kind == TEAR) {
        kill(t->program, SIGKILL);
        return;
    }
    get_registers(thread, &registers);
    RESTORE(registers, end->asked);
    if (strcmp(end->call->name, "close") == 0) registers.RESULT = (uint64_t) - (int64_t)t->number;
    set_registers(thread, &registers);
}

/* One stop of one thread. */
static void on_stop(trace *t, pid_t thread, int status) {
    const int signal_number = WSTOPSIG(status), event = status >> 16;
    long request = PTRACE_CONT, delivered = 0;
    if (event == PTRACE_EVENT_SECCOMP) {
        request = on_call(t, thread);
    } else if (event == PTRACE_EVENT_STOP) { /* a new thread, or a stop of all */
        if (signal_number != SIGTRAP) request = PTRACE_LISTEN;
    } else if (event == PTRACE_EVENT_EXEC) {
        set_breakpoint(t);
    } else if (event == 0 && signal_number == (SIGTRAP | 0x80)) {
        on_end(t, thread);
    } else if (event == 0 && !(signal_number == SIGTRAP && passed_entry(t, thread))) {
        delivered = signal_number;
    }
    ptrace(request, thread, NULL, (void *)delivered);
}

static int run(trace *t) {
    int ready[2], status;
    if (pipe(ready) != 0) return refuse("cannot make a pipe");
    t->program = fork();
    if (t->program < 0) return refuse("cannot start a process");
    if (t->program == 0) {
        close(ready[1]);
        begin_program(t, ready[0]);
    }
    close(ready[0]);
    const long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACESECCOMP | PTRACE_O_TRACECLONE |
                         PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK | PTRACE_O_TRACEEXEC |
                         PTRACE_O_EXITKILL;
    const bool traced = ptrace(PTRACE_SEIZE, t->program, NULL, (void *)options) == 0;
    if (!traced) fprintf(stderr, "faults_trace: this machine does not allow tracing\n");
    if (traced && write(ready[1], "", 1) != 1) return refuse("cannot start the program");
    close(ready[1]);
    for (pid_t thread; (thread = waitpid(-1, &status, __WALL)) > 0;) {
        if (WIFSTOPPED(status))
            on_stop(t, thread, status);
        else if (thread == t->program)
            t->status = status;
    }
    if (t->count_path) {
        FILE *file = fopen(t->count_path, "w");
        if (!file || fprintf(file, "%ld\n", t->counted) < 0 || fclose(file) != 0)
            return refuse("cannot write the count");
    }
    return WIFEXITED(t->status) ? WEXITSTATUS(t->status) : 128 + WTERMSIG(t->status);
}

static bool choose(trace *t, const char *list) {
    for (const char *at = list; *at;) {
        const size_t n = strcspn(at, ",");
        bool known = false;
        for (int i = 0; i < PSC_N_FAULT_CALLS; i++) {
            const char *name = psc_fault_calls[i].name;
            if ((n != 3 || strncmp(at, "all", 3) != 0) && (strncmp(at, name, n) != 0 || name[n]))
                continue;
            t->chosen[i] = known = true;
        }
        if (!known) return false;
        at += n + (at[n] == ',');
    }
    return true;
}

static bool set_kind(trace *t, const char *name) {
    t->kind = strcmp(name, "SHORT") == 0  ? SHORTEN
              : strcmp(name, "KILL") == 0 ? KILL
              : strcmp(name, "TEAR") == 0 ? TEAR
                                          : FAIL;
    if (t->kind == FAIL) t->number = psc_faults_errno(name);
    return t->kind != FAIL || t->number > 0;
}

int main(int argc, char **argv) {
    trace t = {.number = EIO};
    bool good = argc > 1;
    int i = 1;
    for (; good && i < argc && strcmp(argv[i], "--") != 0; i++) {
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (strcmp(argv[i], "--on") == 0) {
            t.goes_on = true;
            continue;
        }
        if (strcmp(argv[i], "--calls") == 0)
            good = choose(&t, value);
        else if (strcmp(argv[i], "--at") == 0)
            good = (t.at = strtol(value, NULL, 10)) > 0;
        else if (strcmp(argv[i], "--fault") == 0)
            good = set_kind(&t, value);
        else if (strcmp(argv[i], "--path") == 0)
            t.only = value;
        else if (strcmp(argv[i], "--count") == 0)
            t.count_path = value;
        else if (strcmp(argv[i], "--where") == 0)
            t.where_path = value;
        else if (strcmp(argv[i], "--log") == 0)
            good = (t.log = fopen(value, "we")) != NULL;
        else
            good = false;
        i++;
    }
    if (!good || i + 1 >= argc)
        return refuse("usage: faults_trace --calls LIST [--at N [--on]] [--fault NAME] "
                      "[--path PART] [--count FILE] [--log FILE] -- PROGRAM ARGUMENTS");
    t.command = argv + i + 1;
    return run(&t);
}
