#include "cli/session.h"

#include <stdio.h>
#include <string.h>

duet_status cli_session_open(const cli_options *options, cli_session *session, duet_error *error) {
  duet_status s = duet_precision_parse(options->precision, &session->precision, error);
  if (!s) s = duet_device_open(options->device, &session->handle, error);
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

duet_status cli_session_load(const cli_options *options, bool train, cli_session *session, duet_error *error) {
  const char *directory = options->data ? options->data : duet_dataset_builtin();
  duet_status s = DUET_OK;
  if (train) s = duet_dataset_load(directory, DUET_SPLIT_TRAIN, &session->train_set, error);
  if (!s) s = duet_dataset_load(directory, DUET_SPLIT_TEST, &session->test_set, error);
  const duet_dataset *a = session->train_set, *b = session->test_set;
  if (!s && train && (a->height != b->height || a->width != b->width))
    s = duet_fail(error, DUET_BAD_INPUT, "%s: training images are %dx%d, test images %dx%d (they must be alike)",
                  directory, a->height, a->width, b->height, b->width);
  if (!s && train) s = duet_resident_create(&session->handle, a, &session->train, error);
  if (!s) s = duet_resident_create(&session->handle, b, &session->test, error);
  return s;
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
