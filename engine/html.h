/* Pages of one file: a template of the library with style, scripts and data put where it names them. Data stand in
   script elements and cannot end them, whatever they hold. */
#ifndef DUET_HTML_H
#define DUET_HTML_H

#include "engine/embedded.h"
#include "engine/text.h"

#include <jansson.h>

/* Appends what the template calls `name`. */
typedef void duet_html_put(duet_text *text, const char *name, const void *context);

/* Appends the file `page` of `files`. Each @NAME@ in it, at most 31 letters, becomes the file NAME as it is, or what
   `put` appends for a name that is no file. */
void duet_html_fill(duet_text *text, const duet_embedded_file *files, const char *page, duet_html_put *put,
                    const void *context);

/* Appends JSON in ASCII without `<`, `>` and `&`. Fails like an allocation when `value` is NULL. */
void duet_html_json(duet_text *text, const json_t *value);

/* Appends bytes in base64 (RFC 4648, section 4). */
void duet_html_base64(duet_text *text, const void *data, size_t bytes);

#endif
