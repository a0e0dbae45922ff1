/* Group gemm: matrix products by the vendor's library. */
#include "bench/suite/measure.h"
#include "engine/clock.h"
#include "engine/random.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { CHECKED = 512 /* rows of the result, at most */, STREAM = 0x67656d6d /* of this file alone */ };
static const double CHECK_FLOPS = 1e9, TOLERANCE = 2e-5;

typedef struct product {
  const bench_job *job;
  const duet_handle *handle;
  duet_buffer *a, *b, *c; /* [m][k], [k][n], [m][n] */
  float *values[3];
} product;

static duet_status multiply(const product *p, duet_error *error) {
  const bench_job *j = p->job;
  const duet_product all = {
      .m = j->m, .n = j->n, .k = j->k, .a = {.buffer = p->a}, .b = {.buffer = p->b}, .c = {.buffer = p->c}};
  return p->handle->backend->gemm(p->handle->device, &all, error);
}

static duet_status run_products(void *context, size_t times, double *seconds, duet_error *error) {
  const product *p = context;
  const double started = duet_now();
  duet_status s = DUET_OK;
  for (size_t i = 0; !s && i < times; i++) s = multiply(p, error);
  if (!s) s = p->handle->backend->sync(p->handle->device, 0, error);
  *seconds = duet_now() - started;
  return s;
}

static duet_status prepare(product *p, duet_error *error) {
  const bench_job *j = p->job;
  const size_t sizes[] = {j->m * j->k, j->k * j->n, j->m * j->n};
  duet_buffer **const buffers[] = {&p->a, &p->b, &p->c};
  const duet_backend *backend = p->handle->backend;
  uint32_t words[4] = {0};
  duet_status s = DUET_OK;
  for (int i = 0; !s && i < 3; i++) {
    p->values[i] = malloc(sizes[i] * sizeof(float));
    if (!p->values[i]) return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu values", sizes[i]);
    s = backend->alloc(p->handle->device, sizes[i] * sizeof(float), buffers[i], error);
    for (size_t v = 0; i < 2 && v < sizes[i]; v++) {
      if (v % 4 == 0) duet_philox(1, (uint32_t)(v / 4), (uint32_t)i, 0, STREAM, words);
      p->values[i][v] = (float)words[v % 4] * 0x1p-31F - 1;
    }
    if (!s && i < 2)
      s = backend->upload(p->handle->device, *buffers[i], 0, p->values[i], sizes[i] * sizeof(float), error);
  }
  return s;
}

/* Some rows of the result against sums in double. */
static duet_status check(product *p, bench_check *c, duet_error *error) {
  const bench_job *j = p->job;
  duet_status s = multiply(p, error);
  if (!s)
    s = p->handle->backend->download(p->handle->device, p->c, 0, p->values[2], j->m * j->n * sizeof(float), error);
  float *wanted = s ? NULL : malloc(j->n * sizeof *wanted);
  if (!s && !wanted) s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for %zu values", j->n);
  if (s) return s;
  size_t rows = (size_t)fmin(fmax(CHECK_FLOPS / (2.0 * (double)j->n * (double)j->k), 1), CHECKED);
  if (rows > j->m) rows = j->m;
  (void)snprintf(c->what, sizeof c->what, "%zu of %zu rows of the product", rows, j->m);
  c->tolerance = TOLERANCE;
  for (size_t r = 0; r < rows; r++) {
    const size_t row = r * j->m / rows;
    for (size_t column = 0; column < j->n; column++) {
      double sum = 0;
      for (size_t i = 0; i < j->k; i++)
        sum += (double)p->values[0][row * j->k + i] * (double)p->values[1][i * j->n + column];
      wanted[column] = (float)sum;
    }
    bench_compare(wanted, p->values[2] + row * j->n, j->n, bench_root_mean_square(wanted, j->n), &c->worst);
  }
  free(wanted);
  return bench_check_passes(c, error);
}

duet_status bench_run_gemm(bench_rig *rig, const bench_job *job, bench_result *results, duet_error *error) {
  if (!rig->handle.backend->gemm)
    return duet_fail(error, DUET_UNSUPPORTED, "%s: the backend has no library for products", rig->info->id);
  product p = {.job = job, .handle = &rig->handle};
  bench_result *r = &results[0];
  duet_status s = prepare(&p, error);
  if (!s) s = check(&p, &r->check, error);
  if (!s) {
    r->flops = job->flops;
    r->bytes = 4.0 * ((double)(job->m * job->k) + (double)(job->k * job->n) + (double)(job->m * job->n));
    const bench_load load = {.context = &p, .run = run_products, .most = SIZE_MAX, .amount = job->flops};
    s = bench_measure(rig, &load, job->seconds, r, error);
  }
  duet_buffer *const buffers[] = {p.a, p.b, p.c};
  for (int i = 0; i < 3; i++) {
    rig->handle.backend->free(rig->handle.device, buffers[i]);
    free(p.values[i]);
  }
  return s;
}
