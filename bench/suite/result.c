#include "bench/suite/result.h"

#include "engine/json.h"
#include "engine/registry.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

bench_result bench_result_new(void) {
  return (bench_result){.flops = NAN, .bytes = NAN, .per_second = NAN, .telemetry = bench_telemetry_none()};
}

void bench_result_clear(bench_result *r) {
  free(r->samples);
  free(r->curve);
  *r = bench_result_new();
}

void bench_result_fail(bench_result *r, duet_status status, const duet_error *error) {
  if (r->outcome == BENCH_OK) r->outcome = status == DUET_UNSUPPORTED ? BENCH_UNSUPPORTED : BENCH_ERROR;
  memcpy(r->reason, error->text, sizeof error->text);
}

static json_t *check_json(const bench_check *c) {
  if (!*c->what) return json_null();
  return json_pack("{s:s, s:s, s:o, s:f}", "against", "ref", "what", c->what, "worst", duet_json_real(c->worst),
                   "tolerance", c->tolerance);
}

static json_t *statistics_json(const bench_statistics *s, bench_stop stopped_by) {
  static const char *const stops[] = {"interval", "budget", "count"};
  json_t *interval = isnan(s->low) ? json_null() : json_pack("[f, f]", s->low, s->high);
  return json_pack("{s:f, s:f, s:o, s:f, s:o, s:o, s:s}", "median", s->median, "mad", s->mad, "interval", interval,
                   "mean", s->mean, "sd", duet_json_real(s->sd), "p99", duet_json_real(s->p99), "stopped_by",
                   stops[stopped_by]);
}

static json_t *work_json(const bench_result *r) {
  if (isnan(r->flops) && isnan(r->bytes)) return json_null();
  return json_pack("{s:o, s:o, s:o}", "flops", duet_json_real(r->flops), "bytes", duet_json_real(r->bytes),
                   "per_second", duet_json_real(r->per_second));
}

static void add_measured(json_t *row, const bench_result *r) {
  json_t *samples = json_array();
  for (size_t i = 0; i < r->sample_count; i++) (void)json_array_append_new(samples, json_real(r->samples[i]));
  (void)json_object_set_new(row, "samples", samples);
  (void)json_object_set_new(row, "statistics", statistics_json(&r->statistics, r->stopped_by));
  (void)json_object_set_new(row, "work", work_json(r));
  (void)json_object_set_new(row, "telemetry", bench_telemetry_json(&r->telemetry));
}

static void add_curve(json_t *row, const bench_result *r) {
  json_t *curve = json_array();
  for (size_t i = 0; i < r->point_count; i++) {
    const bench_point *p = &r->curve[i];
    (void)json_array_append_new(curve, json_pack("{s:i, s:f, s:f, s:f, s:f}", "seed", p->seed, "epoch", p->epoch,
                                                 "seconds", p->seconds, "digit", p->digit, "sum", p->sum));
  }
  (void)json_object_set_new(row, "curve", curve);
}

json_t *bench_result_json(const char *device, bench_group group, const bench_key *key, const bench_result *r) {
  static const char *const outcomes[] = {"ok", "unsupported", "skipped", "error"};
  json_t *row = json_pack("{s:s, s:s, s:s, s:O, s:s, s:s, s:s, s:o, s:f, s:o}", "device", device, "group",
                          bench_group_names[group], "name", key->name, "parameters", key->parameters, "unit", key->unit,
                          "better", key->lower_is_better ? "lower" : "higher", "status", outcomes[r->outcome], "reason",
                          r->outcome == BENCH_OK ? json_null() : duet_json_text(*r->reason ? r->reason : "unknown"),
                          "seconds", r->seconds, "check", check_json(&r->check));
  if (row && r->outcome == BENCH_OK) add_measured(row, r);
  if (row && r->point_count) add_curve(row, r);
  return row;
}

/* A device's note without the place of the kernel cache: results are for others. */
static json_t *note_json(const char *note) {
  char text[sizeof((duet_device_info *)0)->note];
  const char *cache = strstr(note, "kernel cache: ");
  size_t length = cache ? (size_t)(cache - note) : strlen(note);
  while (length > 0 && strchr("; ", note[length - 1])) length--;
  (void)snprintf(text, sizeof text, "%.*s", (int)length, note);
  return *text ? duet_json_text(text) : json_null();
}

json_t *bench_device_json(const duet_device_info *d, const char *kernel_class, const char *backend) {
  return json_pack("{s:s, s:s, s:o, s:o, s:o, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:s, s:o}", "id", d->id, "backend",
                   backend, "name", duet_json_text(d->name), "platform", duet_json_text(d->platform), "driver",
                   duet_json_text(d->driver), "type", duet_device_type_name(d->type), "compute_units",
                   (json_int_t)d->compute_units, "vector_width", (json_int_t)d->vector_width, "max_group",
                   (json_int_t)d->max_group, "local_memory_bytes", (json_int_t)d->local_memory, "global_memory_bytes",
                   (json_int_t)d->global_memory, "max_allocation_bytes", (json_int_t)d->max_allocation, "kernel_class",
                   kernel_class, "note", note_json(d->note));
}
