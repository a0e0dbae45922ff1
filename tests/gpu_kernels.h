/* The texts of the kernels that a network has in the gpu class, without a device. */
#ifndef DUET_TEST_GPU_KERNELS_H
#define DUET_TEST_GPU_KERNELS_H

#include "engine/plan.h"

/* Takes one kernel: its launch and its text, which lives until the call returns. */
typedef duet_status gpu_kernel_taker(void *to, const duet_plan_launch *launch, const char *text, duet_error *error);

/* Every kernel of a step (training, or evaluation) as a device of so many compute units (`roomy` as in
   duet_device_info) gets it; ends with the first status that is not OK. */
duet_status gpu_kernels(const duet_network *network, int batch, bool train, duet_precision precision,
                        unsigned compute_units, bool roomy, gpu_kernel_taker *take, void *to, duet_error *error);

#endif
