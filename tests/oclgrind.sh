#!/bin/sh
# Runs a test under Oclgrind: oclgrind.sh LOG PROGRAM ARGUMENT... Fails when the program does, and when Oclgrind found
# anything to write to LOG.
log=$1
shift
rm -f "$log"
OCLGRIND_LOG=$log "$@" || exit
[ -e "$log" ] || { echo "oclgrind.sh: $log was not written: the test did not run under Oclgrind" >&2; exit 1; }
[ ! -s "$log" ] || { cat "$log" >&2; exit 1; }
