/* What device, precision and environment make of a plan's options. */
#include "engine/plan.h"
#include "engine/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

duet_status duet_plan_class(const duet_device_info *info, duet_kernel_class *kernel_class, duet_error *error) {
  const char *forced = getenv("DUET_KERNEL_CLASS");
  const bool vectors =
      info->type == DUET_DEVICE_CPU && info->vector_width > 1; /* llvmpipe is a CPU that wants scalar items */
  *kernel_class = !strcmp(info->id, "ref") ? DUET_CLASS_PLAIN : vectors ? DUET_CLASS_CPU : DUET_CLASS_GPU;
  if (!forced || !*forced || *kernel_class == DUET_CLASS_PLAIN) return DUET_OK;
  if (strcmp(forced, "cpu") && strcmp(forced, "gpu"))
    return duet_fail(error, DUET_USAGE, "DUET_KERNEL_CLASS=%s: unknown class (cpu or gpu)", forced);
  *kernel_class = !strcmp(forced, "cpu") ? DUET_CLASS_CPU : DUET_CLASS_GPU;
  return DUET_OK;
}

duet_status duet_plan_vector_width(const duet_device_info *info, unsigned *width, duet_error *error) {
  const char *told = getenv("DUET_VECTOR_WIDTH");
  *width = info->vector_width;
  if (!told || !*told) return DUET_OK;
  static const char *const widths[] = {"4", "8", "16"};
  for (size_t i = 0; i < sizeof widths / sizeof *widths; i++)
    if (!strcmp(told, widths[i])) {
      *width = 4U << i;
      return DUET_OK;
    }
  return duet_fail(error, DUET_USAGE, "DUET_VECTOR_WIDTH=%.20s: no width of vectors (4, 8 or 16 floats)", told);
}

/* What a variable of the environment says: 1 on, 0 off, -1 nothing. Errors: USAGE. */
static duet_status read_switch(const char *variable, int *on, duet_error *error) {
  const char *told = getenv(variable);
  *on = -1;
  if (!told || !*told) return DUET_OK;
  if (strcmp(told, "on") != 0 && strcmp(told, "off") != 0)
    return duet_fail(error, DUET_USAGE, "%s=%.20s: neither on nor off", variable, told);
  *on = strcmp(told, "on") == 0;
  return DUET_OK;
}

/* The library, as $DUET_GEMM has it: on, off, or (not set) where a layer is large. */
static duet_status find_library(const duet_device_info *info, duet_plan_options *options, duet_error *error) {
  int on;
  const bool half = options->precision == DUET_PRECISION_fp16; /* kernels of ours */
  const bool can = info->library[0] && options->kernel_class == DUET_CLASS_GPU && !half;
  const duet_status s = read_switch("DUET_GEMM", &on, error);
  if (s) return s;
  if (on == 1 && !can && options->kernel_class != DUET_CLASS_PLAIN)
    return duet_fail(error, DUET_USAGE, "DUET_GEMM=on: %s %s", info->id,
                     half ? "has kernels for fp16, which use no library (unset it)"
                     : info->library[0]
                         ? "has kernels of the cpu class, which use no library (unset it, or DUET_KERNEL_CLASS=gpu)"
                         : "has no library of products (unset it)");
  options->gemm = !can || on == 0 ? DUET_GEMM_NEVER : on == 1 ? DUET_GEMM_ALWAYS : DUET_GEMM_LARGE;
  (void)snprintf(options->library, sizeof options->library, "%s", info->library);
  return DUET_OK;
}

/* Overlap, as $DUET_OVERLAP has it; plain C has no launches to speak of. */
static duet_status find_overlap(const duet_device_info *info, duet_plan_options *options, duet_error *error) {
  int on;
  if (!info->overlaps) options->overlap = DUET_OVERLAP_OFF;
  if (options->kernel_class == DUET_CLASS_PLAIN) return DUET_OK;
  const duet_status s = read_switch("DUET_OVERLAP", &on, error);
  if (s) return s;
  if (on == 1 && !info->overlaps)
    return duet_fail(error, DUET_USAGE,
                     "DUET_OVERLAP=on: launches of %s do not overlap; those of NVIDIA GPUs from compute capability 9.0 "
                     "on do, by CUDA (unset it)",
                     info->id);
  if (on >= 0) options->overlap = on ? DUET_OVERLAP_ON : DUET_OVERLAP_OFF;
  return DUET_OK;
}

/* Whether the environment switches off what is on by itself. */
static bool is_off(const char *variable) {
  const char *value = getenv(variable);
  return value && strcmp(value, "off") == 0;
}

duet_status duet_plan_for(const duet_device_info *info, duet_plan_options *options, duet_error *error) {
  duet_status s = duet_plan_class(info, &options->kernel_class, error);
  if (!s) s = duet_plan_vector_width(info, &options->vector_width, error);
  if (!s) s = find_library(info, options, error);
  if (!s) s = find_overlap(info, options, error);
  if (s) return s;
  options->compute_units = info->compute_units;
  options->max_group = info->max_group;
  options->roomy = info->roomy;
  options->direct = options->direct || is_off("DUET_WINOGRAD");
  options->sections = options->sections && !is_off("DUET_SECTIONS");
  options->unpacked = options->unpacked || is_off("DUET_PACKED");
  const duet_precision precision = options->precision;
  if (precision == DUET_PRECISION_fp32) return DUET_OK;
  if (!(info->precisions & 1U << precision))
    return duet_fail(error, DUET_NO_DEVICE, "precision %s: %s %s", duet_precision_names[precision], info->id,
                     info->lacks[precision]);
  const char *forced = getenv("DUET_KERNEL_CLASS");
  if (!forced || !*forced) options->kernel_class = DUET_CLASS_GPU;
  if (options->kernel_class != DUET_CLASS_GPU)
    return duet_fail(error, DUET_USAGE, "precision %s: kernels of the gpu class only (unset DUET_KERNEL_CLASS)",
                     duet_precision_names[precision]);
  return DUET_OK;
}

duet_status duet_precision_parse(const char *name, duet_precision *precision, duet_error *error) {
  for (int p = 0; p < DUET_PRECISIONS; p++)
    if (!strcmp(name, duet_precision_names[p])) {
      *precision = (duet_precision)p;
      return DUET_OK;
    }
  return duet_fail(error, DUET_USAGE, "precision %s: unknown (fp32, tf32, bf16 or fp16)", name);
}
