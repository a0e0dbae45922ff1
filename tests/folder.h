/* A folder below /tmp that a test program has for itself, removed with all that is in it; fixtures of cmocka. */
#ifndef DUET_TEST_FOLDER_H
#define DUET_TEST_FOLDER_H

extern char test_folder[]; /* its path, once it is made */

int folder_make(void **state);
int folder_enter(void **state); /* makes it and goes there */
int folder_remove(void **state);

#endif
