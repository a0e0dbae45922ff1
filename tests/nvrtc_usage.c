/* What NVRTC and ptxas say of kernels: without arguments the architectures that they know; else

     nvrtc_usage sm_90 FILE...   a line "== FILE", then the compiler's words.

   Compiles as the CUDA backend does; the machine code goes to FILE.cubin. */
#include "backends/cuda/compiler.h"

#include <nvrtc.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARCHITECTURES = 64 };

static int list_architectures(void) {
  int known[ARCHITECTURES], count = 0;
  if (nvrtcGetNumSupportedArchs(&count) != NVRTC_SUCCESS || count > ARCHITECTURES ||
      nvrtcGetSupportedArchs(known) != NVRTC_SUCCESS)
    return 1;
  for (int i = 0; i < count; i++) printf("sm_%d\n", known[i]);
  return 0;
}

/* The whole file, which the caller frees, or NULL. */
static char *read_text(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file) return NULL;
  const bool ends = fseek(file, 0, SEEK_END) == 0;
  const long size = ends ? ftell(file) : -1;
  char *text = size < 0 ? NULL : calloc((size_t)size + 1, 1);
  rewind(file);
  if (text && fread(text, 1, (size_t)size, file) != (size_t)size) free(text), text = NULL;
  (void)fclose(file);
  return text;
}

static bool write_code(const char *path, const cuda_code *code) {
  char name[1024];
  (void)snprintf(name, sizeof name, "%s.cubin", path);
  FILE *file = fopen(name, "wb");
  if (!file) return false;
  const bool good = fwrite(code->data, 1, code->bytes, file) == code->bytes;
  return fclose(file) == 0 && good;
}

int main(int argc, char **argv) {
  if (argc == 1) return list_architectures();
  for (int i = 2; i < argc; i++) {
    duet_error error = {0};
    cuda_code code = {0};
    char *text = read_text(argv[i]);
    printf("== %s\n", argv[i]);
    if (!text)
      printf("error: cannot be read\n");
    else if (cuda_compile(argv[i], text, argv[1], "--ptxas-options=-v", &code, &error))
      printf("error: %s\n", error.text);
    else if (!write_code(argv[i], &code))
      printf("error: %s.cubin cannot be written\n", argv[i]);
    else
      printf("%s\n", code.log);
    cuda_code_destroy(&code);
    free(text);
  }
  return 0;
}
