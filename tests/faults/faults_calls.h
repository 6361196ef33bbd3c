/* The system calls that faults_trace.c counts.
 * Private to faults_trace.c.
 * Threads: constants.
 * Ownership: none. */
#ifndef PSC_FAULTS_CALLS_H
#define PSC_FAULTS_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>

typedef struct {
    const char *name;
    long number;
    char path;     /* '1', '2': the argument that is a path; 'd': the first is a descriptor; '-' */
    bool is_count; /* the third argument is a count of bytes, and fewer is an answer */
} psc_fault_call;

static const psc_fault_call psc_fault_calls[] = {
    {"read", SYS_read, 'd', true},
    {"pread64", SYS_pread64, 'd', true},
    {"readv", SYS_readv, 'd', false},
    {"write", SYS_write, 'd', true},
    {"pwrite64", SYS_pwrite64, 'd', true},
    {"writev", SYS_writev, 'd', false},
    {"openat", SYS_openat, '2', false},
    {"close", SYS_close, 'd', false},
    {"lseek", SYS_lseek, 'd', false},
    {"fsync", SYS_fsync, 'd', false},
    {"fdatasync", SYS_fdatasync, 'd', false},
    {"ftruncate", SYS_ftruncate, 'd', false},
    {"flock", SYS_flock, 'd', false},
    {"fcntl", SYS_fcntl, 'd', false},
    {"ioctl", SYS_ioctl, 'd', false},
    {"fstat", SYS_fstat, 'd', false},
    {"newfstatat", SYS_newfstatat, '2', false},
    {"statx", SYS_statx, '2', false},
    {"statfs", SYS_statfs, '1', false},
    {"getdents64", SYS_getdents64, 'd', false},
    {"renameat", SYS_renameat, '2', false},
    {"renameat2", SYS_renameat2, '2', false},
    {"mkdirat", SYS_mkdirat, '2', false},
    {"unlinkat", SYS_unlinkat, '2', false},
    {"linkat", SYS_linkat, '2', false},
    {"symlinkat", SYS_symlinkat, '1', false},
    {"readlinkat", SYS_readlinkat, '2', false},
    {"fchmod", SYS_fchmod, 'd', false},
    {"fchmodat", SYS_fchmodat, '2', false},
    {"faccessat", SYS_faccessat, '2', false},
    {"utimensat", SYS_utimensat, '2', false},
    {"mmap", SYS_mmap, '-', false},
    {"munmap", SYS_munmap, '-', false},
    {"mremap", SYS_mremap, '-', false},
    {"mprotect", SYS_mprotect, '-', false},
    {"madvise", SYS_madvise, '-', false},
    {"brk", SYS_brk, '-', false},
    {"pipe2", SYS_pipe2, '-', false},
    {"clone", SYS_clone, '-', false},
    {"getrandom", SYS_getrandom, '-', false},
    {"sched_getaffinity", SYS_sched_getaffinity, '-', false},
    {"prlimit64", SYS_prlimit64, '-', false},
    {"socket", SYS_socket, '-', false},
    {"connect", SYS_connect, 'd', false},
    {"sendto", SYS_sendto, 'd', true},
    {"recvfrom", SYS_recvfrom, 'd', true},
    {"getcwd", SYS_getcwd, '-', false},
    {"clock_nanosleep", SYS_clock_nanosleep, '-', false},
    {"nanosleep", SYS_nanosleep, '-', false},
#ifdef SYS_clone3
    {"clone3", SYS_clone3, '-', false},
#endif
#ifdef SYS_faccessat2
    {"faccessat2", SYS_faccessat2, '2', false},
#endif
#ifdef SYS_open /* not on aarch64 */
    {"open", SYS_open, '1', false},
    {"creat", SYS_creat, '1', false},
    {"stat", SYS_stat, '1', false},
    {"lstat", SYS_lstat, '1', false},
    {"access", SYS_access, '1', false},
    {"rename", SYS_rename, '1', false},
    {"mkdir", SYS_mkdir, '1', false},
    {"rmdir", SYS_rmdir, '1', false},
    {"unlink", SYS_unlink, '1', false},
    {"link", SYS_link, '1', false},
    {"symlink", SYS_symlink, '1', false},
    {"readlink", SYS_readlink, '1', false},
    {"chmod", SYS_chmod, '1', false},
    {"pipe", SYS_pipe, '-', false},
    {"poll", SYS_poll, '-', false},
#endif
};

#define PSC_N_FAULT_CALLS ((int)(sizeof psc_fault_calls / sizeof *psc_fault_calls))

static inline const psc_fault_call *psc_fault_call_of(long number) {
    for (int i = 0; i < PSC_N_FAULT_CALLS; i++)
        if (psc_fault_calls[i].number == number) return &psc_fault_calls[i];
    return NULL;
}

#endif
