/* A child of `duet tune` that measures nothing, and says what the environment wants:

   TEST_GAIN=N           every layer gains N percent
   TEST_MEANWHILE=FILE   the record becomes FILE while a layer is measured
   TEST_PAUSE=1          measuring a layer takes a moment
   TEST_MUMBLES=1        a layer's child dies of a candidate, with words cut amid a character
   TEST_GPU=1            there are groups to choose, and a library with parameters
   TEST_LIBRARY=lost     ... one of which the device is lost by, or which fails by itself (fails)
   TEST_GUILTY=KEY       the whole step is wrong with this entry: that is found when all is checked together
   TEST_DIES=KEY|RULE    the child dies of this entry, or of the rule's step
   TEST_DROP=KEY|ALL     the step is slower with this entry, or with all of them together */
#ifndef DUET_TEST_TUNECHILD_H
#define DUET_TEST_TUNECHILD_H

#include <jansson.h>

/* Does what the arguments ask for, and returns the exit status. */
int tunechild_work(int argc, char **argv);

extern const char tunechild_step[]; /* what names the whole step, as JSON */
json_t *tunechild_head(void);       /* of a record */
/* A layer as it is measured: who measured it is in `seconds`. */
json_t *tunechild_entry(const char *key, int gain, int who);

const char *tunechild_text(const json_t *object, const char *name); /* "": there is none */
json_t *tunechild_parsed(const char *text);
void tunechild_pause(long milliseconds);

#endif
