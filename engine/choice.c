#include "engine/choice.h"

#include "engine/planner.h"
#include "engine/record.h"
#include "engine/stage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const duet_direction_names[DUET_DIRECTIONS] = {"forward", "backward", "weights"};
const char *const duet_way_names[DUET_WAYS] = {"direct", "winograd", "steps", "lists", "library", "pixels", "single"};

enum {
  LEAST_TILE = 2,
  LARGEST_TILE = 5,   /* M of F(M x M, 3x3) */
  LEAST_STEPS = 3,    /* ... in steps */
  LARGEST_PIXELS = 7, /* kernel whose row is in registers */
  LIST_LAYER = 1024   /* features of a dense layer, values or gradients, that fit a list in private memory */
};

/* ---- what can be done ---- */

static bool is_cpu(const duet_plan *plan) { return plan->options.kernel_class == DUET_CLASS_CPU; }

static bool can_winograd(const duet_plan *plan, const duet_problem *p) {
  return p->op == DUET_OP_conv && is_cpu(plan) && !plan->options.direct && (p->kernel == 3 || p->kernel == 5) &&
         p->stride == 1;
}

/* In steps where one tile is the whole result. */
static bool can_steps(const duet_plan *plan, const duet_problem *p) {
  return can_winograd(plan, p) && p->kernel == 3 && p->out.height == p->out.width && p->out.height >= LEAST_STEPS &&
         p->out.height <= LARGEST_TILE && p->in.channels % DUET_LANES == 0 && !p->pool;
}

static bool can_lists(const duet_plan *plan, const duet_problem *p) {
  if (p->op == DUET_OP_conv) return is_cpu(plan) && p->pool && p->stride == 1;
  return is_cpu(plan) && p->relu && duet_shape_count(p->in) % DUET_LANES == 0 && p->out.channels <= LIST_LAYER;
}

/* Forward, of the values that are not 0. */
static bool can_lists_forward(const duet_plan *plan, const duet_problem *p) {
  return p->op == DUET_OP_dense && is_cpu(plan) && p->after_relu && duet_shape_count(p->in) <= LIST_LAYER;
}

/* A convolution that reads pictures itself, with vectors of its channels. */
static bool can_pixels(const duet_plan *plan, const duet_problem *p) {
  return p->op == DUET_OP_conv && is_cpu(plan) && p->in.channels == 1 && p->pool && p->stride == 1 && p->pad == 0 &&
         p->kernel <= LARGEST_PIXELS && !p->back;
}

/* Its weight gradient, where the gradient comes with vectors of channels. */
static bool can_pixel_weights(const duet_plan *plan, const duet_problem *p) { return can_pixels(plan, p) && p->turned; }

/* Forward, in training only beside that: nobody else takes the winners as they are then. */
static bool can_pixel_forward(const duet_plan *plan, const duet_problem *p) {
  return can_pixels(plan, p) && (p->turned || !plan->options.train);
}

/* Which device and precision have one: engine/plan.c. */
static bool can_library(const duet_plan *plan, const duet_problem *p) {
  return p->op == DUET_OP_dense && plan->options.gemm != DUET_GEMM_NEVER;
}

static bool must_library(const duet_plan *plan, const duet_problem *p) {
  return p->op == DUET_OP_dense && plan->options.gemm == DUET_GEMM_ALWAYS;
}

static bool can_by_block(const duet_plan *plan, const duet_problem *p) {
  return p->op == DUET_OP_conv && plan->options.kernel_class != DUET_CLASS_PLAIN;
}

/* ---- the rule ---- */

/* It pays where blocks enough share the transformed weights, many times larger than the images' points. */
static bool suits_steps(const duet_plan *plan, const duet_problem *p) {
  enum { LEAST_BLOCKS = 4, LEAST_CHANNELS = 32 };
  return can_steps(plan, p) && p->in.channels >= LEAST_CHANNELS && p->out.channels >= LEAST_CHANNELS &&
         plan->blocks >= LEAST_BLOCKS;
}

/* Behind a maximum at most a quarter of the gradient is not 0, behind a ReLU too a tenth or so: it goes back as a list
   of what is left, with vectors of channels, where these fill at least half of one; of a dense layer where rows are
   long. */
static bool suits_lists(const duet_plan *plan, const duet_problem *p) {
  const size_t features = p->op == DUET_OP_conv ? (size_t)p->in.channels : duet_shape_count(p->in);
  return can_lists(plan, p) && features >= (p->op == DUET_OP_conv ? DUET_LANES / 2 : 8 * DUET_LANES);
}

/* Of what a ReLU gives a fifth or so is not 0 once a network has learned for some steps. It pays where the weights,
   turned each batch, serve blocks enough, and where rows of them are long; not for predictions, whose bits are the same
   however many pictures a batch of one size holds. */
static bool suits_lists_forward(const duet_plan *plan, const duet_problem *p) {
  enum { LEAST_BLOCKS = 4, LEAST_FEATURES = 8 * DUET_LANES };
  return can_lists_forward(plan, p) && !plan->options.predict && plan->blocks >= LEAST_BLOCKS &&
         p->out.channels >= LEAST_FEATURES && duet_shape_count(p->in) >= LEAST_FEATURES;
}

/* Block by block where the sums are no larger than the images: while these are in a CPU's caches, or for more groups,
   on a GPU and by pixels, where a row of a kernel takes all channels. */
static bool suits_by_block(const duet_plan *plan, const duet_problem *p, bool pixel_weights) {
  const size_t weights = (size_t)(p->out.channels * p->in.channels * p->kernel * p->kernel);
  const bool pays = plan->options.kernel_class == DUET_CLASS_GPU || duet_plan_takes_blocks(plan) ||
                    (pixel_weights && plan->blocks > 1);
  return can_by_block(plan, p) && pays && weights <= DUET_LANES * duet_shape_count(p->in);
}

/* Of a 2x2 pooling, which drops odd edges. */
static double windows_of(const duet_problem *p) {
  const int height = p->out.height / 2, width = p->out.width / 2;
  return (double)height * width;
}

/* Where the products of pixels that are not background, their list, the gradient before the pooling and the winners
   turned cost clearly less than picking winners for all windows and turning the gradient back; in steps of a vector
   each. */
static bool suits_pixel_weights(const duet_plan *plan, const duet_problem *p) {
  static const double GAIN = 0.9, PRODUCT = 0.75, SPREAD = 6, TURN = 3, LIST = 1.5, PICK = 2, TURN_BACK = 10;
  if (!can_pixel_weights(plan, p)) return false;
  const double taps = p->kernel * p->kernel, pixels = (double)duet_shape_count(p->in), windows = windows_of(p),
               channels = p->out.channels, width = duet_tiles_width(plan), vecs = ceil(channels / width),
               turns = windows * ceil(channels / DUET_LANES);
  const double by_pixels = (1 - plan->options.background) * pixels * taps * vecs * PRODUCT + windows * vecs * SPREAD +
                           turns * TURN + pixels * LIST;
  return by_pixels < GAIN * (windows * channels * taps * PICK / width + turns * TURN_BACK);
}

/* Where it has so much to multiply that its launches, and turning to rows and back, are little beside that. */
static bool suits_library(const duet_plan *plan, const duet_problem *p) {
  static const double LARGE = 1 << 28; /* multiplications a batch */
  const double products = (double)p->out.channels * (double)duet_shape_count(p->in) * plan->blocks * DUET_LANES;
  return must_library(plan, p) || (can_library(plan, p) && products > LARGE);
}

/* Of one picture, where fifteen of sixteen lanes would be padding; a small dense layer is one of a section. */
static bool suits_single(const duet_plan *plan, const duet_problem *p) {
  const bool small = p->op == DUET_OP_dense && duet_shape_count(p->in) * (size_t)p->out.channels <= DUET_SMALL_DENSE;
  return is_cpu(plan) && !plan->options.train && plan->options.batch == 1 && !small && duet_tiles_single_fits(p);
}

static duet_choice choice_of(duet_way way, int M) { return (duet_choice){.way = way, .M = M, .gain = DUET_UNTUNED}; }

static duet_choice winograd_or_direct(const duet_plan *plan, const duet_problem *p, bool back) {
  const int M = !can_winograd(plan, p) ? 0
                : back                 ? duet_tiles_winograd(p->kernel, p->out.channels, p->in, false)
                                       : duet_tiles_winograd(p->kernel, p->in.channels, p->out, p->pool);
  return choice_of(M ? DUET_WAY_winograd : DUET_WAY_direct, M);
}

/* Where the products of pixels that are not background, pooling by vectors of channels, the list, and turning the
   result (in training another stage wants it so) cost clearly less than all windows, directly or by rows; in steps of a
   vector each. */
static bool suits_pixel_forward(const duet_plan *plan, const duet_problem *p) {
  static const double GAIN = 0.75, PRODUCT = 0.75, POOL = 10, LIST = 1.5, TURN = 10, BY_ROWS = 0.56;
  if (!can_pixel_forward(plan, p)) return false;
  const double taps = p->kernel * p->kernel, pixels = (double)duet_shape_count(p->in), windows = windows_of(p),
               width = duet_tiles_width(plan), vecs = ceil(p->out.channels / width),
               turns = windows * ceil(p->out.channels / (double)DUET_LANES);
  const double by_pixels = (1 - plan->options.background) * pixels * taps * vecs * PRODUCT + windows * vecs * POOL +
                           pixels * LIST + (plan->options.train ? 0 : turns * TURN);
  const double direct = (double)duet_shape_count(p->out) * taps / width;
  return by_pixels < GAIN * direct * (winograd_or_direct(plan, p, false).M ? BY_ROWS : 1);
}

/* Forward by pixels leaves winners as the weight gradient by pixels reads them. */
static duet_choice forward_by_rule(const duet_plan *plan, const duet_problem *p, bool pixel_weights) {
  if (suits_single(plan, p)) return choice_of(DUET_WAY_single, 0);
  if (suits_lists_forward(plan, p)) return choice_of(DUET_WAY_lists, 0);
  if (suits_pixel_forward(plan, p) && (pixel_weights || !plan->options.train)) return choice_of(DUET_WAY_pixels, 0);
  return winograd_or_direct(plan, p, false);
}

void duet_choose_by_rule(const duet_plan *plan, const duet_problem *p, duet_choice c[DUET_DIRECTIONS]) {
  const duet_choice lists = choice_of(DUET_WAY_lists, 0);
  const bool by_lists = suits_lists(plan, p), in_steps = suits_steps(plan, p),
             pixel_weights = !by_lists && suits_pixel_weights(plan, p);
  if (in_steps || suits_library(plan, p)) {
    c[DUET_FORWARD] = c[DUET_BACKWARD] = c[DUET_WEIGHTS] =
        in_steps ? choice_of(DUET_WAY_steps, p->out.height) : choice_of(DUET_WAY_library, 0);
    return;
  }
  c[DUET_FORWARD] = forward_by_rule(plan, p, pixel_weights);
  c[DUET_BACKWARD] = by_lists ? lists : winograd_or_direct(plan, p, true);
  c[DUET_WEIGHTS] = by_lists ? lists : pixel_weights ? choice_of(DUET_WAY_pixels, 0) : choice_of(DUET_WAY_direct, 0);
  c[DUET_WEIGHTS].by_block = suits_by_block(plan, p, pixel_weights);
}

/* ---- all ways ---- */

static bool is_same_way(const duet_choice *a, const duet_choice *b) {
  return a->way == b->way && a->M == b->M && a->by_block == b->by_block;
}

static bool is_among(const duet_choice *choice, const duet_choice *list, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (is_same_way(choice, &list[i])) return true;
  return false;
}

static void add(duet_choice *list, size_t *count, duet_choice choice) {
  if (!is_among(&choice, list, *count) && *count < DUET_MOST_WAYS) list[(*count)++] = choice;
}

static void add_winograd(const duet_plan *plan, const duet_problem *p, bool back, duet_choice *list, size_t *count) {
  const duet_shape map = back ? p->in : p->out;
  const int source = back ? p->out.channels : p->in.channels;
  if (!can_winograd(plan, p)) return;
  for (int M = LEAST_TILE; M <= LARGEST_TILE; M++)
    if (duet_tiles_winograd_fits(p->kernel, M, source, map, p->pool && !back))
      add(list, count, choice_of(DUET_WAY_winograd, M));
}

size_t duet_ways(const duet_plan *plan, const duet_problem *p, duet_direction direction,
                 duet_choice list[DUET_MOST_WAYS]) {
  duet_choice rule[DUET_DIRECTIONS];
  size_t count = 0;
  if (direction == DUET_BACKWARD && !p->back) return 0;
  duet_choose_by_rule(plan, p, rule);
  add(list, &count, rule[direction]);
  if (must_library(plan, p)) return count;
  for (int by_block = 0; by_block < (direction == DUET_WEIGHTS && can_by_block(plan, p) ? 2 : 1); by_block++) {
    duet_choice direct = choice_of(DUET_WAY_direct, 0), lists = choice_of(DUET_WAY_lists, 0),
                pixels = choice_of(DUET_WAY_pixels, 0);
    direct.by_block = lists.by_block = pixels.by_block = by_block;
    add(list, &count, direct);
    if (direction == DUET_FORWARD ? can_lists_forward(plan, p) : can_lists(plan, p)) add(list, &count, lists);
    if (direction == DUET_WEIGHTS && can_pixel_weights(plan, p)) add(list, &count, pixels);
  }
  if (direction != DUET_WEIGHTS) add_winograd(plan, p, direction == DUET_BACKWARD, list, &count);
  if (direction == DUET_FORWARD && can_pixel_forward(plan, p)) add(list, &count, choice_of(DUET_WAY_pixels, 0));
  if (can_steps(plan, p)) add(list, &count, choice_of(DUET_WAY_steps, p->out.height));
  if (can_library(plan, p)) add(list, &count, choice_of(DUET_WAY_library, 0));
  return count;
}

bool duet_choices_agree(const duet_problem *p, const duet_choice c[DUET_DIRECTIONS]) {
  const duet_way back = c[DUET_BACKWARD].way, weights = c[DUET_WEIGHTS].way;
  if (p->op != DUET_OP_conv) {
    const bool library = c[DUET_FORWARD].way == DUET_WAY_library;
    return (weights == DUET_WAY_library) == library && (!p->back || (back == DUET_WAY_library) == library);
  }
  const bool steps = c[DUET_FORWARD].way == DUET_WAY_steps;
  if ((weights == DUET_WAY_steps) != steps) return false;
  if (c[DUET_FORWARD].way == DUET_WAY_pixels && weights != DUET_WAY_pixels) return false;
  return !p->back || ((back == DUET_WAY_steps) == steps && (back == DUET_WAY_lists) == (weights == DUET_WAY_lists));
}

/* ---- the choice ---- */

/* What the environment takes away or asks for: other ways, so what was measured with it holds for it alone. */
static const char *told(const duet_plan *plan, const duet_problem *p) {
  static const char *const library[] = {
      [DUET_GEMM_NEVER] = "", [DUET_GEMM_LARGE] = ", or by the library", [DUET_GEMM_ALWAYS] = ", by the library"};
  if (p->op == DUET_OP_dense) return library[plan->options.gemm];
  return plan->options.direct ? ", direct" : "";
}

void duet_problem_key(const duet_plan *plan, const duet_problem *p, char key[DUET_KEY_SIZE]) {
  char groups[40] = "", turned[40] = "";
  if (plan->options.group) (void)snprintf(groups, sizeof groups, ", groups of %zu", plan->options.group);
  if (p->turned)
    (void)snprintf(turned, sizeof turned, ", turned, %.0f %% background", 10 * round(10 * plan->options.background));
  (void)snprintf(key, DUET_KEY_SIZE,
                 "%s %dx%dx%d to %dx%dx%d, kernel %d, stride %d, pad %d%s%s%s%s%s%s; %d blocks, %s%s%s",
                 duet_ops[p->op].name, p->in.channels, p->in.height, p->in.width, p->out.channels, p->out.height,
                 p->out.width, p->kernel, p->stride, p->pad, p->pool ? ", pooled" : "", p->relu ? ", relu" : "",
                 p->after_relu ? ", after relu" : "", p->back ? ", back" : "", p->resident ? ", resident" : "", turned,
                 plan->blocks, duet_precision_names[plan->options.precision], groups, told(plan, p));
}

void duet_choose(const duet_plan *plan, const duet_problem *p, duet_choice c[DUET_DIRECTIONS]) {
  char key[DUET_KEY_SIZE];
  duet_choose_by_rule(plan, p, c);
  if (c[DUET_FORWARD].way == DUET_WAY_single) return; /* what was measured is of training */
  duet_problem_key(plan, p, key);
  const duet_choice *tuned = duet_record_find(plan->options.tuned, &plan->options, key);
  if (!tuned || !duet_choices_agree(p, tuned)) return;
  for (int d = 0; d < DUET_DIRECTIONS; d++) {
    duet_choice ways[DUET_MOST_WAYS];
    const size_t count = duet_ways(plan, p, (duet_direction)d, ways);
    if (count && !is_among(&tuned[d], ways, count)) return;
  }
  memcpy(c, tuned, DUET_DIRECTIONS * sizeof *c);
}

/* ---- stages ---- */

static bool reads(const duet_stage *stage, const duet_operand *what) {
  const char *access = duet_stage_infos[stage->kind].access;
  for (int i = 0; access[i]; i++)
    if (access[i] == 'r' && stage->operands[i].memory == what->memory && stage->operands[i].offset == what->offset)
      return true;
  return false;
}

/* The stage by whose direction stage `at` goes: the first that reads what it turns or lists, the product that it clips,
   or whose result it turns back. */
static const duet_stage *served(const duet_plan *plan, size_t at) {
  const duet_stage *stage = &plan->stages[at];
  if (stage->kind == DUET_STAGE_transpose_back && at > 0 && stage[-1].kind == DUET_STAGE_pixel_forward)
    return stage - 1;
  if (stage->kind == DUET_STAGE_relu_backward && at > 0 && stage[-1].kind == DUET_STAGE_product_backward &&
      reads(stage, &stage[-1].operands[2]))
    return stage - 1;
  const bool turns = stage->kind == DUET_STAGE_transpose || stage->kind == DUET_STAGE_transpose_index ||
                     stage->kind == DUET_STAGE_pixels;
  for (size_t i = at + 1; turns && i < plan->stage_count; i++)
    if (reads(&plan->stages[i], &stage->operands[1])) return &plan->stages[i];
  return stage;
}

bool duet_stage_serves(const duet_plan *plan, size_t at, duet_direction direction, bool has_backward) {
  const duet_stage *stage = served(plan, at);
  const duet_direction back = has_backward ? DUET_BACKWARD : DUET_WEIGHTS;
  switch (stage->kind) {
    case DUET_STAGE_winograd_to_points: /* BACK: for both, as the list of sparse_gradient */
      return direction == (stage->constants.BACK ? back : DUET_FORWARD);
    case DUET_STAGE_winograd_product:
    case DUET_STAGE_winograd_from_points:
    case DUET_STAGE_winograd_weights:
    case DUET_STAGE_fragment_weights:
      return direction == (stage->constants.BACK ? DUET_BACKWARD : DUET_FORWARD);
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_transpose_matrix:
    case DUET_STAGE_pixel_forward:
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_product_forward:
    case DUET_STAGE_product_bias:
      return direction == DUET_FORWARD;
    case DUET_STAGE_sparse_gradient:
    case DUET_STAGE_pool_backward:
      return direction == back;
    case DUET_STAGE_transpose_weights:
    case DUET_STAGE_conv_backward:
    case DUET_STAGE_sparse_backward:
    case DUET_STAGE_transpose_back:
    case DUET_STAGE_dense_backward:
    case DUET_STAGE_product_backward:
      return direction == DUET_BACKWARD;
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_sparse_weights:
    case DUET_STAGE_pixel_weights:
    case DUET_STAGE_winograd_gradient:
    case DUET_STAGE_dense_weights:
    case DUET_STAGE_product_weights:
    case DUET_STAGE_sum:
      return direction == DUET_WEIGHTS;
    default:
      return false;
  }
}

bool duet_stage_is_main(const duet_stage *stage) {
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
    case DUET_STAGE_conv_weights:
    case DUET_STAGE_pixel_forward:
    case DUET_STAGE_winograd_product:
    case DUET_STAGE_winograd_gradient:
    case DUET_STAGE_sparse_backward:
    case DUET_STAGE_sparse_weights:
    case DUET_STAGE_pixel_weights:
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
    case DUET_STAGE_dense_weights:
      return true;
    default:
      return false;
  }
}
