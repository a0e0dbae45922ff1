#include "cli/pictures.h"

#include "datasets/bytes.h"
#include "datasets/picture.h"
#include "engine/dataset.h"

#include <stdlib.h>
#include <string.h>

static void *grow(void *array, size_t needed, size_t *capacity, size_t size) {
  if (needed <= *capacity) return array;
  const size_t larger = needed > 2 * *capacity ? needed : 2 * *capacity;
  void *grown = realloc(array, larger * size);
  if (grown) *capacity = larger;
  return grown;
}

/* Space for one more row and, at the end of `images`, `images` more. NULL without memory. */
static cli_picture *add(cli_pictures *p, const char *path, size_t images) {
  cli_picture *list = grow(p->list, p->count + 1, &p->capacity, sizeof *list);
  if (list) p->list = list;
  const size_t bytes = (size_t)p->height * (size_t)p->width;
  uint8_t *all = grow(p->images, p->image_count + images, &p->image_capacity, bytes);
  if (all) p->images = all;
  if (!list || (images && !all)) return NULL;
  cli_picture *picture = &p->list[p->count++];
  *picture = (cli_picture){.path = path, .index = -1, .label = -1, .image = p->image_count};
  p->image_count += images;
  return picture;
}

static duet_status no_memory(duet_error *error) {
  return duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the pictures (name fewer, or use --count)");
}

static uint8_t *image_at(const cli_pictures *p, size_t image) {
  return p->images + image * (size_t)p->height * (size_t)p->width;
}

/* ---- one file ---- */

static duet_status read_png(const cli_options *o, const char *path, cli_pictures *p, duet_error *error) {
  const duet_invert invert = strcmp(o->invert, "yes") == 0  ? DUET_INVERT_YES
                             : strcmp(o->invert, "no") == 0 ? DUET_INVERT_NO
                                                            : DUET_INVERT_AUTO;
  uint8_t *image = malloc((size_t)p->height * (size_t)p->width);
  duet_picture *picture = NULL;
  duet_status s = image ? duet_png_read(path, &picture, error) : no_memory(error);
  if (!s) s = duet_picture_fit(picture, path, invert, p->height, p->width, image, error);
  if (!s) {
    const cli_picture *row = add(p, path, 1);
    if (row)
      memcpy(image_at(p, row->image), image, (size_t)p->height * (size_t)p->width);
    else
      s = no_memory(error);
  }
  duet_picture_destroy(picture);
  free(image);
  return s;
}

static duet_status read_idx(const cli_options *o, const char *path, cli_pictures *p, duet_error *error) {
  duet_dataset *data = NULL;
  duet_status s = duet_images_load(path, &data, error);
  if (s) return s;
  const size_t first = (size_t)o->first, rest = first < data->count ? data->count - first : 0;
  const size_t count = o->given[CLI_OPTION_count] && (size_t)o->count < rest ? (size_t)o->count : rest;
  if (data->height != p->height || data->width != p->width)
    s = duet_fail(error, DUET_BAD_INPUT, "%s: images of %dx%d, the network was made for %dx%d (give them as PNG)", path,
                  data->height, data->width, p->height, p->width);
  else if (!rest)
    s = duet_fail(error, DUET_BAD_INPUT, "%s: has images 0 to %zu (--first %zu is behind them)", path, data->count - 1,
                  first);
  const size_t bytes = (size_t)p->height * (size_t)p->width;
  for (size_t i = 0; !s && i < count; i++) {
    cli_picture *row = add(p, path, 1);
    if (!row) {
      s = no_memory(error);
      break;
    }
    row->index = (int64_t)(first + i);
    if (data->labels) row->label = data->labels[first + i];
    memcpy(image_at(p, row->image), data->images + (first + i) * bytes, bytes);
  }
  duet_dataset_destroy(data);
  return s;
}

/* What a file is, by its first bytes. */
static duet_status read_any(const cli_options *o, const char *path, cli_pictures *p, duet_error *error) {
  uint8_t start[4] = {0};
  size_t got = 0;
  duet_bytes *bytes = NULL;
  duet_status s = duet_bytes_open(path, &bytes, error);
  if (!s) s = duet_bytes_read(bytes, start, sizeof start, &got, error);
  duet_bytes_close(bytes);
  if (s) return s;
  if (memcmp(start, "\x89PNG", 4) == 0) return read_png(o, path, p, error);
  if (got == sizeof start && start[0] == 0 && start[1] == 0) return read_idx(o, path, p, error);
  return duet_fail(error, DUET_BAD_INPUT, "%s: byte 0: neither PNG nor IDX (%s)", path,
                   start[0] == 0xff && start[1] == 0xd8 ? "a JPEG: convert it to PNG" : "convert it to PNG");
}

duet_status cli_pictures_read(const cli_options *options, int height, int width, cli_pictures *p, duet_error *error) {
  *p = (cli_pictures){.height = height, .width = width};
  for (size_t i = 1; i < options->argument_count; i++) {
    const char *path = options->arguments[i];
    const duet_status s = read_any(options, path, p, error);
    if (!s) continue;
    if (s == DUET_OUT_OF_MEMORY) return s;
    (void)fprintf(stderr, "duet: %s\n", error->text);
    p->status = s;
    cli_picture *row = add(p, path, 0);
    if (!row || !(row->problem = strdup(error->text))) return no_memory(error);
  }
  return DUET_OK;
}

void cli_pictures_free(cli_pictures *p) {
  for (size_t i = 0; i < p->count; i++) free(p->list[i].problem);
  free(p->list);
  free(p->images);
}

const char *cli_picture_name(const cli_picture *picture, char text[CLI_PICTURE_NAME]) {
  const size_t length = strlen(picture->path), room = CLI_PICTURE_NAME - 28;
  const char *path = picture->path + (length > room ? length - room : 0);
  const char *cut = length > room ? "..." : "";
  if (picture->index < 0)
    (void)snprintf(text, CLI_PICTURE_NAME, "%s%s", cut, path);
  else
    (void)snprintf(text, CLI_PICTURE_NAME, "%s%s[%lld]", cut, path, (long long)picture->index);
  return text;
}
