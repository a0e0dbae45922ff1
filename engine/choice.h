/* How each direction of a layer is done and cut: by the built-in rule, or as measurements on the device say
   (engine/record.h). The planner asks here and nowhere else, and `duet tune` tries what is listed here. */
#ifndef DUET_CHOICE_H
#define DUET_CHOICE_H

#include "engine/backend.h"
#include "engine/network.h"

typedef struct duet_plan duet_plan; /* engine/plan.h */

typedef enum duet_direction { DUET_FORWARD, DUET_BACKWARD, DUET_WEIGHTS, DUET_DIRECTIONS } duet_direction;
extern const char *const duet_direction_names[DUET_DIRECTIONS];

/* winograd: inside of the convolution's stage; steps: Winograd's algorithm in stages of its own; lists: of what is not
   0 in the gradient, or forward in a dense layer's input; library: a dense layer as products by the vendor's; pixels:
   of a picture those that are not background; single: of one picture, with vectors of channels. */
typedef enum duet_way {
  DUET_WAY_direct,
  DUET_WAY_winograd,
  DUET_WAY_steps,
  DUET_WAY_lists,
  DUET_WAY_library,
  DUET_WAY_pixels,
  DUET_WAY_single,
  DUET_WAYS
} duet_way;
extern const char *const duet_way_names[DUET_WAYS];

/* The constants that cut a stage; all 0: as the rule does (engine/tiles.c). */
typedef struct duet_tile {
  int TO, TH, TW, ROWS, TILES, WIDTH;
} duet_tile;

enum { DUET_UNTUNED = -1, DUET_MOST_WAYS = 16, DUET_MOST_TILES = 24, DUET_KEY_SIZE = 192 };

/* One direction of a layer. */
typedef struct duet_choice {
  duet_way way;
  int M;         /* of Winograd's algorithm, else 0 */
  bool by_block; /* of a convolution's weights: made block by block, then summed */
  duet_tile tile;
  int gain; /* percent by which it was faster than the rule's when it was measured; DUET_UNTUNED: never was */
} duet_choice;

/* What a convolution or dense layer asks for. */
typedef struct duet_problem {
  duet_op_kind op;
  duet_shape in, out; /* before any pooling */
  int kernel, stride, pad;
  bool pool, relu; /* in the same unit */
  bool after_relu; /* a dense layer's input ends in one (cpu class) */
  bool back;       /* its input needs a gradient */
  bool resident;   /* its input are pictures of the data set (constant RESIDENT) */
  bool turned;     /* its input are pictures, and the gradient of its result comes with channels innermost */
} duet_problem;

/* "conv 24x12x12 to 32x10x10, kernel 3, stride 1, pad 0, pooled, relu, back; 8 blocks, fp32": what measurements of one
   device are told apart by. */
void duet_problem_key(const duet_plan *plan, const duet_problem *problem, char key[DUET_KEY_SIZE]);

/* The choices for a plan: those of plan->options.tuned where it has this very problem, and the plan can do it so; else
   the rule's. */
void duet_choose(const duet_plan *plan, const duet_problem *problem, duet_choice choices[DUET_DIRECTIONS]);
void duet_choose_by_rule(const duet_plan *plan, const duet_problem *problem, duet_choice choices[DUET_DIRECTIONS]);

/* The ways in which a direction can be done, the rule's first, tiles left to the rule (`single`, of evaluation,
   is the rule's alone). Returns their number; 0 where nothing is to be done. */
size_t duet_ways(const duet_plan *plan, const duet_problem *problem, duet_direction direction,
                 duet_choice ways[DUET_MOST_WAYS]);
/* Whether directions can be done so together: in steps or by the library all or none; by lists both ways back of a
   convolution or neither. */
bool duet_choices_agree(const duet_problem *problem, const duet_choice choices[DUET_DIRECTIONS]);

/* The tile that a stage has, and tiles next to it that its template takes (kernels/): one dimension more or less, or
   one more for another less. Returns their number; 0 where the stage is not cut. */
duet_tile duet_tile_of(const duet_stage *stage);
size_t duet_tiles_near(const duet_plan *plan, const duet_stage *stage, duet_tile tiles[DUET_MOST_TILES]);
/* Cuts a stage as the rule does, or as `tile` says when that is not all 0 and suits it: false where it does not. */
bool duet_tile_cut(const duet_plan *plan, duet_stage *stage, const duet_tile *tile);

/* Whether stage `at` of a plan, one of a layer's unit (its pooling included), serves a direction: what prepares both
   ways back is counted once, where it comes first. `back`: as in duet_problem. */
bool duet_stage_serves(const duet_plan *plan, size_t at, duet_direction direction, bool back);
/* Whether its tile is what a choice for its direction cuts. */
bool duet_stage_is_main(const duet_stage *stage);

#endif
