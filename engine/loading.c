#include "engine/loading.h"

enum { SPLITS = 2 };

static void *read_pixels(void *context) {
  duet_loading *l = context;
  for (int i = 0; i < SPLITS; i++) {
    const duet_status s = duet_dataset_end(l->readings[i], !l->status, &l->error);
    l->readings[i] = NULL;
    if (!l->status) l->status = s;
  }
  return NULL;
}

static duet_status check_sizes(const duet_loading *l, const char *directory, duet_error *error) {
  const duet_dataset *a = l->sets[DUET_SPLIT_TRAIN], *b = l->sets[DUET_SPLIT_TEST];
  if (!a || !b || (a->height == b->height && a->width == b->width)) return DUET_OK;
  return duet_fail(error, DUET_BAD_INPUT, "%s: training images are %dx%d, test images %dx%d (they must be alike)",
                   directory, a->height, a->width, b->height, b->width);
}

duet_status duet_loading_begin(duet_loading *l, const char *directory, bool train, bool test, duet_error *error) {
  *l = (duet_loading){0};
  if (!directory) directory = duet_dataset_builtin();
  duet_status s = DUET_OK;
  if (train) s = duet_dataset_begin(directory, DUET_SPLIT_TRAIN, &l->sets[0], &l->readings[0], error);
  if (!s && test) s = duet_dataset_begin(directory, DUET_SPLIT_TEST, &l->sets[1], &l->readings[1], error);
  if (!s) s = check_sizes(l, directory, error);
  if (!s && (train || test)) l->aside = pthread_create(&l->thread, NULL, read_pixels, l) == 0;
  return s;
}

duet_status duet_loading_place(duet_loading *l, const duet_handle *handle, duet_error *error) {
  duet_status s = DUET_OK;
  for (int i = 0; !s && i < SPLITS; i++)
    if (l->sets[i]) s = duet_resident_reserve(handle, l->sets[i], &l->residents[i], error);
  return s;
}

static void wait_for_thread(duet_loading *l) {
  if (l->aside) (void)pthread_join(l->thread, NULL);
  l->aside = false;
}

duet_status duet_loading_end(duet_loading *l, duet_error *error) {
  duet_status s = DUET_OK;
  if (l->complete) return s;
  if (l->aside)
    wait_for_thread(l);
  else
    (void)read_pixels(l);
  if (l->status) {
    if (error) *error = l->error;
    return l->status;
  }
  for (int i = 0; !s && i < SPLITS; i++)
    if (l->residents[i]) s = duet_resident_fill(l->residents[i], l->sets[i], error);
  l->complete = !s;
  return s;
}

void duet_loading_close(duet_loading *l) {
  wait_for_thread(l);
  for (int i = 0; i < SPLITS; i++) {
    (void)duet_dataset_end(l->readings[i], false, NULL);
    duet_resident_destroy(l->residents[i]);
    duet_dataset_destroy(l->sets[i]);
  }
  *l = (duet_loading){0};
}
