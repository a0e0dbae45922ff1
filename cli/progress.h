/* What commands that take long show on stderr meanwhile, and how Ctrl-C ends them. */
#ifndef DUET_CLI_PROGRESS_H
#define DUET_CLI_PROGRESS_H

#include "bench/suite/run.h"

/* Whether there is a line that can be written anew. There are no colours, so $NO_COLOR changes nothing. */
bool cli_has_bar(void);
/* Clears the line and begins it with a bar: "[####    ] 3/10  ". */
void cli_bar_draw(size_t done, size_t total);
void cli_bar_clear(bool bar); /* where there is one */

/* From here on the first SIGINT or SIGTERM is a wish to stop, and the second ends the program. */
void cli_stop_catch(void);
bool cli_stop_wanted(void);

/* A listener that shows words and wants to stop with the program; `starting` and `row` are the command's. *bar outlives
   it. */
bench_listener cli_listener(bool *bar);

#endif
