#include "cli/session.h"

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

duet_status cli_session_begin(const cli_options *options, cli_data data, cli_session *session, duet_error *error) {
  duet_loading *loading = &session->loading;
  duet_status s = duet_precision_parse(options->precision, &session->precision, error);
  if (s) return s;
  const duet_status read =
      duet_loading_begin(loading, options->data, data == CLI_DATA_BOTH, data != CLI_DATA_NONE, error);
  duet_error refused = read ? *error : (duet_error){0};
  s = open_device(options, session, error); /* a device that cannot be had is said first */
  if (s) return s;
  if (read) *error = refused;
  if (read) return read;
  if (session->precision == DUET_PRECISION_fp16 && session->info->type == DUET_DEVICE_CPU &&
      session->info->precisions & 1U << DUET_PRECISION_fp16 && !options->quiet)
    (void)fputs("duet: precision fp16 runs kernels made for GPUs: on a CPU fp32 is faster\n", stderr);
  s = duet_loading_place(loading, &session->handle, error);
  session->train_set = loading->sets[DUET_SPLIT_TRAIN];
  session->test_set = loading->sets[DUET_SPLIT_TEST];
  session->train = loading->residents[DUET_SPLIT_TRAIN];
  session->test = loading->residents[DUET_SPLIT_TEST];
  return s;
}

duet_status cli_session_open(const cli_options *options, cli_data data, cli_session *session, duet_error *error) {
  const duet_status s = cli_session_begin(options, data, session, error);
  return s ? s : duet_loading_end(&session->loading, error);
}

void cli_session_close(cli_session *session) {
  duet_model_destroy(session->model);
  duet_loading_close(&session->loading);
  duet_network_destroy(session->network);
  duet_device_close(&session->handle);
}
