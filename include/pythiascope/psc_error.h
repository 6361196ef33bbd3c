/* Status codes, error messages and element types.
 * Public. Every other public header includes it.
 * Threads: an error object belongs to one thread at a time; the calls are reentrant.
 * Ownership: the caller owns every psc_error; nothing here allocates. */
#ifndef PSC_ERROR_H
#define PSC_ERROR_H

#include <stdarg.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define PSC_API __attribute__((visibility("default")))
#define PSC_PRINTF(format_index, first) __attribute__((format(printf, format_index, first)))
#else
#define PSC_API
#define PSC_PRINTF(format_index, first)
#endif

/* Every fallible call returns 0 or one of these; the numbers never change. */
typedef enum psc_status {
    PSC_OK = 0,
    PSC_ERROR_INPUT = -1,    /* a file, field, option or argument is wrong */
    PSC_ERROR_IO = -2,       /* the system refused: open, read, write, rename */
    PSC_ERROR_MEMORY = -3,   /* not enough memory, or over a cap */
    PSC_ERROR_SUPPORT = -4,  /* well formed but not supported (an ISA, an architecture) */
    PSC_ERROR_PLUGIN = -5,   /* a plugin failed, broke a rule or has another ABI */
    PSC_ERROR_STATE = -6,    /* the call is not allowed at this time */
    PSC_ERROR_CANCELLED = -7 /* the caller asked to stop */
} psc_status;

/* One sentence: which file, field or value is wrong, and how. */
typedef struct psc_error {
    psc_status status;
    char message[1024]; /* UTF-8, ends with a 0 byte */
} psc_error;

/* Writes a message into error (nullable) and returns status. Control, invisible and reordering
 * characters, and bytes that are not UTF-8, are escaped: \n, \x1b, \u{202e}, \xff. A message that
 * is too long is truncated. */
PSC_API psc_status psc_fail(psc_error *error, psc_status status, const char *format, ...)
    PSC_PRINTF(3, 4);
#ifdef __clang_analyzer__ /* sees one source file at a time: what the call returns */
#define psc_fail(error, status, ...) (psc_fail(error, status, __VA_ARGS__), (status))
#endif
PSC_API psc_status psc_fail_va(
    psc_error *error, psc_status status, const char *format, va_list arguments);

/* Puts "prefix: " before error's message (error nullable), sets its status and returns it. */
PSC_API psc_status psc_error_prefix(psc_error *error, psc_status status, const char *prefix);

/* The type of an array's elements. */
typedef enum psc_element { PSC_F32 = 0, PSC_F64 = 1, PSC_I32 = 2 } psc_element;

#ifdef __cplusplus
}
#endif
#endif
