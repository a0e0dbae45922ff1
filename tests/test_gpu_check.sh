#!/usr/bin/env bash
# scripts/gpu-check: its exit statuses and its JSON, with programs that only pretend, then with the build in $1 on the CPU
# stand-ins for CUDA, which must never pass for a GPU.
set -euo pipefail
check=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)/scripts/gpu-check
build=$1
work=$(mktemp -d)
trap 'rm -rf -- "$work"' EXIT

die() {
  printf 'test_gpu_check: %s\n' "$1" >&2
  sed 's/^/  /' "$work/log" >&2
  exit 1
}

# Runs it quickly; $work/out/gpu-check.json must be JSON and $3, in Python, true of it.
expect() { # STATUS BUILD CONDITION [OPTION...]
  local status=0
  rm -rf "$work/out"
  "$check" --quick --build "$2" --out "$work/out" "${@:4}" >"$work/log" 2>&1 || status=$?
  [ $status = "$1" ] || die "status $status, not $1"
  python3 -c '
import json, sys
d = json.load(open(sys.argv[1]))
of = {c["name"]: c["outcome"] for c in d["checks"]}
assert d["format"] == "duet-gpu-check-1" and eval("(" + sys.argv[2] + ")"), sys.argv[2]' "$work/out/gpu-check.json" "$3" 2>>"$work/log" ||
    die "the JSON is not as it should be"
}

usage=0
"$check" --nonsense >"$work/log" 2>&1 || usage=$?
[ $usage = 2 ] || die "a wrong option gives status $usage, not 2"

pretend=$work/pretend
mkdir -p "$pretend/tests"
cat >"$pretend/duet" <<'EOF'
#!/bin/sh
[ "$1" = train ] && { printf '{\n"images_per_second": 5\n}\n'; exit; }
[ "$1" = doctor ] && { printf '{\n  "verdict": "cuda:0 fails: steps",\n  "exit_status": 1\n}\n'; [ ! -e "${0%/*}/ill" ]; exit; }
printf '{\n"id": "cuda:0",\n"name": "A \\"GPU\\"",\n"type": "gpu",\n"usable": true\n}\n'
EOF
for program in kernels parity backend registry; do
  ln -s "$(type -P true)" "$pretend/tests/test_$program"
done
chmod +x "$pretend/duet"
expect 0 "$pretend" 'd["gpu"] and d["outcome"] == "pass" and of["kernels"] == "pass" and d["device_name"] == "A \"GPU\""'
expect 3 "$pretend" 'not d["gpu"] and of["kernels"] == "not run"' --device cuda:7
ln -sf "$(type -P false)" "$pretend/tests/test_parity"
expect 1 "$pretend" 'd["outcome"] == "fail" and of["parity"] == "fail" and of["backend"] == "pass"'
touch "$pretend/ill"
expect 1 "$pretend" 'of["doctor"] == "fail" and [c["why"] for c in d["checks"] if c["name"] == "doctor"][0].startswith(
  "status 1: cuda:0 fails: steps (see ") and [c["result"]["exit_status"] for c in d["checks"] if c["name"] == "doctor"] == [1]'
rm "$pretend/ill" "$pretend"/tests/*
expect 0 "$pretend" 'of["kernels"] == "not run" and of["doctor"] == of["fast-seed-1"] == "pass"'

expect 3 "$build" 'not d["gpu"] and "fail" not in of.values() and of["doctor"] == of["kernels"] == of["fast-seed-1"] == of["speed-fast-128-overlap"] == "pass" and
  d["device_name"].startswith("fakecuda (CPU stand-in, not a GPU)")'
grep -Eq '^fast +128-overlap +[0-9]+(\.[0-9]+)? +[0-9]+\.[0-9]$' "$work/log" || die "no speed of launches that overlap"
