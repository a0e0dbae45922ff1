/* Short names of columns: the device, and as much more as tells it from the others. */
#include "bench/compare/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PART = 96 };

/* Names of devices without what tells nothing: "(R)", "(TM)", a frequency, repeated spaces. */
static void shorten(const char *name, char part[PART]) {
  static const char *const noise[] = {"(R)", "(TM)", "(r)", "(tm)", "Corporation", " CPU @", " Processor"};
  size_t length = 0;
  const char *c = name;
  while (*c && length < PART - 5) {
    size_t skip = 0;
    for (size_t i = 0; i < sizeof noise / sizeof *noise && !skip; i++)
      if (strncmp(c, noise[i], strlen(noise[i])) == 0) skip = strlen(noise[i]);
    if (skip == 0 && *c == ' ' && (length == 0 || part[length - 1] == ' ')) skip = 1;
    if (skip == 0) part[length++] = *c;
    c += skip ? skip : 1;
  }
  if (*c) { /* cut: not within a character */
    while (length > 0 && ((unsigned char)part[length - 1] & 0xc0) == 0x80) length--;
    while (length > 0 && (unsigned char)part[length - 1] >= 0xc0) length--;
  }
  while (length > 0 && part[length - 1] == ' ') length--;
  part[length] = 0;
  if (length == 0) (void)snprintf(part, PART, "unnamed");
}

static const char *base_name(const char *path) {
  const char *slash = strrchr(path, '/');
  return slash ? slash + 1 : path;
}

/* What may tell two columns of the same device apart, the most telling first. */
typedef enum trait {
  PROGRAM,
  BACKEND,
  OPTIONS,
  PLATFORM,
  DRIVER,
  CPU,
  CORES,
  OS,
  DATE,
  NAME_OF_FILE,
  ID,
  TRAITS
} trait;

static void spell_trait(const duet_compare_column *column, trait which, char part[PART]) {
  const duet_compare_file *f = column->file;
  char made[2100] = "";
  const char *text = made;
  switch (which) {
    case BACKEND:
      text = column->device->backend;
      break;
    case PROGRAM:
      (void)snprintf(made, sizeof made, "%s %s", f->program, f->version);
      break;
    case OPTIONS:
      text = f->options;
      break;
    case PLATFORM:
      text = column->device->platform;
      break;
    case DRIVER:
      text = column->device->driver;
      break;
    case CPU:
      text = f->cpu;
      break;
    case CORES:
      (void)snprintf(made, sizeof made, "%.0f cores", f->cores);
      break;
    case OS:
      text = f->os;
      break;
    case DATE: /* 2026-11-21 09:00 */
      (void)snprintf(made, sizeof made, "%.10s %.5s", f->date, f->date + 11);
      break;
    case NAME_OF_FILE:
      (void)snprintf(made, sizeof made, "%.2000s", base_name(f->path));
      for (char *c = made; *c; c++)
        if ((unsigned char)*c < 0x20 || (unsigned char)*c >= 0x7f) *c = '?';
      break;
    default:
      text = column->device->id;
  }
  part[0] = 0;
  if (text && *text) shorten(text, part);
}

static bool extend(char **label, const char *part) {
  duet_text text = {0};
  duet_text_add(&text, "%s%s%s", *label ? *label : "", *label ? ", " : "", part);
  if (text.failed) {
    free(text.data);
    return false;
  }
  free(*label);
  *label = text.data;
  return true;
}

typedef struct labelled {
  duet_compare_column *column;
  char part[PART];
} labelled;

static int by_label(const void *a, const void *b) {
  const labelled *x = a, *y = b;
  const int order = strcmp(x->column->label, y->column->label);
  return order ? order : (x->column > y->column) - (x->column < y->column);
}

/* Adds a trait to all that share a label, where it differs among them. */
static bool tell_apart(labelled *list, size_t count, int which) {
  bool differ = false;
  for (size_t i = 0; i < count; i++) {
    if (which >= TRAITS)
      (void)snprintf(list[i].part, PART, "%zu", i + 1);
    else
      spell_trait(list[i].column, (trait)which, list[i].part);
    differ = differ || strcmp(list[i].part, list[0].part) != 0;
  }
  for (size_t i = 0; i < count && differ; i++)
    if (list[i].part[0] && !extend(&list[i].column->label, list[i].part)) return false;
  return true;
}

/* One round over all columns, sorted by label. */
static bool label_round(labelled *list, size_t count, int which) {
  qsort(list, count, sizeof *list, by_label);
  for (size_t i = 0, end; i < count; i = end) {
    for (end = i + 1; end < count && strcmp(list[end].column->label, list[i].column->label) == 0;) end++;
    if (end - i > 1 && !tell_apart(&list[i], end - i, which)) return false;
  }
  return true;
}

static bool label_all(duet_comparison *c, labelled *list) {
  for (size_t i = 0; i < c->column_count; i++) {
    char part[PART];
    list[i].column = &c->columns[i];
    shorten(c->columns[i].device->name, part);
    if (!extend(&c->columns[i].label, part)) return false;
  }
  /* In the end numbers, twice: a device may have been named like one that got its number. */
  for (int which = PROGRAM; which <= TRAITS + 1; which++)
    if (!label_round(list, c->column_count, which)) return false;
  return true;
}

duet_status duet_comparison_label(duet_comparison *comparison, duet_error *error) {
  labelled *list = calloc(comparison->column_count, sizeof *list);
  const bool done = list && label_all(comparison, list);
  free(list);
  return done ? DUET_OK : duet_fail(error, DUET_OUT_OF_MEMORY, "compare: no memory for labels");
}
