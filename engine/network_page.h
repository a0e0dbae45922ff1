/* A trained network as a page that runs in a browser: draw a digit, choose a number, see what both heads say. Its
   parts are in engine/network_page/: draw.* is what one sees and draws on, network.js computes the network, picture.js
   makes of a drawing what datasets/picture.c makes of a PNG. */
#ifndef DUET_NETWORK_PAGE_H
#define DUET_NETWORK_PAGE_H

#include "engine/text.h"
#include "engine/train.h"

/* What a page is made of. */
typedef struct duet_network_page {
  const duet_network *network;
  const float *values;           /* [duet_parameters.total] */
  const duet_measured *measured; /* what is known of its accuracy */
} duet_network_page;

/* The page as text in `file`, which the caller frees: about 1.4 times the parameters' bytes. Errors: OUT_OF_MEMORY. */
duet_status duet_network_page_encode(const duet_network_page *page, duet_text *file, duet_error *error);

/* Writes the page as a file. Errors: IO besides. */
duet_status duet_network_page_write(const char *path, const duet_network_page *page, duet_error *error);

#endif
