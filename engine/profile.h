/* How long launches take, and the most that the device could do. */
#ifndef DUET_PROFILE_H
#define DUET_PROFILE_H

#include "engine/runner.h"
#include "engine/schedule.h"

/* The least seconds per launch of `count` launches in a row, over some repetitions by the host's clock, warm. */
duet_status duet_profile(const duet_handle *handle, const duet_launch *launches, size_t count, double *seconds,
                         duet_error *error);

/* Starts the first epoch of seed 1, of two by `recipe`. NULL: one that moves no parameter (learning rate 0): steps do
   their work on real images, and the model stays as it is. Errors: OUT_OF_MEMORY, those of the backend. */
duet_status duet_profile_begin(duet_runner *runner, const duet_recipe *recipe, duet_error *error);

/* The least seconds per step as it is launched, over some repetitions of such epochs, or parts of one. */
duet_status duet_profile_step(duet_runner *runner, double *seconds, duet_error *error);

/* Stage peak in fp32, cut for the registers of the device. */
duet_stage duet_peak_stage(const duet_device_info *info, duet_kernel_class kernel_class, int rounds);

/* Multiply-adds in registers on all compute units, in FLOP/s (fp32; a multiply-add is two). */
duet_status duet_profile_peak(const duet_handle *handle, double *flops_per_second, duet_error *error);

#endif
