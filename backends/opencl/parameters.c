/* What CLBlast compiles the kernels of SGEMM with. Of some hundred devices it knows what is fast; on others its
   defaults serve, which may be far from it. Three of its kernels have parameters that matter here (its sources and
   doc/tuning.md say what each does):

   XgemmDirect   one kernel, for small products; its names end in D
   Xgemm         for large ones, between kernels that pad and turn the matrices
   GemmRoutine   from which size on it is Xgemm: the cube root of m n k

   A text reads "Xgemm MWG=64 NWG=64 ...;GemmRoutine XGEMM_MIN_INDIRECT_SIZE=512". CLBlast believes what it is told: a
   set that breaks a rule of its kernels gives wrong numbers. So the rules stand here. */
#include "backends/opencl/opencl.h"

#include <clblast_c.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 16 /* parameters of a kernel */, WORD = 64, MESSAGE = 200 };

typedef struct parameter {
  const char *name;
  size_t least, most;
} parameter;

/* A kernel's values, in the order of its parameters. */
typedef struct setting {
  bool is_set;
  size_t values[MOST];
} setting;

/* Why these values do not go together on the device; NULL when they do. */
typedef const char *unfit(const duet_device_info *info, const size_t *v);

typedef struct rule {
  bool kept;
  const char *text;
} rule;

static const char *first_broken(const rule *rules, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (!rules[i].kept) return rules[i].text;
  return NULL;
}

static bool divides(size_t part, size_t whole) { return part > 0 && whole % part == 0; }

/* ---- kernels ---- */

static unfit unfit_xgemm, unfit_direct, unfit_routine;
enum { GEMMK, KREG, KWG, KWI, MDIMA, MDIMC, MWG, NDIMB, NDIMC, NWG, SA, SB, STRM, STRN, VWM, VWN };
enum { KWID, MDIMAD, MDIMCD, NDIMBD, NDIMCD, PADA, PADB, VWMD, VWND, WGD };
enum { XGEMM_MIN_INDIRECT_SIZE, LARGEST_SIDE = 1 << 20 /* whose cube is a number of 64 bits */ };
enum { XGEMM, DIRECT, ROUTINE, KERNELS };

#define FLAG(name) [name] = {#name, 0, 1}
#define SIZE(name) [name] = {#name, 1, 256}
static const struct {
  const char *name;
  unfit *unfit;
  size_t count;
  parameter parameters[MOST];
} kernels[KERNELS] = {
    [XGEMM] = {"Xgemm",
               unfit_xgemm,
               16,
               {FLAG(GEMMK), SIZE(KREG), SIZE(KWG), SIZE(KWI), SIZE(MDIMA), SIZE(MDIMC), SIZE(MWG), SIZE(NDIMB),
                SIZE(NDIMC), SIZE(NWG), FLAG(SA), FLAG(SB), FLAG(STRM), FLAG(STRN), SIZE(VWM), SIZE(VWN)}},
    [DIRECT] = {"XgemmDirect",
                unfit_direct,
                10,
                {SIZE(KWID), SIZE(MDIMAD), SIZE(MDIMCD), SIZE(NDIMBD), SIZE(NDIMCD), FLAG(PADA), FLAG(PADB), SIZE(VWMD),
                 SIZE(VWND), SIZE(WGD)}},
    [ROUTINE] = {"GemmRoutine", unfit_routine, 1, {{"XGEMM_MIN_INDIRECT_SIZE", 0, LARGEST_SIDE}}},
};
#undef FLAG
#undef SIZE

static bool is_vector(size_t width) { return width <= 16 && divides(width, 16); }

static bool is_group(const duet_device_info *info, size_t items) { return items <= info->max_group; }

static bool is_local(const duet_device_info *info, size_t floats) {
  return floats * sizeof(float) <= info->local_memory;
}

static const char *unfit_xgemm(const duet_device_info *info, const size_t *v) {
  const size_t items = v[MDIMC] * v[NDIMC];
  const bool shuffles = v[GEMMK] == 1; /* the kernel without local memory, which turns a work-item's own tile */
  const rule rules[] = {
      {is_vector(v[VWM]) && is_vector(v[VWN]), "VWM and VWN must be 1, 2, 4, 8 or 16"},
      {divides(v[KWI], v[KWG]), "KWG must be a multiple of KWI"},
      {divides(v[MDIMC] * v[VWM], v[MWG]), "MWG must be a multiple of MDIMC x VWM"},
      {divides(v[MDIMA] * v[VWM], v[MWG]), "MWG must be a multiple of MDIMA x VWM"},
      {divides(v[NDIMC] * v[VWN], v[NWG]), "NWG must be a multiple of NDIMC x VWN"},
      {divides(v[NDIMB] * v[VWN], v[NWG]), "NWG must be a multiple of NDIMB x VWN"},
      {divides(v[MDIMA], items), "MDIMC x NDIMC must be a multiple of MDIMA"},
      {divides(v[NDIMB], items), "MDIMC x NDIMC must be a multiple of NDIMB"},
      {shuffles || divides(items / v[MDIMA], v[KWG]), "KWG must be a multiple of MDIMC x NDIMC / MDIMA"},
      {shuffles || divides(items / v[NDIMB], v[KWG]), "KWG must be a multiple of MDIMC x NDIMC / NDIMB"},
      {shuffles || v[KREG] == 1, "KREG must be 1 where GEMMK is 0"},
      {!shuffles || divides(v[VWN], v[KREG]), "KREG must be a multiple of VWN where GEMMK is 1"},
      {!shuffles || (v[MDIMA] == v[MDIMC] && v[NDIMB] == v[NDIMC]), "MDIMA and NDIMB must be MDIMC and NDIMC"},
      {!shuffles || (v[KWG] == 1 && !v[SA] && !v[SB]), "KWG must be 1, SA and SB 0 where GEMMK is 1"},
      {is_group(info, items), "the device's groups have fewer items than MDIMC x NDIMC"},
      {is_local(info, v[KWG] * (v[SA] * v[MWG] + v[SB] * v[NWG])), "the device has less local memory"},
  };
  return first_broken(rules, sizeof rules / sizeof *rules);
}

static const char *unfit_direct(const duet_device_info *info, const size_t *v) {
  const size_t items = v[MDIMCD] * v[NDIMCD], side = v[WGD];
  const rule rules[] = {
      {is_vector(v[VWMD]) && is_vector(v[VWND]), "VWMD and VWND must be 1, 2, 4, 8 or 16"},
      {divides(v[KWID], side), "WGD must be a multiple of KWID"},
      {divides(v[MDIMCD] * v[VWMD], side), "WGD must be a multiple of MDIMCD x VWMD"},
      {divides(v[MDIMAD] * v[VWMD], side), "WGD must be a multiple of MDIMAD x VWMD"},
      {divides(v[NDIMCD] * v[VWND], side), "WGD must be a multiple of NDIMCD x VWND"},
      {divides(v[NDIMBD] * v[VWND], side), "WGD must be a multiple of NDIMBD x VWND"},
      {divides(v[MDIMAD], items) && divides(items / v[MDIMAD], side),
       "WGD must be a multiple of MDIMCD x NDIMCD / MDIMAD"},
      {divides(v[NDIMBD], items) && divides(items / v[NDIMBD], side),
       "WGD must be a multiple of MDIMCD x NDIMCD / NDIMBD"},
      {is_group(info, items), "the device's groups have fewer items than MDIMCD x NDIMCD"},
      {is_local(info, side * (2 * side + v[PADA] + v[PADB])), "the device has less local memory"},
  };
  return first_broken(rules, sizeof rules / sizeof *rules);
}

static const char *unfit_routine(const duet_device_info *info, const size_t *v) {
  (void)info, (void)v;
  return NULL;
}

/* ---- texts ---- */

/* Copies the word at *at to word[WORD] ("" when it is longer) and moves on behind it and the spaces that follow. */
static void next_word(const char **at, char word[WORD]) {
  const size_t length = strcspn(*at, " ;");
  (void)snprintf(word, WORD, "%.*s", length < WORD ? (int)length : 0, *at);
  *at += length;
  *at += strspn(*at, " ");
}

/* NAME=VALUE of a kernel, each once. False: it is none. */
static bool take_value(size_t kernel, const char *word, setting *s, unsigned *seen) {
  const size_t length = strcspn(word, "=");
  const char *digits = word[length] ? word + length + 1 : "";
  for (size_t i = 0; i < kernels[kernel].count; i++) {
    const parameter *p = &kernels[kernel].parameters[i];
    if (strlen(p->name) != length || strncmp(p->name, word, length) != 0) continue;
    if (*seen & 1U << i || !*digits || strlen(digits) > 7 || digits[strspn(digits, "0123456789")]) return false;
    s->values[i] = strtoul(digits, NULL, 10);
    *seen |= 1U << i;
    return s->values[i] >= p->least && s->values[i] <= p->most;
  }
  return false;
}

/* Reads one kernel's part of a text, from *at on to behind its end. False, and `why`: there is something wrong. */
static bool take_kernel(const duet_device_info *info, const char **at, setting settings[KERNELS], char why[MESSAGE]) {
  char name[WORD], word[WORD];
  size_t kernel = 0;
  unsigned seen = 0;
  *at += strspn(*at, " ");
  next_word(at, name);
  while (kernel < KERNELS && strcmp(kernels[kernel].name, name) != 0) kernel++;
  if (kernel == KERNELS) {
    (void)snprintf(why, MESSAGE, "\"%s\" is no kernel of it that has parameters here", name);
    return false;
  }
  setting s = {.is_set = true};
  while (**at && **at != ';') {
    next_word(at, word);
    if (take_value(kernel, word, &s, &seen)) continue;
    (void)snprintf(why, MESSAGE, "%s: \"%s\" is no parameter of it, or no value, or there twice", name, word);
    return false;
  }
  *at += **at == ';';
  for (size_t i = 0; i < kernels[kernel].count; i++)
    if (!(seen & 1U << i)) {
      (void)snprintf(why, MESSAGE, "%s: %s is missing", name, kernels[kernel].parameters[i].name);
      return false;
    }
  const char *broken = kernels[kernel].unfit(info, s.values);
  if (broken) (void)snprintf(why, MESSAGE, "%s: %s", name, broken);
  settings[kernel] = s;
  return !broken;
}

static bool read_settings(const duet_device_info *info, const char *text, setting settings[KERNELS],
                          char why[MESSAGE]) {
  const char *at = text;
  bool good = true;
  do good = take_kernel(info, &at, settings, why);
  while (good && *at);
  return good;
}

static duet_status override(const duet_device *device, const setting settings[KERNELS], CLBlastPrecision precision,
                            duet_error *error) {
  for (size_t k = 0; k < KERNELS; k++) {
    const char *names[MOST];
    if (!settings[k].is_set) continue;
    for (size_t i = 0; i < kernels[k].count; i++) names[i] = kernels[k].parameters[i].name;
    const CLBlastStatusCode code =
        CLBlastOverrideParameters(device->id, kernels[k].name, precision, kernels[k].count, names, settings[k].values);
    if (code != CLBlastSuccess)
      return duet_fail(error, DUET_UNSUPPORTED,
                       "%s: CLBlastOverrideParameters(%s): %s, %d (another version of CLBlast)", device->info.id,
                       kernels[k].name, opencl_code((cl_int)code), (int)code);
  }
  return DUET_OK;
}

/* CLBlast refuses names that are not a kernel's, one kernel after another, and cannot say what was in force before. So
   all is tried on products in double precision, which has the same names and is used by nobody here. */
duet_status opencl_gemm_tune(duet_device *device, const char *text, duet_error *error) {
  setting settings[KERNELS] = {{.is_set = false}};
  char why[MESSAGE];
  if (!read_settings(&device->info, text, settings, why))
    return duet_fail(error, DUET_BAD_INPUT, "%s: parameters of CLBlast: %s", device->info.id, why);
  const duet_status s = override(device, settings, CLBlastPrecisionDouble, error);
  return s ? s : override(device, settings, CLBlastPrecisionSingle, error);
}

/* ---- what is worth trying ---- */

/* In a kernel's own round it does products of every size. */
#define ALWAYS "GemmRoutine XGEMM_MIN_INDIRECT_SIZE=0;Xgemm "
#define NEVER "GemmRoutine XGEMM_MIN_INDIRECT_SIZE=1048576;XgemmDirect "
#define TILE(m, mwg, n, nwg, vwm, vwn)                                                                    \
  " MDIMA=" #m " MDIMC=" #m " MWG=" #mwg " NDIMB=" #n " NDIMC=" #n " NWG=" #nwg " VWM=" #vwm " VWN=" #vwn \
  " STRM=0 STRN=0"
#define SHARED(kwg, ...) ALWAYS "GEMMK=0 KREG=1 KWI=2 SA=1 SB=1 KWG=" #kwg TILE(__VA_ARGS__) /* in local memory */
#define CACHED(kwg, ...) ALWAYS "GEMMK=0 KREG=1 KWI=2 SA=0 SB=0 KWG=" #kwg TILE(__VA_ARGS__)
#define SHUFFLED(kreg, ...) ALWAYS "GEMMK=1 KWG=1 KWI=1 SA=0 SB=0 KREG=" #kreg TILE(__VA_ARGS__)
#define SQUARE(kwi, dim, pad, vwm, vwn, side)                                                                    \
  NEVER "KWID=" #kwi " MDIMAD=" #dim " MDIMCD=" #dim " NDIMBD=" #dim " NDIMCD=" #dim " PADA=" #pad " PADB=" #pad \
        " VWMD=" #vwm " VWND=" #vwn " WGD=" #side
#define FROM(side) "GemmRoutine XGEMM_MIN_INDIRECT_SIZE=" #side

enum { ROUNDS = 3, CANDIDATES = 10 };

/* A work-item has a tile of 4 to 64 results. */
static const char *const for_gpus[ROUNDS][CANDIDATES] = {
    {SQUARE(2, 8, 1, 1, 1, 8), SQUARE(2, 8, 1, 2, 2, 16), SQUARE(2, 8, 1, 4, 4, 32), SQUARE(2, 16, 1, 2, 2, 32),
     SQUARE(8, 8, 1, 4, 2, 32), SQUARE(2, 16, 1, 4, 4, 64), SQUARE(2, 8, 1, 4, 4, 64)},
    {SHARED(32, 8, 32, 8, 32, 4, 4), SHARED(16, 16, 64, 16, 64, 4, 4), SHARED(32, 8, 64, 8, 64, 4, 4),
     SHARED(16, 16, 128, 16, 128, 4, 4), SHARED(32, 16, 128, 8, 64, 4, 4), CACHED(32, 16, 64, 16, 64, 4, 4),
     CACHED(32, 8, 32, 8, 32, 4, 4), CACHED(32, 8, 64, 8, 32, 8, 4), SHUFFLED(4, 8, 32, 8, 32, 4, 4),
     SHUFFLED(2, 16, 64, 16, 64, 4, 2)},
    {FROM(0), FROM(320), FROM(512), FROM(768), FROM(1048576)},
};

/* A compute unit does all items of a group: an item a group, with long vectors, is best, and compiled within seconds.
   All that XgemmDirect is compiled to there is slow. */
static const char *const for_cpus[ROUNDS][CANDIDATES] = {
    {CACHED(16, 1, 16, 1, 4, 8, 4), CACHED(4, 1, 8, 1, 8, 8, 8), CACHED(4, 1, 16, 1, 4, 16, 4),
     CACHED(16, 1, 8, 1, 4, 8, 4)},
    {FROM(0), FROM(128), FROM(512)},
};

const char *opencl_gemm_candidate(const duet_device *device, size_t round, size_t candidate) {
  if (round >= ROUNDS) return NULL;
  const char *const *list = device->info.type == DUET_DEVICE_CPU ? for_cpus[round] : for_gpus[round];
  for (size_t i = 0; i < CANDIDATES && list[i]; i++) {
    setting settings[KERNELS] = {{.is_set = false}};
    char why[MESSAGE];
    if (read_settings(&device->info, list[i], settings, why) && candidate-- == 0) return list[i];
  }
  return NULL;
}
