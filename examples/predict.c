/* Says what a trained network sees in a picture of any size: predict CHECKPOINT PICTURE.pgm NUMBER [DEVICE] */
#include <duet.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct picture {
  int height, width;
  uint8_t *grey; /* [height][width] */
} picture;

/* Reads a binary PGM without comments; the caller frees `grey`. */
static bool read_pgm(const char *path, picture *p) {
  FILE *file = fopen(path, "rb");
  bool read = false;
  int white = 0;
  if (file && fscanf(file, "P5 %5d %5d %5d%*c", &p->width, &p->height, &white) == 3 && white == 255 && p->width > 0 &&
      p->height > 0) {
    const size_t size = (size_t)p->width * (size_t)p->height;
    p->grey = malloc(size);
    read = p->grey && fread(p->grey, 1, size, file) == size;
  }
  if (file) (void)fclose(file);
  return read;
}

static bool print_best(const char *head, const float *logits, size_t classes) {
  double *probabilities = malloc(classes * sizeof *probabilities);
  if (!probabilities) return false;
  const size_t best = duet_softmax(logits, classes, probabilities);
  printf("%s %zu (%.2f %%)\n", head, best, 100 * probabilities[best]);
  free(probabilities);
  return true;
}

static duet_status predict(duet_learner *learner, const picture *p, uint8_t number, duet_error *error) {
  duet_description d;
  duet_learner_describe(learner, &d, sizeof d);
  const size_t digits = d.classes[DUET_HEAD_DIGIT], sums = d.classes[DUET_HEAD_SUM];
  uint8_t *image = malloc((size_t)d.height * (size_t)d.width);
  float *logits = malloc((digits + sums) * sizeof *logits);
  duet_status status = image && logits ? DUET_OK : DUET_OUT_OF_MEMORY;
  if (!status) status = duet_learner_fit(learner, p->grey, p->height, p->width, image, error);
  if (!status) status = duet_learner_predict(learner, image, &number, 1, logits, logits + digits, error);
  if (!status && !(print_best("digit", logits, digits) && print_best("sum", logits + digits, sums)))
    status = DUET_OUT_OF_MEMORY;
  free(logits);
  free(image);
  return status;
}

int main(int argc, char **argv) {
  if (argc < 4 || argc > 5 || argv[3][0] < '0' || argv[3][0] > '9' || argv[3][1]) {
    (void)fprintf(stderr, "usage: predict CHECKPOINT PICTURE.pgm NUMBER [DEVICE]; NUMBER is one from 0 to 9\n");
    return 2;
  }
  picture p = {0};
  duet_error error = {.text = "out of memory"};
  duet_engine *engine = NULL;
  duet_learner *learner = NULL;
  duet_status status = DUET_BAD_INPUT;
  if (!read_pgm(argv[2], &p)) {
    (void)fprintf(stderr, "predict: %s: cannot be read as binary PGM of 8 bits\n", argv[2]);
  } else {
    status = duet_engine_open(argc > 4 ? argv[4] : "auto", &engine, &error);
    if (!status) status = duet_learner_load(engine, argv[1], &learner, &error);
    if (!status) status = predict(learner, &p, (uint8_t)(argv[3][0] - '0'), &error);
    if (status) (void)fprintf(stderr, "predict: %s\n", error.text);
  }
  duet_learner_destroy(learner);
  duet_engine_close(engine);
  free(p.grey);
  return status ? 1 : 0;
}
