/* Planned failures of calls, findings, and the report at the end of the process. */
#include "fakecuda.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <string>
#include <unistd.h>

namespace {

struct plan_row {
  std::string call;
  long when;
  int code;
};

std::vector<plan_row> parse(const char *text) {
  std::vector<plan_row> rows;
  for (const char *at = text; *at;) {
    char call[64];
    plan_row row;
    int length = 0;
    if (sscanf(at, "%63[A-Za-z]:%ld=%d%n", call, &row.when, &row.code, &length) != 3) {
      fprintf(stderr, "fakecuda: \"%s\": a planned failure is CALL:NUMBER=CODE\n", at);
      _exit(2);
    }
    row.call = call;
    rows.push_back(row);
    at += length;
    at += *at == ',';
  }
  return rows;
}

/* One for all three libraries; made at the first use and never destroyed, since others' destructors may report. */
struct state {
  std::vector<plan_row> plan = parse(fakecuda::setting("FAKECUDA_FAIL", ""));
  std::map<std::string, long> calls;
  std::map<std::string, int> alive;
  std::string failed; /* the call that last failed as planned */
  int findings = 0;
};

state &all() {
  static state *s = new state;
  return *s;
}

/* Ends a process that would say all is well when it is not. */
__attribute__((destructor)) void report_at_end() {
  for (const auto &[what, count] : all().alive)
    if (count > 0) fakecuda::finding("left behind at the end of the process: %d of %s", count, what.c_str());
  if (all().findings == 0) return;
  fflush(nullptr);
  _exit(99);
}

}  // namespace

namespace fakecuda {

const char *setting(const char *name, const char *otherwise) {
  const char *value = getenv(name);
  return value && *value ? value : otherwise;
}

int due(const char *call) {
  const long of_this = ++all().calls[call], of_all = ++all().calls["any"];
  for (const plan_row &row : all().plan)
    if ((row.call == call && row.when == of_this) || (row.call == "any" && row.when == of_all)) {
      all().failed = call;
      return row.code;
    }
  return 0;
}

void finding(const char *format, ...) {
  char text[1024];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(text, sizeof text, format, arguments);
  va_end(arguments);
  all().findings++;
  fprintf(stderr, "fakecuda (CPU stand-in, not a GPU): %s\n", text);
}

void count_alive(const char *what, int change) { all().alive[what] += change; }

}  // namespace fakecuda

/* ---- for tests, found by dlsym ---- */

/* Plans anew and counts from 0; the number of calls since the last time. */
extern "C" long fakecuda_plan(const char *plan) {
  const long calls = all().calls["any"];
  all().calls.clear();
  all().failed.clear();
  all().plan = parse(plan);
  return calls;
}

/* The call that failed as planned, or "". */
extern "C" const char *fakecuda_failed() { return all().failed.c_str(); }

/* Objects that the caller has not given back. */
extern "C" int fakecuda_alive() {
  int sum = 0;
  for (const auto &row : all().alive) sum += row.second;
  return sum;
}
