/* Values that JSON cannot hold as they are. */
#ifndef DUET_JSON_H
#define DUET_JSON_H

#include <jansson.h>

/* A text that somebody else wrote (a driver, a file): it need not be UTF-8, what JSON holds must be. Then other letters
   become '?', and at most 1,279 bytes are kept. NULL without memory. */
json_t *duet_json_text(const char *text);

/* A number, or null when it is none. NULL without memory. */
json_t *duet_json_real(double value);

#endif
