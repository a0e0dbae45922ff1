/* How failures are made of the status codes and the text of include/duet.h. */
#ifndef DUET_STATUS_H
#define DUET_STATUS_H

#include "include/duet.h"

/* Fills `error` (may be NULL) and returns `status`, so that a failure is one statement. A text that does not
   fit is cut. */
duet_status duet_fail(duet_error *error, duet_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__ /* clang-tidy cannot see in another file that this returns `status`, which is not OK */
#define duet_fail(error, status, ...) (duet_fail(error, status, __VA_ARGS__), status)
#endif

/* The program's exit status for a status. */
int duet_status_exit(duet_status status);

#endif
