#!/usr/bin/env bash
# scripts/fetch against a local server and a table of its own. Prints "not ok" and fails at the first surprise.
set -euo pipefail

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd)
fetch=$root/scripts/fetch
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf -- "$work"' EXIT
export no_proxy=127.0.0.1 NO_PROXY=127.0.0.1
unset http_proxy HTTP_PROXY https_proxy HTTPS_PROXY all_proxy ALL_PROXY

surprise() { # WHAT
  printf 'not ok: %s\n' "$1"
  [ ! -f "$work/output" ] || sed 's/^/  | /' "$work/output"
  exit 1
}

# Runs fetch, which must end with STATUS and say TEXT.
expect() { # STATUS TEXT ARGUMENTS...
  local expected=$1 text=$2 status=0
  shift 2
  "$fetch" "$@" >"$work/output" 2>&1 || status=$?
  [ "$status" = "$expected" ] || surprise "fetch $*: status $status, not $expected"
  grep -qF -- "$text" "$work/output" || surprise "fetch $*: does not say \"$text\""
  [ -z "$(find "$work" -name '.*.gz.*')" ] || surprise "fetch $*: a temporary file is left"
  printf 'ok: fetch %s: %s\n' "$*" "$text"
}

same() { cmp -s -- "$1" "$2" || surprise "$1 and $2 differ"; }

start_server() {
  command -v python3 >/dev/null || surprise "python3 is missing (apt-get install python3)"
  python3 -u -m http.server 0 --bind 127.0.0.1 --directory "$work/served" >"$work/server" 2>&1 &
  server=$!
  for _ in $(seq 100); do
    port=$(sed -n 's/.*127\.0\.0\.1 port \([0-9]*\).*/\1/p' "$work/server")
    [ -z "$port" ] || return 0
    sleep 0.1
  done
  cat "$work/server"
  surprise "the server did not start"
}

# Two mirrors: `bad` has a wrong a.gz and no b.gz, `good` has both right.
make_files() {
  mkdir -p "$work"/served/good "$work"/served/bad
  printf 'first' | gzip >"$work/served/good/a.gz"
  printf 'second' | gzip >"$work/served/good/b.gz"
  printf 'first!' | gzip >"$work/served/bad/a.gz"
  sum_a=$(printf 'first' | sha256sum | cut -d' ' -f1)
  sum_b=$(md5sum <"$work/served/good/b.gz" | cut -d' ' -f1)
}

make_table() {
  export DUET_FETCH_SOURCES=$work/sources
  cat >"$DUET_FETCH_SOURCES" <<EOF
# a comment
mirror two http://127.0.0.1:$port/bad/
mirror two http://127.0.0.1:$port/good
file two a.gz sha256 $sum_a
file two b.gz md5-gz $sum_b
mirror wrong http://127.0.0.1:$port/bad/
file wrong a.gz sha256 $sum_a
mirror odd http://127.0.0.1:$port/good/
file odd a.gz crc32 0
EOF
}

test_download() {
  local to=$work/to/deep
  expect 0 "http://127.0.0.1:$port/bad/a.gz: sha256 is" two "$to" # and the next mirror has it
  grep -qF "/bad/b.gz: download failed" "$work/output" || surprise "the missing file went unmentioned"
  same "$to/a.gz" "$work/served/good/a.gz"
  same "$to/b.gz" "$work/served/good/b.gz"
  [ "$(stat -c %a "$to/a.gz")" = "$(printf '%o' $((0666 & ~$(umask))))" ] || surprise "a.gz: mode ignores the umask"

  local before after
  before=$(wc -l <"$work/server")
  expect 0 "a.gz: already here, sha256 right" two "$to"
  expect 0 "b.gz: already here, md5-gz right" two "$to"
  after=$(wc -l <"$work/server")
  [ "$before" = "$after" ] || surprise "files that were right were fetched again"

  rm "$to/b.gz"
  expect 0 "b.gz: fetched from" two "$to" --mirror "http://127.0.0.1:$port/good/"
  grep -qF "a.gz: already here" "$work/output" || surprise "a.gz was not kept"
  head -c 10 "$work/served/good/a.gz" >"$to/a.gz"
  expect 0 "a.gz: sha256 is damaged, not $sum_a: fetching it again" two "$to"
  same "$to/a.gz" "$work/served/good/a.gz"
  touch "$to/a"
  expect 0 "$to/a: not checked, and read before the .gz" two "$to"
}

test_refusals() {
  expect 4 "no mirror has the right file" wrong "$work/wrong"
  [ ! -e "$work/wrong/a.gz" ] || surprise "a wrong file was kept"
  expect 1 "no mirror gave it" two "$work/none" --mirror "http://127.0.0.1:$port/nothing"
  expect 1 "no mirror gave it" two "$work/none" --mirror http://127.0.0.1:1/
  expect 1 "cannot be made" two "$work/sources/below"
  expect 4 'unknown kind of checksum "crc32"' odd "$work/odd"
  expect 2 "nope: unknown data set (there are: two, wrong, odd)" nope
  expect 2 "usage: scripts/fetch NAME"
  expect 2 "--mirror needs a URL" two --mirror
  expect 2 "--fast: unknown option" --fast
  expect 2 "third: one argument too many" two "$work/to" third
  expect 0 "usage: scripts/fetch NAME" --help
  DUET_FETCH_SOURCES=$work/missing expect 4 "cannot be read" two
}

# Only the tools named here are on the PATH.
test_tools() {
  local tool
  mkdir "$work/tools"
  for tool in bash awk cat chmod cut dirname find grep gzip md5sum mkdir mktemp mv rm sha256sum; do
    ln -s "$(command -v "$tool")" "$work/tools/$tool"
  done
  PATH=$work/tools expect 1 "neither curl nor wget found" two "$work/tools/to"
  for tool in curl wget; do
    if ! command -v $tool >/dev/null; then
      echo "SKIPPED: $tool is not installed"
      continue
    fi
    ln -s "$(command -v $tool)" "$work/tools/$tool"
    PATH=$work/tools expect 0 "a.gz: fetched from" two "$work/with-$tool"
    rm "$work/tools/$tool"
  done
}

# The real table: its checksums are those of the MNIST that is here, and each set has its four files.
test_real_table() {
  unset DUET_FETCH_SOURCES
  expect 0 "t10k-labels-idx1-ubyte.gz: already here, sha256 right" mnist --mirror http://127.0.0.1:1/
  local set
  for set in mnist fashion-mnist kmnist; do
    [ "$(awk -v s=$set '$1 == "file" && $2 == s && NF == 5' "$root/datasets/sources" | wc -l)" = 4 ] ||
      surprise "$set has not four files in datasets/sources"
    expect 1 "train-images-idx3-ubyte.gz: no mirror gave it" $set "$work/$set" --mirror http://127.0.0.1:1/
  done
}

make_files
start_server
make_table
test_download
test_refusals
test_tools
test_real_table
