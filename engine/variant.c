#include "engine/variant.h"

#include "engine/planner.h"
#include "engine/stage.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Multiplications of Winograd's algorithm for each of the direct sums', over a map of so many results. */
static double winograd_share(const duet_constants *k, int height, int width) {
  const double M = k->WINOGRAD, tiles = ceil(width / M) * (k->K == 5 ? height : ceil(height / M));
  return tiles * (double)duet_winograd_points(k->K, k->WINOGRAD) / ((double)(k->K * k->K) * height * width);
}

static void name_winograd(const duet_constants *k, bool back, char *text) {
  const int height = back ? k->IH : k->OH, width = back ? k->IW : k->OW, M = k->WINOGRAD;
  const double percent = 100 * winograd_share(k, height, width);
  if (k->K == 5)
    (void)snprintf(text, DUET_VARIANT_TEXT, "Winograd F(%d, 5) by rows: %.0f %% of the products", M, percent);
  else
    (void)snprintf(text, DUET_VARIANT_TEXT, "Winograd F(%dx%d): %.0f %% of the products", M, M, percent);
}

static const char *name_cpu(const duet_plan *plan, const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
      if (plan->options.direct) return "direct: DUET_WINOGRAD=off";
      return k->STRIDE == 1 && (k->K == 3 || k->K == 5) ? "direct: Winograd would spare too little" : "direct";
    case DUET_STAGE_conv_weights:
      return k->POOL ? "direct, winners picked: too few channels for lists" : "direct";
    case DUET_STAGE_winograd_product:
    case DUET_STAGE_winograd_gradient:
      return "Winograd in steps: one tile is the whole map";
    case DUET_STAGE_sparse_backward:
    case DUET_STAGE_sparse_weights:
      return "by lists: behind a pooling most gradients are 0";
    case DUET_STAGE_dense_forward:
      return k->SPARSE ? "by lists: behind a ReLU most values are 0" : "dense";
    case DUET_STAGE_pixel_forward:
    case DUET_STAGE_pixel_weights:
      return "by pixels: most of a picture is background";
    case DUET_STAGE_dense_backward:
    case DUET_STAGE_dense_weights:
      return k->SPARSE ? "by lists: behind a ReLU most gradients are 0" : "dense";
    default:
      return "";
  }
}

static const char *name_gpu(const duet_plan *plan, const duet_stage *stage) {
  const duet_constants *k = &stage->constants;
  const bool asked = plan->options.precision != DUET_PRECISION_fp32;
  if (stage->constants.PRECISION == DUET_PRECISION_fp16) return "pairs of halves, sums in fp32";
  if (plan->options.precision == DUET_PRECISION_fp16) {
    const bool in_convolution = stage->kind == DUET_STAGE_conv_forward || stage->kind == DUET_STAGE_conv_backward;
    if (in_convolution) return "fp32: one channel has none to pair with";
    if (stage->kind == DUET_STAGE_dense_weights) return "fp32: too small for halves";
  }
  switch (stage->kind) {
    case DUET_STAGE_conv_forward:
    case DUET_STAGE_conv_backward:
    case DUET_STAGE_conv_weights:
      return k->PRECISION ? "matrix units" : asked ? "fp32: too few channels, or no room, for matrix units" : "";
    case DUET_STAGE_dense_forward:
    case DUET_STAGE_dense_backward:
      if (duet_tiles_small(stage)) return "small: a group does all of a block";
      return k->PRECISION ? "matrix units" : "";
    case DUET_STAGE_dense_weights:
      return k->PRECISION ? "matrix units" : asked ? "fp32: too small for matrix units" : "";
    default:
      return "";
  }
}

static void name_library(const duet_plan *plan, char *text) {
  const int gain = plan->options.library_gain;
  const int length = snprintf(text, DUET_VARIANT_TEXT, "%s", plan->options.library);
  if (gain > 0)
    (void)snprintf(text + length, DUET_VARIANT_TEXT - (size_t)length, "; tuned: %d %% over its own parameters", gain);
}

/* What was measured takes the place of the rule's reason. */
static void name_gain(int gain, char *text) {
  const size_t length = strcspn(text, ":");
  if (gain > 0)
    (void)snprintf(text + length, DUET_VARIANT_TEXT - length, "%stuned: %d %% over the rule", length ? "; " : "", gain);
  else
    (void)snprintf(text + length, DUET_VARIANT_TEXT - length, "%stuned: the rule's is the fastest", length ? "; " : "");
}

void duet_stage_variant(const duet_plan *plan, const duet_stage *stage, char text[DUET_VARIANT_TEXT]) {
  const bool in_convolution = stage->kind == DUET_STAGE_conv_forward || stage->kind == DUET_STAGE_conv_backward;
  text[0] = 0;
  if (plan->options.kernel_class == DUET_CLASS_GPU && duet_stage_is_product(stage))
    name_library(plan, text);
  else if (plan->options.kernel_class == DUET_CLASS_GPU)
    (void)snprintf(text, DUET_VARIANT_TEXT, "%s", name_gpu(plan, stage));
  else if (plan->options.kernel_class == DUET_CLASS_CPU && in_convolution && stage->constants.WINOGRAD)
    name_winograd(&stage->constants, stage->kind == DUET_STAGE_conv_backward, text);
  else if (plan->options.kernel_class == DUET_CLASS_CPU)
    (void)snprintf(text, DUET_VARIANT_TEXT, "%s", name_cpu(plan, stage));
  const int gain = plan->gains[stage - plan->stages];
  if (gain != DUET_UNTUNED) name_gain(gain, text);
}
