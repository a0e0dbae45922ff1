#include "engine/page.h"

#include <stdlib.h>
#include <string.h>

const char *duet_page_file(const duet_embedded_file *files, const char *name) {
  const char *text = duet_embedded_find(files, name);
  return text ? text : "";
}

static const char *shared(const char *name) { return duet_page_file(duet_embedded_files, name); }

void duet_page_add(duet_text *text, const duet_page *page) {
  const struct {
    const char *name, *text;
  } parts[] = {{"title", page->title}, {"base.css", shared("base.css")}, {"style", page->style},  {"body", page->body},
               {"data", page->data},   {"base.js", shared("base.js")},   {"script", page->script}};
  for (const char *frame = shared("page.html"); *frame;) {
    const char *at = strchr(frame, '@'), *end = at ? strchr(at + 1, '@') : NULL;
    if (!end) {
      duet_text_append(text, frame, strlen(frame));
      return;
    }
    duet_text_append(text, frame, (size_t)(at - frame));
    const size_t length = (size_t)(end - at - 1);
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
      if (length == strlen(parts[i].name) && strncmp(at + 1, parts[i].name, length) == 0)
        duet_text_append(text, parts[i].text, strlen(parts[i].text));
    frame = end + 1;
  }
}

/* <, > and & stand in strings only, where an escape means the same. */
void duet_page_json(duet_text *text, const json_t *value) {
  char *dump = value ? json_dumps(value, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
  if (!dump) {
    text->failed = true;
    return;
  }
  for (const char *rest = dump; *rest;) {
    const size_t length = strcspn(rest, "<>&");
    duet_text_append(text, rest, length);
    rest += length;
    if (*rest) duet_text_add(text, "\\u%04x", (unsigned)(unsigned char)*rest++);
  }
  free(dump);
}

/* RFC 4648, section 4. */
void duet_page_base64(duet_text *text, const void *data, size_t bytes) {
  static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const unsigned char *from = data;
  for (size_t i = 0; i < bytes; i += 3) {
    const size_t left = bytes - i < 3 ? bytes - i : 3;
    unsigned word = 0;
    for (size_t k = 0; k < 3; k++) word = word << 8 | (k < left ? from[i + k] : 0u);
    char group[4];
    for (size_t k = 0; k < 4; k++) group[k] = '=';
    for (size_t k = 0; k <= left; k++) group[k] = letters[word >> (18 - 6 * k) & 63];
    duet_text_append(text, group, 4);
  }
}

void duet_page_inline(duet_text *text, const char *type, const void *data, size_t bytes) {
  duet_text_add(text, "data:%s;base64,", type);
  duet_page_base64(text, data, bytes);
}
