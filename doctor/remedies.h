/* The next step to take, for this machine. */
#ifndef DUET_DOCTOR_REMEDIES_H
#define DUET_DOCTOR_REMEDIES_H

#include "doctor/machine.h"

#include <jansson.h>

typedef enum doctor_remedy {
#define REMEDY(key, action, text) DOCTOR_REMEDY_##key,
#include "doctor/remedies.def"
  DOCTOR_REMEDIES
} doctor_remedy;

/* {"remedy": key, "text": what it is, "commands": [{"system": "Debian", "command": ...}...]}; the command for this
   machine's distribution comes first and has "here": true. NULL without memory. */
json_t *doctor_remedy_describe(doctor_remedy remedy, const doctor_machine *machine);

#endif
