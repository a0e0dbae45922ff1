/* One way to do a direction of a layer, ready to be timed: its stages compared with `ref`, then recorded. */
#ifndef DUET_TUNE_CANDIDATE_H
#define DUET_TUNE_CANDIDATE_H

#include "bench/suite/measure.h"
#include "engine/record.h"
#include "engine/trial.h"

enum { TUNE_STAGES = 8 /* of one direction at most */, TUNE_ROUNDS = 31, TUNE_NAME = 160, TUNE_KNOWN = 16 };

/* What `ref` made of a stage: it is the same for all tiles. */
typedef struct tune_known {
  duet_stage stage; /* without its tile */
  size_t words[DUET_MEMORIES];
  uint32_t *wanted[DUET_MEMORIES];
} tune_known;

/* What the candidates of a layer share. */
typedef struct tune_layer {
  bench_rig *rig;
  const duet_network *network;
  const duet_plan *plan;          /* of a training step, by the rule */
  const duet_plan_layer *planned; /* in it */
  tune_known known[TUNE_KNOWN];
  size_t known_count; /* ever; the oldest make room */
} tune_layer;

typedef struct tune_candidate {
  duet_direction direction;
  duet_choice choice;   /* the tile as asked for: all 0 is the rule's */
  duet_stage main;      /* as it is cut */
  char name[TUNE_NAME]; /* "forward winograd 5, 4x10x10" */
  duet_launch launches[TUNE_STAGES];
  size_t stage_count;
  duet_recording *recording;
  size_t times; /* replays of a sample */
  double samples[TUNE_ROUNDS];
  size_t sample_count;
  double seconds; /* of one replay */
  bool slow;      /* clearly: no longer sampled */
} tune_candidate;

/* A plan with this choice for one direction of the layer, the others as they agree with it. The caller destroys it. */
duet_status tune_plan(const tune_layer *layer, duet_direction direction, const duet_choice *choice, duet_plan **plan,
                      duet_error *error);

/* Plans a candidate and names it. */
duet_status tune_candidate_plan(const tune_layer *layer, duet_direction direction, const duet_choice *choice,
                                tune_candidate *candidate, duet_plan **plan, duet_error *error);
/* Builds its stages, compares every value of them with `ref`, and records them. Errors: FAILED when a value is wrong,
   those of the backend. tune_candidate_clear takes one that was made in part. */
duet_status tune_candidate_make(tune_layer *layer, const duet_plan *plan, tune_candidate *candidate, duet_error *error);
void tune_candidate_clear(const tune_layer *layer, tune_candidate *candidate);
void tune_layer_clear(tune_layer *layer);

#endif
