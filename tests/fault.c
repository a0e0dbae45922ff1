#include "tests/fault.h"

static const duet_backend *inner;
static size_t calls, failing;
static duet_status planted;
static int alive;

void fault_wrap(duet_handle *handle, size_t n, duet_status status) {
  inner = handle->backend;
  handle->backend = &fault_backend;
  calls = 0, failing = n, planted = status, alive = 0;
}

size_t fault_calls(void) { return calls; }
int fault_alive(void) { return alive; }

#define FAIL_IF_DUE(call) \
  if (++calls == failing) return duet_fail(error, planted, "planted failure of call %zu, " call, calls)

/* Counts what a call that made something leaves behind. */
static duet_status made(duet_status status) {
  alive += status == DUET_OK;
  return status;
}

static const duet_device_info *fault_info(const duet_device *device) { return inner->info(device); }
static void fault_close(duet_device *device) { inner->close(device); }

static duet_status fault_alloc(duet_device *device, size_t bytes, duet_buffer **buffer, duet_error *error) {
  FAIL_IF_DUE("alloc");
  return made(inner->alloc(device, bytes, buffer, error));
}

static void fault_free(duet_device *device, duet_buffer *buffer) {
  alive -= buffer != NULL;
  inner->free(device, buffer);
}

static duet_status fault_upload(duet_device *device, duet_buffer *buffer, size_t offset, const void *data, size_t bytes,
                                duet_error *error) {
  FAIL_IF_DUE("upload");
  return inner->upload(device, buffer, offset, data, bytes, error);
}

static duet_status fault_download(duet_device *device, const duet_buffer *buffer, size_t offset, void *data,
                                  size_t bytes, duet_error *error) {
  FAIL_IF_DUE("download");
  return inner->download(device, buffer, offset, data, bytes, error);
}

static duet_status fault_build(duet_device *device, const duet_kernel_source *source, duet_kernel **kernel,
                               duet_error *error) {
  FAIL_IF_DUE("build");
  return made(inner->build(device, source, kernel, error));
}

static void fault_release(duet_device *device, duet_kernel *kernel) {
  alive -= kernel != NULL;
  inner->release(device, kernel);
}

static duet_status fault_launch(duet_device *device, const duet_launch *launch, duet_error *error) {
  FAIL_IF_DUE("launch");
  return inner->launch(device, launch, error);
}

static duet_status fault_gemm(duet_device *device, const duet_product *product, duet_error *error) {
  FAIL_IF_DUE("gemm");
  return inner->gemm(device, product, error);
}

static duet_status fault_record(duet_device *device, const duet_launch *launches, size_t count,
                                duet_recording **recording, duet_error *error) {
  FAIL_IF_DUE("record");
  return made(inner->record(device, launches, count, recording, error));
}

static void fault_forget(duet_device *device, duet_recording *recording) {
  alive -= recording != NULL;
  inner->forget(device, recording);
}

static duet_status fault_replay(duet_device *device, duet_recording *recording, size_t times, duet_ticket *ticket,
                                duet_error *error) {
  FAIL_IF_DUE("replay");
  return inner->replay(device, recording, times, ticket, error);
}

static duet_status fault_sync(duet_device *device, duet_ticket ticket, duet_error *error) {
  FAIL_IF_DUE("sync");
  return inner->sync(device, ticket, error);
}

/* `enumerate` and `open` come before there is a device to wrap; `elapsed` is optional. */
const duet_backend fault_backend = {.version = DUET_BACKEND_VERSION,
                                    .name = "fault",
                                    .close = fault_close,
                                    .info = fault_info,
                                    .alloc = fault_alloc,
                                    .free = fault_free,
                                    .upload = fault_upload,
                                    .download = fault_download,
                                    .build = fault_build,
                                    .release = fault_release,
                                    .launch = fault_launch,
                                    .gemm = fault_gemm,
                                    .record = fault_record,
                                    .forget = fault_forget,
                                    .replay = fault_replay,
                                    .sync = fault_sync};
