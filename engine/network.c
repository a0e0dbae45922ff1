/* Networks by name, file or text. */
#include "engine/network.h"

#include "engine/embedded.h"
#include "engine/network_text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE = 1 << 20 };

const char *const duet_network_presets[] = {"fast", "best", "reference", "add", "mlp", NULL};

const char *duet_network_preset(const char *name) {
  char file[64];
  const int length = snprintf(file, sizeof file, "%s.net", name);
  return length < (int)sizeof file ? duet_embedded_find(duet_embedded_files, file) : NULL;
}

/* "nets/small.net" -> "small". It goes into files that hold UTF-8: what is not ASCII becomes '_', as a cut could fall
 * inside of a character. */
static void set_name(duet_network *network, const char *name) {
  const char *slash = strrchr(name, '/');
  (void)snprintf(network->name, sizeof network->name, "%s", slash ? slash + 1 : name);
  char *suffix = strrchr(network->name, '.');
  if (suffix && suffix != network->name) *suffix = '\0';
  for (char *c = network->name; *c; c++)
    if (*c & 0x80 || *c < ' ' || *c == 0x7f) *c = '_';
}

duet_status duet_network_parse(const char *name, const char *text, int image_height, int image_width,
                               duet_network **network, duet_error *error) {
  if (image_height < 1 || image_height > DUET_MAX_IMAGE || image_width < 1 || image_width > DUET_MAX_IMAGE)
    return duet_fail(error, DUET_BAD_INPUT, "%s: pictures of %dx%d (1x1 to %dx%d)", name, image_height, image_width,
                     DUET_MAX_IMAGE, DUET_MAX_IMAGE);
  duet_source source = {.name = name, .text = text, .end = {text, 0, 1, 1}};
  duet_status status;
  duet_network *n = calloc(1, sizeof *n);
  if (!n || !(n->text = strdup(text))) {
    status = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for the network", name);
    goto fail;
  }
  set_name(n, name);
  if ((status = duet_source_read(&source, error))) goto fail;
  source.drafts[0].layer.shape = (duet_shape){1, image_height, image_width};
  source.drafts[1].layer.shape = (duet_shape){DUET_NUMBERS, 1, 1};
  if ((status = duet_source_connect(&source, n, error))) goto fail;
  free(source.drafts);
  *network = n;
  return DUET_OK;
fail:
  free(source.drafts);
  duet_network_destroy(n);
  return status;
}

/* A NUL would end the text unseen. */
static duet_status check_nul(const char *path, const char *text, size_t size, duet_error *error) {
  const char *nul = memchr(text, '\0', size);
  if (!nul) return DUET_OK;
  const char *line = text;
  int number = 1;
  for (const char *at = text; at < nul; at++) {
    if (*at != '\n') continue;
    line = at + 1;
    number++;
  }
  return duet_fail(error, DUET_BAD_INPUT, "%s:%d:%d: byte 0x00 (a network is plain text in ASCII)", path, number,
                   (int)(nul - line) + 1);
}

/* The text of a file, to be freed by the caller. */
static duet_status read_file(const char *path, char **text, duet_error *error) {
  duet_status status = DUET_OK;
  char *buffer = malloc(MAX_FILE + 2);
  FILE *file = buffer ? fopen(path, "rb") : NULL;
  if (!buffer) {
    status = duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory to read it", path);
  } else if (!file) {
    status = duet_fail(error, DUET_BAD_INPUT, "%s: %s (a network's file, or a preset's name without / and .net)", path,
                       strerror(errno));
  } else {
    size_t size = fread(buffer, 1, MAX_FILE + 1, file);
    buffer[size] = '\0';
    if (ferror(file))
      status = duet_fail(error, DUET_BAD_INPUT, "%s: %s (a network is a text file)", path, strerror(errno));
    else if (size > MAX_FILE)
      status = duet_fail(error, DUET_BAD_INPUT, "%s: larger than %d bytes (is it a network?)", path, MAX_FILE);
    else
      status = check_nul(path, buffer, size, error);
  }
  if (file) fclose(file);
  if (status) {
    free(buffer);
    buffer = NULL;
  }
  *text = buffer;
  return status;
}

static duet_status fail_unknown(const char *name, duet_error *error) {
  char presets[200] = "";
  for (int i = 0; duet_network_presets[i]; i++) {
    size_t used = strlen(presets);
    (void)snprintf(presets + used, sizeof presets - used, " %s", duet_network_presets[i]);
  }
  return duet_fail(error, DUET_BAD_INPUT, "%s: no such network (presets:%s; a file's name has a / or ends in .net)",
                   name, presets);
}

duet_status duet_network_load(const char *name, int image_height, int image_width, duet_network **network,
                              duet_error *error) {
  size_t length = strlen(name);
  if (!strchr(name, '/') && (length < 4 || strcmp(name + length - 4, ".net") != 0)) {
    const char *text = duet_network_preset(name);
    if (!text) return fail_unknown(name, error);
    return duet_network_parse(name, text, image_height, image_width, network, error);
  }
  char *text;
  duet_status status = read_file(name, &text, error);
  if (!status) status = duet_network_parse(name, text, image_height, image_width, network, error);
  free(text);
  return status;
}

double duet_network_flops(const duet_network *network, bool train) {
  double flops = 0;
  for (int i = 0; i < network->layer_count; i++)
    flops += network->layers[i].flops_forward + (train ? network->layers[i].flops_backward : 0);
  return flops;
}

void duet_network_destroy(duet_network *network) {
  if (!network) return;
  free(network->layers);
  free(network->text);
  free(network);
}
