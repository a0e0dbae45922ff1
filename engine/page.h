/* Pages of HTML that need no other file and no network: page/page.html with style, contents, data and script put where
   it names them. A content security policy forbids every load and every script but the page's own. */
#ifndef DUET_PAGE_H
#define DUET_PAGE_H

#include "engine/embedded.h"
#include "engine/text.h"

#include <jansson.h>

/* Texts of the program itself, never of a file or a driver: only `data` may hold those, as JSON without <, > and &
   (duet_page_json), and other parts bytes in base64. The script finds data as `page.data`, beside the helpers of
   page/base.js, and calls page.ready(). */
typedef struct duet_page {
  const char *title, *style, *body, *script, *data;
} duet_page;

/* The text of the file `name`, or "". */
const char *duet_page_file(const duet_embedded_file *files, const char *name);

void duet_page_add(duet_text *text, const duet_page *page);

/* JSON that cannot end the script element it stands in, whatever its strings hold; numbers with 6 digits. A NULL value
   is a failed allocation, remembered by the text. */
void duet_page_json(duet_text *text, const json_t *value);

/* Bytes in base64: letters, digits, + / = alone. */
void duet_page_base64(duet_text *text, const void *data, size_t bytes);

/* "data:TYPE;base64,..." of bytes, as an attribute takes a picture. */
void duet_page_inline(duet_text *text, const char *type, const void *data, size_t bytes);

#endif
