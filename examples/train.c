/* Trains the network `fast` and keeps it in a file: train CHECKPOINT [DEVICE [DIRECTORY OF IDX FILES]] */
#include <duet.h>
#include <stdio.h>

static void print_epoch(void *context, const duet_epoch *epoch) {
  (void)context;
  printf("epoch %d: digit %.2f %%, sum %.2f %%, %.0f images/s\n", epoch->epoch,
         100 * epoch->measured.accuracy[DUET_HEAD_DIGIT], 100 * epoch->measured.accuracy[DUET_HEAD_SUM],
         epoch->images_per_second);
}

int main(int argc, char **argv) {
  if (argc < 2 || argc > 4) {
    (void)fprintf(stderr, "usage: train CHECKPOINT [DEVICE [DIRECTORY]]\n");
    return 2;
  }
  const char *device = argc > 2 ? argv[2] : "auto", *directory = argc > 3 ? argv[3] : NULL;
  duet_error error;
  duet_engine *engine = NULL;
  duet_dataset *train = NULL, *test = NULL;
  duet_learner *learner = NULL;
  duet_training training;
  duet_training_default(&training, sizeof training);
  training.epoch = print_epoch;

  duet_status status = duet_engine_open(device, &engine, &error);
  if (!status) status = duet_dataset_load(directory, DUET_SPLIT_TRAIN, &train, &error);
  if (!status) status = duet_dataset_load(directory, DUET_SPLIT_TEST, &test, &error);
  if (!status) status = duet_learner_create(engine, "fast", 28, 28, 1, &learner, &error);
  if (!status) status = duet_learner_train(learner, train, test, &training, &error);
  if (!status) status = duet_learner_save(learner, argv[1], &error);
  if (status) (void)fprintf(stderr, "train: %s\n", error.text);

  duet_learner_destroy(learner);
  duet_dataset_destroy(test);
  duet_dataset_destroy(train);
  duet_engine_close(engine);
  return status ? 1 : 0;
}
