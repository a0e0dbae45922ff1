/* What the machine is, as far as it decides which driver is missing and how it is installed. Only files are read: no
   driver is touched. */
#ifndef DUET_DOCTOR_MACHINE_H
#define DUET_DOCTOR_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

typedef enum doctor_vendor { DOCTOR_NVIDIA, DOCTOR_AMD, DOCTOR_INTEL, DOCTOR_VENDORS } doctor_vendor;

/* A device file: whether there is one, and whether this user may read and write it. */
typedef struct doctor_node {
  bool there, allowed;
} doctor_node;

typedef struct doctor_machine {
  char name[96];                   /* of the distribution, for people; "" when unknown */
  char ids[128];                   /* " debian ", " linuxmint ubuntu debian ": its id and those that it is like */
  int cpus;                        /* that this process may use */
  uint64_t memory;                 /* bytes */
  uint64_t memory_free;            /* bytes that this process could still have */
  bool gpu[DOCTOR_VENDORS];        /* on the PCI bus */
  doctor_node render, kfd, nvidia; /* /dev/dri/renderD*, /dev/kfd, /dev/nvidia0 */
  bool wsl, container, power_saving;
} doctor_machine;

/* Looks below `root` ("" for the machine itself). */
void doctor_machine_look(const char *root, doctor_machine *machine);

#endif
