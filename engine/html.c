#include "engine/html.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { NAME_SIZE = 32 };

/* ---- templates ---- */

static const char *find(const duet_embedded_file *files, const char *name) {
  for (; files->name; files++)
    if (strcmp(files->name, name) == 0) return files->text;
  return NULL;
}

void duet_html_fill(duet_text *text, const duet_embedded_file *files, const char *page, duet_html_put *put,
                    const void *context) {
  const char *at = find(files, page);
  while (at && *at) {
    const size_t plain = strcspn(at, "@");
    duet_text_append(text, at, plain);
    if (!at[plain]) return;
    const char *begin = at + plain + 1;
    const size_t length = strcspn(begin, "@");
    char name[NAME_SIZE] = "";
    if (length < sizeof name) memcpy(name, begin, length);
    const char *file = find(files, name);
    if (file)
      duet_text_append(text, file, strlen(file));
    else
      put(text, name, context);
    at = begin + length + (begin[length] == '@');
  }
}

/* ---- data ---- */

void duet_html_json(duet_text *text, const json_t *value) {
  char *json = value ? json_dumps(value, JSON_COMPACT | JSON_ENSURE_ASCII) : NULL;
  if (!json) text->failed = true;
  for (const char *at = json; at && *at;) { /* these letters can only be inside of strings */
    const size_t plain = strcspn(at, "<>&");
    duet_text_append(text, at, plain);
    at += plain;
    if (*at) duet_text_add(text, "\\u%04x", (unsigned)*at++);
  }
  free(json);
}

void duet_html_base64(duet_text *text, const void *data, size_t bytes) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const uint8_t *from = data;
  for (size_t i = 0; i < bytes; i += 3) {
    const size_t there = bytes - i < 3 ? bytes - i : 3;
    const uint32_t word =
        (uint32_t)from[i] << 16 | (there > 1 ? (uint32_t)from[i + 1] << 8 : 0) | (there > 2 ? from[i + 2] : 0);
    const char four[] = {letters[word >> 18], letters[word >> 12 & 63], there > 1 ? letters[word >> 6 & 63] : '=',
                         there > 2 ? letters[word & 63] : '='};
    duet_text_append(text, four, sizeof four);
  }
}
