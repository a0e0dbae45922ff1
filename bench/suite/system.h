/* What a benchmark ran on and what ran, as in the schema's `system` and `program`. */
#ifndef DUET_BENCH_SYSTEM_H
#define DUET_BENCH_SYSTEM_H

#include <jansson.h>
#include <stddef.h>

/* NULL without memory. */
json_t *bench_system_json(void);
json_t *bench_program_json(void);
/* The time now, in UTC: "2026-11-21T20:00:00Z". */
json_t *bench_date_json(void);

/* Reads up to size - 1 bytes of a small file below $DUET_BENCH_ROOT (tests: a directory in the place of /) and cuts
   what follows the text's last line end; false when it cannot be read. */
int bench_read(const char *path, char *text, size_t size);

#endif
