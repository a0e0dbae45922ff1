/* Reads the lines NAME = OP INPUT... [KEY=VALUE...]. What a line may hold comes from ops.def and DUET_OPTION_MAP. */
#include "engine/network_text.h"

#include "engine/op.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 512, MAX_LAYERS = 1024, SHOWN = 40 /* characters of a word in a message */ };

#define WORD "%.*s"
#define WORD_ARG(word) ((word).length < SHOWN ? (word).length : SHOWN), (word).start

typedef enum option_type { TYPE_integer, TYPE_real, TYPE_target } option_type;

static const struct option {
  const char *name;
  option_type type;
  double smallest, largest, fallback;
  size_t offset; /* of the value in duet_options */
} option_table[] = {
#define OPTION(name, type, smallest, largest, fallback) \
  {#name, TYPE_##type, smallest, largest, fallback, offsetof(duet_options, name)},
    DUET_OPTION_MAP(OPTION)
#undef OPTION
};

enum { OPTIONS = sizeof option_table / sizeof option_table[0] };

static double *option_value(duet_options *options, int option) {
  return (double *)(void *)((char *)options + option_table[option].offset);
}

/* One line, being read. */
typedef struct cursor {
  const char *start, *at, *end;
  int line;
} cursor;

duet_status duet_source_fail(const duet_source *source, duet_word place, duet_error *error, const char *format, ...) {
  enum { NAME_SHOWN = 200 }; /* the end of a long path, so that the message stays whole */
  char what[700];
  va_list arguments;
  va_start(arguments, format);
  (void)vsnprintf(what, sizeof what, format, arguments);
  va_end(arguments);
  size_t length = strlen(source->name);
  const char *name = length > NAME_SHOWN ? source->name + length - NAME_SHOWN : source->name;
  return duet_fail(error, DUET_BAD_INPUT, "%s:%d:%d: %s", name, place.line, place.column, what);
}

duet_word duet_draft_place(const duet_draft *draft) {
  return (duet_word){draft->layer.name, (int)strlen(draft->layer.name), draft->layer.line, draft->layer.column};
}

bool duet_word_is(duet_word word, const char *text) {
  return strlen(text) == (size_t)word.length && memcmp(word.start, text, (size_t)word.length) == 0;
}

int duet_word_near(duet_word word) { return word.length / 2 + 1; }

/* Levenshtein's distance, by one row of its table. */
bool duet_word_nearer(duet_word word, const char *candidate, int *distance) {
  int row[DUET_NAME_SIZE];
  if (word.length >= DUET_NAME_SIZE) return false;
  for (int i = 0; i <= word.length; i++) row[i] = i;
  for (int j = 0; candidate[j]; j++) {
    int diagonal = row[0];
    row[0] = j + 1;
    for (int i = 1; i <= word.length; i++) {
      int replaced = diagonal + (word.start[i - 1] != candidate[j]);
      int shorter = row[i] < row[i - 1] ? row[i] + 1 : row[i - 1] + 1;
      diagonal = row[i];
      row[i] = replaced < shorter ? replaced : shorter;
    }
  }
  if (row[word.length] >= *distance) return false;
  *distance = row[word.length];
  return true;
}

static duet_word here(const cursor *c) { return (duet_word){c->at, 0, c->line, (int)(c->at - c->start) + 1}; }

/* The characters up to one of `stops`, after blanks; empty at the end of the line or at a comment. */
static duet_word next_word(cursor *c, const char *stops) {
  while (c->at < c->end && (*c->at == ' ' || *c->at == '\t')) c->at++;
  duet_word word = here(c);
  while (c->at < c->end && !strchr(stops, *c->at)) c->at++;
  word.length = (int)(c->at - word.start);
  return word;
}

/* Only printable ASCII and tabs outside comments, so that messages can repeat what they are about. */
static duet_status check_line(const duet_source *source, cursor c, duet_error *error) {
  if (c.end - c.start > MAX_LINE) {
    c.at = c.start + MAX_LINE;
    return duet_source_fail(source, here(&c), error, "line longer than %d characters (break it up)", MAX_LINE);
  }
  bool comment = false;
  for (; c.at < c.end; c.at++) {
    unsigned char byte = (unsigned char)*c.at;
    comment = comment || byte == '#';
    if ((byte < ' ' && byte != '\t') || byte == 0x7f || (byte > 0x7f && !comment))
      return duet_source_fail(source, here(&c), error, "byte 0x%02x (a network is plain text in ASCII)", byte);
  }
  return DUET_OK;
}

static bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static duet_status read_name(const duet_source *source, duet_word word, duet_layer *layer, duet_error *error) {
  for (int i = 0; i < word.length; i++) {
    if (!is_letter(word.start[i]) && (i == 0 || (word.start[i] != '_' && !is_digit(word.start[i])))) {
      word.column += i;
      return duet_source_fail(source, word, error, "'%c' in a name (a letter, then letters, digits and underscores)",
                              word.start[i]);
    }
  }
  if (word.length == 0) return duet_source_fail(source, word, error, "no name (a line is NAME = OP INPUT...)");
  if (word.length >= DUET_NAME_SIZE)
    return duet_source_fail(source, word, error, "name of %d characters (at most %d)", word.length, DUET_NAME_SIZE - 1);
  for (int i = 0; i < source->count; i++) {
    const duet_layer *other = &source->drafts[i].layer;
    if (!duet_word_is(word, other->name)) continue;
    if (other->op == DUET_OP_input)
      return duet_source_fail(source, word, error, "'%s' is an input of every network (choose another name)",
                              other->name);
    return duet_source_fail(source, word, error, "name '%s' is taken by line %d (names must differ)", other->name,
                            other->line);
  }
  memcpy(layer->name, word.start, (size_t)word.length);
  layer->line = word.line;
  layer->column = word.column;
  return DUET_OK;
}

static duet_status read_op(const duet_source *source, duet_word word, duet_layer *layer, duet_error *error) {
  if (word.length == 0) return duet_source_fail(source, word, error, "no op after '=' (a line is NAME = OP INPUT...)");
  const char *nearest = NULL;
  int distance = duet_word_near(word);
  char names[256] = "";
  for (int op = DUET_OP_input + 1; op < DUET_OPS; op++) {
    if (duet_word_is(word, duet_ops[op].name)) {
      layer->op = (duet_op_kind)op;
      return DUET_OK;
    }
    if (duet_word_nearer(word, duet_ops[op].name, &distance)) nearest = duet_ops[op].name;
    size_t used = strlen(names);
    (void)snprintf(names + used, sizeof names - used, " %s", duet_ops[op].name);
  }
  if (nearest)
    return duet_source_fail(source, word, error, "unknown op '" WORD "' (did you mean %s?)", WORD_ARG(word), nearest);
  return duet_source_fail(source, word, error, "unknown op '" WORD "' (there are:%s)", WORD_ARG(word), names);
}

/* A decimal number such as -12 or 0.25, the same in every locale; exact rounding, as at most 15 digits are taken. */
static bool read_number(duet_word word, double *value) {
  bool negative = word.length > 0 && word.start[0] == '-';
  int digits = 0;
  double number = 0, scale = 0; /* scale: 0 before the point, then 1, 10, 100... */
  for (int i = negative; i < word.length; i++) {
    char c = word.start[i];
    if (c == '.' && scale == 0) {
      scale = 1;
    } else if (is_digit(c) && digits < 15) {
      number = number * 10 + (c - '0');
      scale *= 10;
      digits++;
    } else {
      return false;
    }
  }
  *value = (negative ? -number : number) / (scale > 0 ? scale : 1);
  return digits > 0;
}

static duet_status read_value(const duet_source *source, duet_word word, int option, double *value, duet_error *error) {
  const struct option *row = &option_table[option];
  if (row->type == TYPE_target) {
    if (!duet_word_is(word, "digit") && !duet_word_is(word, "sum"))
      return duet_source_fail(source, word, error, "target '" WORD "' (digit or sum)", WORD_ARG(word));
    *value = duet_word_is(word, "sum") ? DUET_HEAD_SUM : DUET_HEAD_DIGIT;
    return DUET_OK;
  }
  if (!read_number(word, value))
    return duet_source_fail(source, word, error, "'" WORD "' is not a number (write one such as %s=%g)", WORD_ARG(word),
                            row->name, row->smallest);
  bool fraction =
      row->type == TYPE_integer && *value >= row->smallest && *value <= row->largest && *value != (int)*value;
  if (fraction || *value < row->smallest || *value > row->largest)
    return duet_source_fail(source, word, error, "%s=" WORD " (%s from %g to %g)", row->name, WORD_ARG(word),
                            row->type == TYPE_integer ? "a whole number" : "a number", row->smallest, row->largest);
  return DUET_OK;
}

/* KEY=VALUE; `given` has a bit for each option that the line has. */
static duet_status read_option(const duet_source *source, duet_word word, duet_layer *layer, unsigned *given,
                               duet_error *error) {
  const duet_op *op = &duet_ops[layer->op];
  const char *equals = memchr(word.start, '=', (size_t)word.length);
  duet_word key = word, value = word;
  key.length = (int)(equals - word.start);
  value.start = equals + 1;
  value.length = word.length - key.length - 1;
  value.column += key.length + 1;
  for (int i = 0; i < OPTIONS; i++) {
    const char *name = option_table[i].name;
    if (!duet_word_is(key, name) || !duet_op_takes(op, name)) continue;
    if (*given & 1u << i) return duet_source_fail(source, key, error, "second %s in one line (give it once)", name);
    *given |= 1u << i;
    return read_value(source, value, i, option_value(&layer->options, i), error);
  }
  if (key.length == 0 || value.length == 0)
    return duet_source_fail(source, word, error, "'" WORD "' (write KEY=VALUE without blanks)", WORD_ARG(word));
  return duet_source_fail(source, key, error, "%s has no option '" WORD "' (it takes: %s%s%s)", op->name, WORD_ARG(key),
                          op->required, *op->required && *op->optional ? " " : "",
                          *op->required || *op->optional ? op->optional : "none");
}

static duet_status check_complete(const duet_source *source, duet_word place, const duet_layer *layer, unsigned given,
                                  duet_error *error) {
  const duet_op *op = &duet_ops[layer->op];
  if (layer->input_count < op->least_inputs)
    return duet_source_fail(source, place, error, "%s of %d inputs (it needs %d: %s INPUT...)", op->name,
                            layer->input_count, op->least_inputs, op->name);
  for (int i = 0; i < OPTIONS; i++) {
    if (!(given & 1u << i) && duet_op_needs(op, option_table[i].name))
      return duet_source_fail(source, place, error, "%s without %s (add %s=...)", op->name, option_table[i].name,
                              option_table[i].name);
  }
  return DUET_OK;
}

/* Inputs and options of a line, after its op. */
static duet_status read_words(const duet_source *source, cursor *c, duet_word place, duet_draft *draft,
                              duet_error *error) {
  const duet_op *op = &duet_ops[draft->layer.op];
  unsigned given = 0;
  for (int i = 0; i < OPTIONS; i++) *option_value(&draft->layer.options, i) = option_table[i].fallback;
  for (duet_word word; (word = next_word(c, " \t#")).length;) {
    if (memchr(word.start, '=', (size_t)word.length)) {
      duet_status status = read_option(source, word, &draft->layer, &given, error);
      if (status) return status;
    } else if (draft->layer.input_count == op->most_inputs) {
      return duet_source_fail(source, word, error,
                              "'" WORD "' is one input too many (%s takes %d; options are KEY=VALUE without blanks)",
                              WORD_ARG(word), op->name, op->most_inputs);
    } else {
      draft->inputs[draft->layer.input_count++] = word;
    }
  }
  return check_complete(source, place, &draft->layer, given, error);
}

static duet_status read_line(duet_source *source, cursor *c, duet_error *error) {
  duet_word name = next_word(c, " \t=#");
  if (name.length == 0 && (c->at == c->end || *c->at == '#')) return DUET_OK;
  if (source->count == source->capacity)
    return duet_source_fail(source, name, error, "more than %d layers (make the network smaller)", MAX_LAYERS);
  duet_draft *draft = &source->drafts[source->count];
  duet_status status = read_name(source, name, &draft->layer, error);
  if (status) return status;
  duet_word equals = next_word(c, "=#");
  if (equals.length || c->at == c->end || *c->at != '=')
    return duet_source_fail(source, equals, error, "'=' expected after the name '%s' (a line is NAME = OP INPUT...)",
                            draft->layer.name);
  c->at++;
  duet_word op = next_word(c, " \t#");
  if ((status = read_op(source, op, &draft->layer, error))) return status;
  if ((status = read_words(source, c, op, draft, error))) return status;
  source->count++;
  return DUET_OK;
}

static duet_status allocate(duet_source *source, duet_error *error) {
  int lines = 1;
  for (const char *at = source->text; (at = strchr(at, '\n')) && lines < MAX_LAYERS; at++) lines++;
  source->capacity = 2 + lines;
  source->count = 2;
  source->drafts = calloc((size_t)source->capacity, sizeof *source->drafts);
  if (!source->drafts) return duet_fail(error, DUET_OUT_OF_MEMORY, "%s: no memory for its layers", source->name);
  (void)snprintf(source->drafts[0].layer.name, DUET_NAME_SIZE, "image");
  (void)snprintf(source->drafts[1].layer.name, DUET_NAME_SIZE, "number");
  return DUET_OK;
}

duet_status duet_source_read(duet_source *source, duet_error *error) {
  duet_status status = allocate(source, error);
  cursor c = {source->text, source->text, source->text, 1};
  for (const char *at = source->text; !status && *at; c.line++) {
    const char *end = at + strcspn(at, "\n");
    c = (cursor){at, at, end > at && end[-1] == '\r' ? end - 1 : end, c.line};
    status = check_line(source, c, error);
    if (!status) status = read_line(source, &c, error);
    at = *end ? end + 1 : end;
    c.at = c.end;
    source->end = here(&c);
  }
  if (status) return status;
  if (source->count == 2) {
    source->end = (duet_word){source->text, 0, 1, 1};
    return duet_source_fail(source, source->end, error, "no layers (a line is NAME = OP INPUT...)");
  }
  return DUET_OK;
}
