#include "engine/generate.h"

#include "engine/embedded.h"
#include "engine/stage.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

static const char *const constant_names[] = {
#define CONSTANT(name) #name,
#include "kernels/kernels.def"
};
static const char *const control_names[] = {
#define CONTROL(name) #name,
#include "kernels/kernels.def"
};
static const struct {
  const char *name;
  int value;
} scaling[] = {
#define SCALING(name, value) {#name, value},
#include "kernels/kernels.def"
};
enum { CONSTANTS = sizeof constant_names / sizeof *constant_names };
_Static_assert(sizeof(duet_constants) == CONSTANTS * sizeof(int), "constants are ints without gaps");

static const char *embedded(const char *name) { return duet_embedded_find(duet_embedded_files, name); }

duet_status duet_generate_file(duet_text *out, const char *name, duet_error *error) {
  const char *text = embedded(name);
  if (!text) return duet_fail(error, DUET_FAILED, "kernels/%s: not in this build of the library", name);
  static const char word[] = "#include \"";
  for (const char *include; (include = strstr(text, word)); text = strchr(include, '\n')) {
    duet_text_append(out, text, (size_t)(include - text));
    char included[64];
    if (sscanf(include + sizeof word - 1, "%63[^\"]", included) != 1)
      return duet_fail(error, DUET_FAILED, "kernels/%s: bad #include", name);
    const duet_status s = duet_generate_file(out, included, error);
    if (s) return s;
  }
  duet_text_append(out, text, strlen(text));
  return DUET_OK;
}

/* The template of a stage: the one of the kernel class, or the shared one. */
static duet_status add_template(duet_text *out, const duet_stage_info *info, size_t group, duet_error *error) {
  char name[64];
  (void)snprintf(name, sizeof name, "%s_%s.cl", info->file, group == 1 ? "cpu" : "gpu");
  if (!embedded(name)) (void)snprintf(name, sizeof name, "%s.cl", info->file);
  return duet_generate_file(out, name, error);
}

static void add_operand_stride(duet_text *out, const char *directive, const char *operand, const size_t *stride) {
  char upper[32];
  size_t i = 0;
  for (; operand[i] && i + 1 < sizeof upper; i++) upper[i] = (char)toupper((unsigned char)operand[i]);
  upper[i] = '\0';
  duet_text_add(out, "#%s %s_STRIDE", directive, upper);
  if (stride) duet_text_add(out, " %zu", *stride);
  duet_text_add(out, "\n");
}

/* One specialised stage function, named s<number>_<stage>. */
static duet_status add_stage(duet_text *out, const duet_stage *stage, size_t number, size_t group, duet_error *error) {
  const duet_stage_info *info = &duet_stage_infos[stage->kind];
  int values[CONSTANTS];
  memcpy(values, &stage->constants, sizeof values);
  duet_text_add(out, "/* %s */\n#define STAGE s%zu_%s\n#define KIND_%s\n", stage->label, number, info->name,
                info->name);
  for (size_t i = 0; i < CONSTANTS; i++) duet_text_add(out, "#define %s %d\n", constant_names[i], values[i]);
  for (size_t i = 0; i < DUET_MAX_OPERANDS && info->operands[i]; i++)
    add_operand_stride(out, "define", info->operands[i], &stage->operands[i].stride);
  const duet_status s = add_template(out, info, group, error);
  if (s) return s;
  duet_text_add(out, "\n#undef STAGE\n#undef KIND_%s\n", info->name);
  for (size_t i = 0; i < CONSTANTS; i++) duet_text_add(out, "#undef %s\n", constant_names[i]);
  for (size_t i = 0; i < DUET_MAX_OPERANDS && info->operands[i]; i++)
    add_operand_stride(out, "undef", info->operands[i], NULL);
  return DUET_OK;
}

/* Operands that are no floats, kept in the float memory. */
static const char *cast_of(const char *operand) {
  const bool bytes = !strcmp(operand, "index") || !strcmp(operand, "indext");
  return bytes ? "(GLOBAL u8 *)" : !strcmp(operand, "places") ? "(GLOBAL i32 *)" : "";
}

/* The call of a stage, `where` being its first arguments. */
static void add_call(duet_text *out, const duet_stage *stage, size_t number, const char *where) {
  const duet_stage_info *info = &duet_stage_infos[stage->kind];
  duet_text_add(out, "    s%zu_%s(%s", number, info->name, where);
  for (size_t i = 0; i < DUET_MAX_OPERANDS && info->operands[i]; i++) {
    const duet_operand *o = &stage->operands[i];
    const char *cast = cast_of(info->operands[i]);
    duet_text_add(out, ",\n        ");
    if (o->memory == DUET_MEMORY_none)
      duet_text_add(out, "0");
    else if (!duet_stage_is_by_block(stage) || o->stride == 0)
      duet_text_add(out, "%s(%s + %zuul)", cast, duet_memory_names[o->memory], o->offset);
    else
      duet_text_add(out, "%s(%s + %zuul + %s * %zuul)", cast, duet_memory_names[o->memory], o->offset,
                    o->slot ? "slot" : "block", o->stride);
  }
  duet_text_add(out, ");\n");
}

/* The stages of a part one after another on a block (cpu class). */
static void add_block(duet_text *out, const duet_part *part, size_t first_number) {
  for (size_t i = 0; i < part->stage_count; i++)
    add_call(out, &part->stages[i], first_number + i, part->stages[i].by_block ? "0" : "block, 0, 1");
}

/* Groups that take blocks while there are any. */
static void add_slots(duet_text *out, const duet_part *part, size_t first_number) {
  duet_text_add(out,
                "  if (group < %zu) {\n    const int slot = group;\n    (void)slot;\n    for (;;) {\n"
                "    const int block = TAKE_TICKET() - %zu;\n    if (block >= %zu) return;\n",
                part->slots, part->first_ticket, part->count);
  add_block(out, part, first_number);
  duet_text_add(out, "    }\n  }\n  group -= %zu;\n", part->slots);
}

/* A group for each block. */
static void add_blocks(duet_text *out, const duet_part *part, size_t first_number) {
  duet_text_add(out, "  if (group < %zu) {\n    const int block = group;\n", part->count);
  add_block(out, part, first_number);
  duet_text_add(out, "    return;\n  }\n  group -= %zu;\n", part->count);
}

/* What a group of a part is: block and teams, or task and slice. A TASK stage that runs by block has all its tasks in
   each. */
static void add_place(duet_text *out, const duet_part *part) {
  const duet_stage *stage = &part->stages[0];
  const size_t spread = part->spread, tasks = duet_stage_tasks(stage), slices = spread / (stage->by_block ? tasks : 1);
  if (duet_stage_is_by_block(stage)) duet_text_add(out, "    const int block = group / %zu;\n", spread);
  if (!duet_stage_infos[stage->kind].task) {
    duet_text_add(out,
                  "    const int team = group %% %zu * TEAMS_IN_GROUP + TEAM_IN_GROUP, teams = %zu * TEAMS_IN_GROUP;\n"
                  "    (void)team, (void)teams;\n",
                  spread, spread);
    return;
  }
  duet_text_add(out, "    const int task = group / %zu", slices);
  if (stage->by_block) duet_text_add(out, " %% %zu", tasks);
  duet_text_add(out, ", slice = group %% %zu, slices = %zu;\n    (void)slice, (void)slices;\n", slices, slices);
}

/* In the gpu class, stages of a section wait for each other's teams; those of a task follow item by item. */
static void add_part(duet_text *out, const duet_part *part, size_t first_number, size_t group_size) {
  const bool by_block = duet_stage_is_by_block(part->stages);
  if (part->slots || (by_block && part->spread == 1 && group_size == 1)) {
    (part->slots ? add_slots : add_blocks)(out, part, first_number);
    return;
  }
  duet_text_add(out, "  if (group < %zu) {\n", part->count * part->spread);
  add_place(out, part);
  const char *where[2][2] = {{"block, team, teams", "block, team, teams, scratch"},
                             {"task", "task, slice, slices, scratch"}};
  for (size_t i = 0; i < part->stage_count; i++) {
    if (i > 0 && group_size > 1 && duet_stage_is_by_block(&part->stages[i]))
      duet_text_add(out, "    BARRIER_GLOBAL();\n");
    add_call(out, &part->stages[i], first_number + i,
             where[duet_stage_infos[part->stages[i].kind].task][group_size > 1]);
  }
  duet_text_add(out, "    return;\n  }\n  group -= %zu;\n", part->count * part->spread);
}

static void add_driver(duet_text *out, const duet_kernel_source *source) {
  duet_text_add(out, "\nKERNEL void %s(", source->name);
  for (size_t m = 0; m < DUET_MEMORIES; m++)
    duet_text_add(out, "%s\n    GLOBAL %s *restrict %s", m ? "," : "", duet_memory_types[m], duet_memory_names[m]);
  duet_text_add(out, ") {\n");
  if (source->group > 1) {
    int floats = (int)source->group;
    for (size_t p = 0; p < source->part_count; p++)
      for (size_t i = 0; i < source->parts[p].stage_count; i++)
        if (source->parts[p].stages[i].constants.LOCAL > floats) floats = source->parts[p].stages[i].constants.LOCAL;
    duet_text_add(out, "  LOCAL_ARRAY(float, scratch, %d);\n", floats);
  }
  duet_text_add(out, "  AFTER_EARLIER();\n");
  if (source->idle) duet_text_add(out, "  if (!control) return;\n");
  duet_text_add(out, "  int group = GROUP_ID;\n");
  for (size_t p = 0, number = 0; p < source->part_count; number += source->parts[p++].stage_count)
    add_part(out, &source->parts[p], number, source->group);
  duet_text_add(out, "}\n");
}

duet_status duet_generate(duet_kernel_source *source, duet_error *error) {
  duet_text out = {0};
  source->idle = source->group == 1; /* where there are barriers, drivers may not like it */
  duet_text_add(&out, "#define GROUP %zu\n", source->group);
  for (int i = 0; i < DUET_CONTROL_WORDS; i++) duet_text_add(&out, "#define CONTROL_%s %d\n", control_names[i], i);
  for (int i = 0; i < DUET_PRECISIONS; i++)
    duet_text_add(&out, "#define PRECISION_%s %d\n", duet_precision_names[i], i);
  for (size_t i = 0; i < sizeof scaling / sizeof *scaling; i++)
    duet_text_add(&out, "#define SCALING_%s %d\n", scaling[i].name, scaling[i].value);
  duet_status s = duet_generate_file(&out, "prelude.h", error);
  for (size_t p = 0, number = 0; !s && p < source->part_count; p++)
    for (size_t i = 0; !s && i < source->parts[p].stage_count; i++)
      s = add_stage(&out, &source->parts[p].stages[i], number++, source->group, error);
  add_driver(&out, source);
  if (!s && out.failed)
    s = duet_fail(error, DUET_OUT_OF_MEMORY, "out of memory for the text of kernel %s", source->name);
  source->source = out.data;
  return s;
}
