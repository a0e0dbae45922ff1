/* The largest buffer that truly works, against what the driver claims. */
#include "doctor/check.h"
#include "engine/clock.h"

#include <stdio.h>
#include <string.h>

enum { END = 4096 };                                /* bytes that are tried at each place */
static const uint64_t ENOUGH = (uint64_t)256 << 20; /* bytes in one buffer: more than any preset asks for */
static const uint64_t LARGE = (uint64_t)1 << 30;    /* more says nothing about a CPU, and takes time */

static void fill(uint32_t words[END / 4], uint64_t place) {
  for (uint32_t i = 0; i < END / 4; i++) words[i] = (uint32_t)place * 2654435761u + i * 40503u + 1;
}

/* Whether a buffer of `bytes` can be had, and keeps what is written at both ends and in the middle. */
static duet_status try_buffer(const duet_handle *h, uint64_t bytes, duet_error *error) {
  const uint64_t places[] = {0, bytes / 2 / END * END, bytes - END};
  uint32_t words[END / 4], back[END / 4];
  duet_buffer *buffer = NULL;
  duet_status s = h->backend->alloc(h->device, (size_t)bytes, &buffer, error);
  for (size_t i = 0; !s && i < 3; i++) {
    fill(words, places[i]);
    s = h->backend->upload(h->device, buffer, (size_t)places[i], words, END, error);
  }
  for (size_t i = 0; !s && i < 3; i++) {
    s = h->backend->download(h->device, buffer, (size_t)places[i], back, END, error);
    fill(words, places[i]);
    if (!s && memcmp(words, back, END) != 0)
      s = duet_fail(error, DUET_FAILED,
                    "%s: in a buffer of %llu bytes, what was written at byte %llu does not come back",
                    h->backend->info(h->device)->id, (unsigned long long)bytes, (unsigned long long)places[i]);
  }
  h->backend->free(h->device, buffer);
  return s;
}

/* How much is tried, and why not more. A CPU's memory is the host's, a GPU's may be: the host must not be exhausted. */
typedef struct trial {
  uint64_t most;
  const char *why;
} trial;

static trial allowed(const doctor_patient *p) {
  const duet_device_info *info = &p->info;
  const bool gpu = info->type == DUET_DEVICE_GPU;
  const uint64_t half = p->machine.memory_free / 2;
  trial t = {.most = info->max_allocation, .why = ""};
  if (!gpu && t.most > LARGE) t = (trial){LARGE, "it is the host's memory"};
  if ((!gpu || info->global_memory <= p->machine.memory) && t.most > half)
    t = (trial){half, "half of the host's free memory is the limit"};
  return t;
}

/* The largest that works, between one that does and one that does not, to a sixteenth. */
static duet_status search(const duet_handle *h, uint64_t top, uint64_t *works, duet_error *error) {
  uint64_t fails = top;
  duet_status s = DUET_OK;
  for (*works = 0; fails > 2 * END && *works == 0;) { /* halve until one works */
    s = try_buffer(h, fails / 2, error);
    if (s == DUET_FAILED || s == DUET_DEVICE_LOST) return s;
    if (s)
      fails /= 2;
    else
      *works = fails / 2;
  }
  for (; *works > 0 && fails - *works > *works / 16;) {
    const uint64_t middle = *works + (fails - *works) / 2;
    s = try_buffer(h, middle, error);
    if (s == DUET_FAILED || s == DUET_DEVICE_LOST) return s;
    *(s ? &fails : works) = middle;
  }
  return DUET_OK;
}

/* Tries t->most bytes, or LARGE where a buffer of that size says that more would take long. */
static duet_status try_quickly(const duet_handle *h, trial *t, duet_error *error) {
  const double started = duet_now();
  if (t->most <= LARGE) return try_buffer(h, t->most, error);
  const duet_status s = try_buffer(h, LARGE, error);
  if (!s && (duet_now() - started) * (double)t->most / (double)LARGE < 10) return try_buffer(h, t->most, error);
  *t = (trial){LARGE, "it would take long"};
  return s;
}

static void judge(const doctor_patient *p, trial t, uint64_t works, const char *refusal, doctor_finding *f) {
  char a[32], b[32];
  doctor_value(f, "bytes_claimed", (double)p->info.max_allocation);
  doctor_value(f, "bytes_tried", (double)t.most);
  doctor_value(f, "bytes_working", (double)works);
  (void)doctor_bytes((double)works, a);
  (void)doctor_bytes((double)p->info.max_allocation, b);
  if (works == p->info.max_allocation) {
    doctor_say(f, DOCTOR_OK, "a buffer of %s works, all that the driver claims", a);
  } else if (works == t.most) {
    doctor_say(f, DOCTOR_OK, "a buffer of %s works; more of the %s claimed was not tried: %s", a, b, t.why);
  } else {
    doctor_say(f, works >= ENOUGH || works >= p->info.max_allocation / 2 ? DOCTOR_HINT : DOCTOR_FAILED,
               "the driver claims %s in one buffer, but only %s works: %s", b, a, refusal);
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_memory);
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
  }
}

void doctor_check_memory(doctor_patient *p, size_t item, doctor_finding *f) {
  (void)item;
  trial t = allowed(p);
  uint64_t works = 0;
  duet_error error = {.text = ""}, reason;
  if (t.most < 4 * END) {
    doctor_say(f, DOCTOR_NOT_CHECKED, "the host has too little free memory to try");
    return;
  }
  duet_status s = try_quickly(&p->device, &t, &error);
  reason = error;
  if (!s) works = t.most;
  if (s && s != DUET_FAILED && s != DUET_DEVICE_LOST) s = search(&p->device, t.most, &works, &error);
  if (s) {
    doctor_say_error(f, &error);
    doctor_advise(f, &p->machine, DOCTOR_REMEDY_driver);
    return;
  }
  judge(p, t, works, reason.text, f);
}
