#include "engine/json.h"

#include <math.h>
#include <stddef.h>

json_t *duet_json_text(const char *text) {
  json_t *string = json_string(text);
  if (string) return string;
  char ascii[1280];
  size_t i = 0;
  for (; text[i] && i + 1 < sizeof ascii; i++) ascii[i] = (text[i] & 0x80) ? '?' : text[i];
  ascii[i] = 0;
  return json_string(ascii);
}

json_t *duet_json_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }
