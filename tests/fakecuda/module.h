/* What a compiled kernel file and the stand-in runtime know of each other. The "cubin" of the stand-in is a shared
   object that exports one `fakecuda_module`; the runtime fills in its `services` and writes `ids` whenever it turns to
   another work-item. Included ahead of kernel text: no standard header here. */
#ifndef FAKECUDA_MODULE_H
#define FAKECUDA_MODULE_H

struct fakecuda_ids {
  struct {
    unsigned x, y, z;
  } thread, block, block_size, grid_size;
};

enum fakecuda_access { FAKECUDA_READ, FAKECUDA_WRITE, FAKECUDA_ATOMIC, FAKECUDA_COPY /* by cp.async, not there yet */ };

/* Of an asm statement: how it is used ('=' written, '+' read and written, else read), its type ('f', 'r', 'l', 'h'),
   and the variable or value. */
struct fakecuda_operand {
  char use, type;
  unsigned bytes;
  void *at;
};

struct fakecuda_services {
  void (*barrier)(int line);
  void (*access)(const volatile void *address, unsigned long bytes, fakecuda_access what, const void *code);
  void (*assembly)(const char *text, const fakecuda_operand *operands, unsigned count, int line, const void *code);
};

struct fakecuda_entry {
  const char *name;
  void (*call)(void **arguments);
  const unsigned *sizes; /* of the parameters, bytes */
  unsigned parameters, most_threads;
};

struct fakecuda_module {
  unsigned architecture; /* 90: sm_90 */
  bool checked;          /* every access goes through services.access */
  char *shared, *shared_end;
  const fakecuda_entry *entries; /* up to one without a name */
  fakecuda_ids ids;
  fakecuda_services services;
};

#endif
