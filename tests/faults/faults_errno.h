/* Names of errno as numbers, for the tools of this folder.
 * Private to faults_shim.c and faults_trace.c.
 * Threads: pure functions.
 * Ownership: none. */
#ifndef PSC_FAULTS_ERRNO_H
#define PSC_FAULTS_ERRNO_H

#include <errno.h>
#include <string.h>

/* -1 for SHORT, a count of fewer bytes than asked for; 0 for an unknown name. */
static inline int psc_faults_errno(const char *name) {
    static const struct {
        const char *name;
        int number;
    } known[] = {{"SHORT", -1}, {"EIO", EIO}, {"ENOSPC", ENOSPC}, {"EINTR", EINTR},
        {"EMFILE", EMFILE}, {"ENFILE", ENFILE}, {"ENOMEM", ENOMEM}, {"EACCES", EACCES},
        {"EPERM", EPERM}, {"EAGAIN", EAGAIN}, {"ENOENT", ENOENT}, {"ELOOP", ELOOP},
        {"EROFS", EROFS}, {"EDQUOT", EDQUOT}, {"EFBIG", EFBIG}, {"EPIPE", EPIPE}, {"EBADF", EBADF},
        {"EINVAL", EINVAL}, {"ENOLCK", ENOLCK}, {"ENOSYS", ENOSYS}, {"ENAMETOOLONG", ENAMETOOLONG},
        {"EEXIST", EEXIST}, {"EBUSY", EBUSY}, {"ENOTSUP", ENOTSUP}, {"ENODEV", ENODEV},
        {"EXDEV", EXDEV}, {"ESTALE", ESTALE}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strcmp(name, known[i].name) == 0) return known[i].number;
    return 0;
}

#endif
