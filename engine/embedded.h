/* Files that travel inside the library: kernel templates, preset networks, a page (written by cmake/embed.cmake). */
#ifndef DUET_EMBEDDED_H
#define DUET_EMBEDDED_H

typedef struct duet_embedded_file {
  const char *name; /* "conv.cl", "fast.net" */
  const char *text;
} duet_embedded_file;

extern const duet_embedded_file duet_embedded_files[]; /* ends with a NULL name */

/* The text of the file `name`; NULL when there is none. */
const char *duet_embedded_find(const duet_embedded_file *files, const char *name);

#endif
