/* The pictures that `duet predict` is given, in the form that a network takes. */
#ifndef DUET_CLI_PICTURES_H
#define DUET_CLI_PICTURES_H

#include "cli/options.h"

#include <stdio.h>

/* One picture, or what was wrong with a file. */
typedef struct cli_picture {
  const char *path; /* borrowed from the options */
  int64_t index;    /* in an IDX file; -1: the file is one picture */
  int label;        /* -1: unknown */
  char *problem;    /* NULL: none; otherwise the text, and there is no image */
  size_t image;     /* its number in `images` */
} cli_picture;

typedef struct cli_pictures {
  int height, width;
  cli_picture *list; /* [count], in the order of the command line */
  size_t count, capacity;
  uint8_t *images; /* [image_count][height][width] */
  size_t image_count, image_capacity;
  duet_status status; /* of the worst file: OK, or what the program exits with */
} cli_pictures;

/* Reads all files that are named after the checkpoint. One that cannot be used is told on stderr and kept as a problem;
   the others are still read. Errors: OUT_OF_MEMORY. */
duet_status cli_pictures_read(const cli_options *options, int height, int width, cli_pictures *pictures,
                              duet_error *error);
void cli_pictures_free(cli_pictures *pictures); /* takes a zeroed one */

enum { CLI_PICTURE_NAME = 160 };
/* "seven.png", or "t10k-images-idx3-ubyte.gz[12]"; a long path is cut at its beginning. */
const char *cli_picture_name(const cli_picture *picture, char text[CLI_PICTURE_NAME]);

#endif
