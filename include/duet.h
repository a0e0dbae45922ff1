/* Duet as a library: networks that see a picture of a digit and a number from 0 to 9, and say the digit and the sum of
   both; trained and used on any OpenCL or CUDA device, or in plain C.

     duet_error error;
     duet_engine *engine = NULL;
     duet_learner *learner = NULL;
     const uint8_t number = 4;
     float sums[19];
     if (duet_engine_open("auto", &engine, &error) || duet_learner_load(engine, "m.st", &learner, &error) ||
         duet_learner_predict(learner, picture, &number, 1, NULL, sums, &error))
       fprintf(stderr, "%s\n", error.text);
     else
       printf("%zu\n", duet_softmax(sums, 19, NULL));
     duet_learner_destroy(learner);
     duet_engine_close(engine);

   What holds for all functions:
   - One that can fail returns a status, DUET_OK (0) when it did not, and says in `error` (may be NULL) what went wrong,
     where, and what to do. What it was to make is NULL then; what it was to write is undefined.
   - Nothing exits or waits for a person, and nothing prints, but for what duet_engine_open says. Bad files, networks
     and values are refused, however bad; a pointer may be NULL only where it is said.
   - Arguments are lent for the call, whoever calls owns them. What create, load or open made, its caller destroys or
     closes; those take NULL.
   - An engine and all that was made on it belong to one thread at a time. No engine is opened and no device listed
     while another thread does so.
   - duet_device_entry, duet_description, duet_training and duet_epoch may get further members at their end. So whoever
     has memory for one says how large it is (sizeof), and no more of it is written or read; a program needs a library
     that is as new as its header. The other structs stay as they are.
   - Neither files nor results depend on the locale of the program. */
#ifndef DUET_H
#define DUET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef DUET_PUBLIC /* what libduet.so exports */
#define DUET_PUBLIC __attribute__((visibility("default")))
#endif

/* ---- version: semantic (semver.org); while the first number is 0, the second one says what fits together ---- */

#define DUET_VERSION_MAJOR 0
#define DUET_VERSION_MINOR 1
#define DUET_VERSION_PATCH 0

#define DUET_VERSION_TEXT(number) #number
#define DUET_VERSION_JOIN(major, minor, patch) \
  DUET_VERSION_TEXT(major) "." DUET_VERSION_TEXT(minor) "." DUET_VERSION_TEXT(patch)
#define DUET_VERSION DUET_VERSION_JOIN(DUET_VERSION_MAJOR, DUET_VERSION_MINOR, DUET_VERSION_PATCH)

/* That of the library which runs; DUET_VERSION is that of the header. Static. */
DUET_PUBLIC const char *duet_version(void);

/* ---- errors ---- */

/* X(name, exit status of the program `duet`, meaning). New ones come last. */
#define DUET_STATUS_MAP(X)                                          \
  X(OK, 0, "done")                                                  \
  X(FAILED, 1, "the run or a check failed")                         \
  X(USAGE, 2, "wrong usage")                                        \
  X(NO_DEVICE, 3, "no usable device")                               \
  X(BAD_INPUT, 4, "input is damaged, missing or of the wrong kind") \
  X(IO, 1, "a file could not be written")                           \
  X(OUT_OF_MEMORY, 1, "out of memory")                              \
  X(TOO_LARGE, 1, "more than the device allows")                    \
  X(UNSUPPORTED, 1, "not supported by this device or version")      \
  X(BUILD_FAILED, 1, "a kernel did not compile")                    \
  X(DEVICE_LOST, 1, "the device failed")                            \
  X(INTERRUPTED, 130, "interrupted")

/* DUET_OK, DUET_FAILED, DUET_USAGE... */
typedef enum duet_status {
#define DUET_STATUS_ENUM(name, exit_status, text) DUET_##name,
  DUET_STATUS_MAP(DUET_STATUS_ENUM)
#undef DUET_STATUS_ENUM
} duet_status;

/* What went wrong, for a person: the thing, the place and the next step. Owned by the caller. */
typedef struct duet_error {
  duet_status status;
  char text[1024];
} duet_error;

/* The meaning of a status. Static. */
DUET_PUBLIC const char *duet_status_text(duet_status status);

/* ---- devices ---- */

typedef struct duet_device_entry {
  char id[32];         /* what duet_engine_open takes: "opencl:0:0", "cuda:0", "ref" (plain C, always there, slow) */
  char name[128];      /* as its driver says */
  char type[8];        /* "cpu", "gpu", "other" */
  bool usable;         /* if not, the entry may stand for a whole platform or backend */
  char reason[512];    /* why not, and what to do; empty when usable */
  char precisions[32]; /* to train in: "fp32", "fp32 fp16"; empty unless usable */
} duet_device_entry;

/* Writes the first `capacity` devices, the best ones first, `size` bytes each (sizeof *devices), and to *count how many
   there are. Loads every driver. Errors: OUT_OF_MEMORY. */
DUET_PUBLIC duet_status duet_list_devices(duet_device_entry *devices, size_t size, size_t capacity, size_t *count,
                                          duet_error *error);

/* A device that is open. */
typedef struct duet_engine duet_engine;

/* Opens a device by its id; "auto" is the best one, "opencl" and "cuda" the best of these. Compiled kernels are kept on
   disk, by the driver where it does so (PoCL), else in $DUET_CACHE_DIR or ~/.cache/duet. A record of `duet tune` that
   is there is used ($DUET_TUNE; "off": not); one that cannot be, or whose parameters the device's library refuses, is
   named on standard error.
   Errors: NO_DEVICE with the list of what there is, USAGE for what is no id, OUT_OF_MEMORY. */
DUET_PUBLIC duet_status duet_engine_open(const char *device, duet_engine **engine, duet_error *error);

/* After all that was made on it. */
DUET_PUBLIC void duet_engine_close(duet_engine *engine);

/* The device. Lives as long as the engine. */
DUET_PUBLIC const duet_device_entry *duet_engine_device(const duet_engine *engine);

/* ---- data sets ---- */

/* Pictures that are labelled with digits, in memory. */
typedef struct duet_dataset duet_dataset;

typedef struct duet_pictures {
  size_t count;          /* 1 to 10,000,000 */
  int height, width;     /* 1 to 64 */
  const uint8_t *images; /* [count][height][width], 0 background to 255 ink */
  const uint8_t *labels; /* [count], 0 to 9, not all 0 */
} duet_pictures;

typedef enum duet_split { DUET_SPLIT_TRAIN, DUET_SPLIT_TEST } duet_split;

/* Reads IDX files (http://yann.lecun.com/exdb/mnist), plain or .gz, from `directory`: train-images-idx3-ubyte and
   train-labels-idx1-ubyte, or t10k-...; NULL is $DUET_DATA where that is set, else the MNIST that comes with Duet.
   Errors: BAD_INPUT, "FILE: byte N: what is wrong (what to do)"; USAGE for another split; OUT_OF_MEMORY. */
DUET_PUBLIC duet_status duet_dataset_load(const char *directory, duet_split split, duet_dataset **dataset,
                                          duet_error *error);

/* Copies pictures of the caller. Errors: BAD_INPUT, OUT_OF_MEMORY. */
DUET_PUBLIC duet_status duet_dataset_create(const duet_pictures *pictures, duet_dataset **dataset, duet_error *error);

/* The pictures of a data set; the arrays live as long as it does. */
DUET_PUBLIC duet_pictures duet_dataset_pictures(const duet_dataset *dataset);

DUET_PUBLIC void duet_dataset_destroy(duet_dataset *dataset);

/* ---- learners ---- */

/* What a network says: for C classes of digits C logits of the digit, and C + 9 of the sum. */
enum { DUET_HEAD_DIGIT, DUET_HEAD_SUM, DUET_HEADS };

typedef struct duet_score {
  double loss[DUET_HEADS];     /* means over the samples, nats */
  double accuracy[DUET_HEADS]; /* fractions */
} duet_score;

/* A network with its parameters on an engine: it learns, predicts, and is kept in a file. */
typedef struct duet_learner duet_learner;

typedef struct duet_description {
  const char *network;        /* its name; lives as long as the learner */
  size_t parameters;          /* trained values */
  int height, width;          /* of its pictures */
  size_t classes[DUET_HEADS]; /* logits of each head: 10 and 19 for ten digits */
  bool digit_needs_number;    /* whether the digit's logits depend on the number too */
  uint64_t seed;
} duet_description;

/* Makes an untrained learner for pictures of `height` times `width`. `network` is a preset ("fast" or one of those
   that the refusal of another name lists) or, where it holds a '/' or ends in ".net", a file. Initial values derive
   from `seed`, as does all that is random in training: the same seed, device, data, record of `duet tune` and `DUET_*`
   settings give the same bits. Errors: BAD_INPUT with "NAME:LINE:COLUMN: what and what instead", OUT_OF_MEMORY, those
   of the device. */
DUET_PUBLIC duet_status duet_learner_create(const duet_engine *engine, const char *network, int height, int width,
                                            uint64_t seed, duet_learner **learner, duet_error *error);

/* The same from the text of a network, which `name` stands for in messages. */
DUET_PUBLIC duet_status duet_learner_parse(const duet_engine *engine, const char *name, const char *text, int height,
                                           int width, uint64_t seed, duet_learner **learner, duet_error *error);

/* Reads a checkpoint that duet_learner_save or `duet train --save` wrote: network, parameters, seed. Errors: BAD_INPUT
   with what is missing or differs, OUT_OF_MEMORY, those of the device. */
DUET_PUBLIC duet_status duet_learner_load(const duet_engine *engine, const char *path, duet_learner **learner,
                                          duet_error *error);

/* Writes a checkpoint (safetensors); a file of that name is replaced when the new one is whole on disk. Errors: IO,
   OUT_OF_MEMORY, those of the device. */
DUET_PUBLIC duet_status duet_learner_save(const duet_learner *learner, const char *path, duet_error *error);

/* `size` is sizeof *description. */
DUET_PUBLIC void duet_learner_describe(const duet_learner *learner, duet_description *description, size_t size);

DUET_PUBLIC void duet_learner_destroy(duet_learner *learner);

/* ---- training ---- */

typedef struct duet_epoch {
  int epoch;           /* from 1 */
  duet_score train;    /* while training */
  duet_score measured; /* after it, on the validation samples or the test set */
  double seconds;      /* of training alone */
  double images_per_second;
  size_t skipped; /* steps that moved nothing, their gradients being beyond half precision (fp16) */
} duet_epoch;

/* A recipe, and who wants to know. Words and ranges are those of `duet help train`. */
typedef struct duet_training {
  size_t size; /* of this struct: duet_training_default writes it */
  int epochs, batch;
  uint64_t seed; /* of order, numbers, dropout and movement, and of the numbers in `measured`; 0: the learner's */
  bool augment;  /* pictures are moved a little while training, anew in every epoch */
  const char *optimizer; /* "sgd", "adam", "adamw" */
  const char *schedule;  /* "constant", "onecycle", "cosine" */
  const char *precision; /* "fp32"; "tf32", "bf16" or "fp16" where the device has them */
  double learning_rate;  /* the largest of the schedule */
  double momentum;       /* sgd */
  bool nesterov;         /* sgd */
  double beta1, beta2;   /* adam, adamw */
  double weight_decay;
  size_t validation; /* the last samples of the training set are kept aside, and measured in place of `test` */
  double target;     /* accuracy of both heads, a fraction, that ends training; 0: none */
  /* `context` is for both functions; each may be NULL. From `epoch`, this learner may be saved, described, evaluated
     and asked to predict; nothing else of it or its engine, and nothing from `progress`. */
  void *context;
  void (*epoch)(void *context, const duet_epoch *epoch);
  bool (*progress)(void *context, size_t step, size_t steps); /* ten times a second at most; true: stop now */
} duet_training;

/* That of `duet train` without options: 98.5 % and more on both heads of MNIST with "fast". `size` is sizeof *training.
 */
DUET_PUBLIC void duet_training_default(duet_training *training, size_t size);

/* Trains on `train` and measures after each epoch on `test` (may be NULL where samples are kept aside). Each call is a
   run of its own: it goes on with the parameters as they are; moments, learning rate and the randomness of `seed` begin
   anew. So a program that calls again and again gives each call a seed of its own. Errors: INTERRUPTED
   (`progress` said so; the steps until then have been done), USAGE (a word or value of the recipe), BAD_INPUT (the
   pictures do not fit the network), NO_DEVICE (this one has not the precision), OUT_OF_MEMORY, those of the device. */
DUET_PUBLIC duet_status duet_learner_train(duet_learner *learner, const duet_dataset *train, const duet_dataset *test,
                                           const duet_training *training, duet_error *error);

/* Measures on all of a data set, in fp32, with numbers that the learner's seed fixes. Errors: as in training. */
DUET_PUBLIC duet_status duet_learner_evaluate(const duet_learner *learner, const duet_dataset *dataset,
                                              duet_score *score, duet_error *error);

/* ---- predicting ---- */

/* Brings a picture of any size, grey[height][width] (0 black to 255 white, dark ink on light paper or the other way
   round), to the form of what the network knows: image[learner's height][learner's width], the ink cut out, scaled and
   centred as in MNIST (docs/formats.md, "Pictures"). Errors: BAD_INPUT (nothing stands out; larger than 32768 a side or
   2^26 pixels). */
DUET_PUBLIC duet_status duet_learner_fit(const duet_learner *learner, const uint8_t *grey, int height, int width,
                                         uint8_t *image, duet_error *error);

/* digit[count][classes of the digit] and sum[count][classes of the sum], the logits for images[count][height][width] (0
   background to 255 ink), image i with numbers[i], 0 to 9. `digit` or `sum` may be NULL; `numbers` may, where `sum` is
   and the digit does not need them. The first call prepares the device, further ones are fast. Errors: USAGE (a number
   is missing or above 9), FAILED (logits that are no numbers: training has diverged), OUT_OF_MEMORY, those of the
   device. */
DUET_PUBLIC duet_status duet_learner_predict(duet_learner *learner, const uint8_t *images, const uint8_t *numbers,
                                             size_t count, float *digit, float *sum, duet_error *error);

/* probabilities[count] (may be NULL) of logits[count], by softmax, in double; returns the index of the largest, the
   first among equals. */
DUET_PUBLIC size_t duet_softmax(const float *logits, size_t count, double *probabilities);

#ifdef __cplusplus
}
#endif

#endif
