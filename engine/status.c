#include "engine/status.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
  int exit_status;
  const char *text;
} statuses[] = {
#define DUET_STATUS_ROW(name, exit_status, text) {exit_status, text},
    DUET_STATUS_MAP(DUET_STATUS_ROW)
#undef DUET_STATUS_ROW
};

/* In parentheses because engine/status.h gives an analyser a macro of this name. */
duet_status(duet_fail)(duet_error *error, duet_status status, const char *format, ...) {
  if (error) {
    va_list arguments;
    va_start(arguments, format);
    error->status = status;
    (void)vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
  }
  return status;
}

const char *duet_status_text(duet_status status) {
  return status < sizeof statuses / sizeof *statuses ? statuses[status].text : "no status of this version";
}

int duet_status_exit(duet_status status) { return statuses[status].exit_status; }
