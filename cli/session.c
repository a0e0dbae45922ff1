#include "cli/session.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

static duet_status open_device(const cli_options *options, cli_session *session, duet_error *error) {
  duet_status s = duet_device_open(options->device, &session->handle, error);
  if (s) return s;
  session->info = session->handle.backend->info(session->handle.device);
  if (strcmp(options->device, "auto") != 0) return DUET_OK;
  (void)fprintf(stderr, "device: %s, %s\n", session->info->id, session->info->name);
  if (strcmp(session->info->id, "ref") == 0)
    (void)fprintf(
        stderr,
        "duet: no OpenCL or CUDA device is usable: this is the plain C reference, slow (`duet devices` says why)\n");
  return DUET_OK;
}

/* The data sets, read by a thread. */
typedef struct reading {
  const char *directory;
  cli_data data;
  cli_session *session; /* only its sets are written */
  duet_status status;
  duet_error error;
} reading;

static void *read_data(void *context) {
  reading *r = context;
  duet_status s = DUET_OK;
  if (r->data == CLI_DATA_BOTH)
    s = duet_dataset_load(r->directory, DUET_SPLIT_TRAIN, &r->session->train_set, &r->error);
  if (!s && r->data != CLI_DATA_NONE)
    s = duet_dataset_load(r->directory, DUET_SPLIT_TEST, &r->session->test_set, &r->error);
  r->status = s;
  return NULL;
}

static duet_status upload_data(const reading *r, duet_error *error) {
  cli_session *session = r->session;
  const duet_dataset *a = session->train_set, *b = session->test_set;
  duet_status s = DUET_OK;
  if (a && (a->height != b->height || a->width != b->width))
    s = duet_fail(error, DUET_BAD_INPUT, "%s: training images are %dx%d, test images %dx%d (they must be alike)",
                  r->directory, a->height, a->width, b->height, b->width);
  if (!s && a) s = duet_resident_create(&session->handle, a, &session->train, error);
  if (!s && b) s = duet_resident_create(&session->handle, b, &session->test, error);
  return s;
}

duet_status cli_session_open(const cli_options *options, cli_data data, cli_session *session, duet_error *error) {
  reading r = {options->data ? options->data : duet_dataset_builtin(), data, session, DUET_OK, {0}};
  duet_status s = duet_precision_parse(options->precision, &session->precision, error);
  if (s) return s;
  pthread_t thread; /* reads while the driver starts: each takes a tenth of a second */
  const bool aside = data != CLI_DATA_NONE && pthread_create(&thread, NULL, read_data, &r) == 0;
  s = open_device(options, session, error);
  if (aside)
    (void)pthread_join(thread, NULL);
  else
    (void)read_data(&r);
  if (s) return s;
  if (session->precision == DUET_PRECISION_fp16 && session->info->type == DUET_DEVICE_CPU &&
      session->info->precisions & 1U << DUET_PRECISION_fp16 && !options->quiet)
    (void)fputs("duet: precision fp16 runs kernels made for GPUs: on a CPU fp32 is faster\n", stderr);
  if (r.status) *error = r.error;
  return r.status ? r.status : upload_data(&r, error);
}

void cli_session_close(cli_session *session) {
  duet_model_destroy(session->model);
  duet_resident_destroy(session->train);
  duet_resident_destroy(session->test);
  duet_network_destroy(session->network);
  duet_dataset_destroy(session->train_set);
  duet_dataset_destroy(session->test_set);
  duet_device_close(&session->handle);
}
