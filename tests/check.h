/* Checks of calls that report to a `duet_error error` in scope. After cmocka.h. */
#ifndef DUET_TEST_CHECK_H
#define DUET_TEST_CHECK_H

#define OK(call)                                                  \
  do {                                                            \
    if ((call) != DUET_OK) fail_msg("%s: %s", #call, error.text); \
  } while (0)

/* `call` fails with `status` and an error text that holds `words`. */
#define REFUSED(status_wanted, words, call)                                          \
  do {                                                                               \
    error.text[0] = 0;                                                               \
    assert_int_equal(status_wanted, call);                                           \
    if (!strstr(error.text, words)) fail_msg("no \"%s\" in: %s", words, error.text); \
  } while (0)

#endif
