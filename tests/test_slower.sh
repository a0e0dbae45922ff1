#!/usr/bin/env bash
# A device that is four times as slow is found slower by duet bench and duet compare, the same device is not: 20 of 20 each.
# The margin is wide, since the machine that runs the tests has other things to do as well; where it was slower for as long as a
# measurement takes, both are made again, once.
set -euo pipefail
duet=$1 folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

bench() { # FACTOR FILE
  DUET_BAD_SLOW=$1 DUET_BENCH_SUITE=other DUET_BENCH_ONLY='step *' "$duet" bench --device cuda:0 --out "$2" >/dev/null 2>"$folder/log" ||
    { cat "$folder/log"; exit 1; }
}

judge() { # FILE: the exit status of its comparison with the base
  local status=0
  "$duet" compare "$folder/base.json" "$1" --fail-if-slower 40 >"$folder/table" || status=$?
  echo "$status"
}

bench 1 "$folder/base.json"
for round in {1..20}; do
  bench 1 "$folder/same.json"
  bench 4 "$folder/slow.json"
  same=$(judge "$folder/same.json")
  if [ "$same" != 0 ]; then
    bench 1 "$folder/base.json"
    bench 1 "$folder/same.json"
    same=$(judge "$folder/same.json")
  fi
  [ "$same" = 0 ] || { cat "$folder/table"; echo "round $round: the same device: exit status $same"; exit 1; }
  slow=$(judge "$folder/slow.json")
  [ "$slow" = 1 ] || { cat "$folder/table"; echo "round $round: a slow device: exit status $slow"; exit 1; }
  mv "$folder/same.json" "$folder/base.json"
done
