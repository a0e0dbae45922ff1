/* Status codes and the text of the last failure. One table; everything that names a status reads it. */
#ifndef DUET_STATUS_H
#define DUET_STATUS_H

/* X(name, exit status of the program, meaning) */
#define DUET_STATUS_MAP(X)                                          \
  X(OK, 0, "done")                                                  \
  X(FAILED, 1, "the run or a check failed")                         \
  X(USAGE, 2, "wrong usage")                                        \
  X(NO_DEVICE, 3, "no usable device")                               \
  X(BAD_INPUT, 4, "input is damaged, missing or of the wrong kind") \
  X(IO, 1, "a file could not be written")                           \
  X(OUT_OF_MEMORY, 1, "out of memory")                              \
  X(TOO_LARGE, 1, "more than the device allows")                    \
  X(UNSUPPORTED, 1, "not supported by this device or version")      \
  X(BUILD_FAILED, 1, "a kernel did not compile")                    \
  X(DEVICE_LOST, 1, "the device failed")                            \
  X(INTERRUPTED, 130, "interrupted")

typedef enum duet_status {
#define DUET_STATUS_ENUM(name, exit_status, text) DUET_##name,
  DUET_STATUS_MAP(DUET_STATUS_ENUM)
#undef DUET_STATUS_ENUM
} duet_status;

/* What went wrong, for a person: the thing, the place and the next step. Owned by the caller. */
typedef struct duet_error {
  duet_status status;
  char text[1024];
} duet_error;

/* Fills `error` (may be NULL) and returns `status`, so that a failure is one statement. A text that does not
   fit is cut. */
duet_status duet_fail(duet_error *error, duet_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#ifdef __clang_analyzer__ /* clang-tidy cannot see in another file that this returns `status`, which is not OK */
#define duet_fail(error, status, ...) (duet_fail(error, status, __VA_ARGS__), status)
#endif

/* The meaning of a status, and the program's exit status for it. */
const char *duet_status_text(duet_status status);
int duet_status_exit(duet_status status);

#endif
