#!/usr/bin/env bash
# An installed Duet that was moved: what it consists of, what its library exports, and programs built with it by pkg-config
# and by CMake.
set -euo pipefail
build=$1 source=$2
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export DUET_CACHE_DIR=$folder/cache
unset DUET_BACKENDS DUET_DATA # it is to find its own

fail() { printf 'test_install: %s\n' "$1" >&2; exit 1; }
expect() { # NAME GOT WANTED
  [ "$2" = "$3" ] || fail "$(printf '%s:\n%s\nnot:\n%s' "$1" "$2" "$3")"
}

cmake --install "$build" --prefix "$folder/first" >/dev/null
mv "$folder/first" "$folder/moved"
root=$folder/moved
library=$(dirname "$(find "$root" -name 'libduet.so')")
export PKG_CONFIG_PATH=$library/pkgconfig LD_LIBRARY_PATH=$library${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
cd "$folder"

# ---- files ----

for file in bin/duet include/duet.h share/man/man1/duet.1.gz share/bash-completion/completions/duet \
  share/fish/vendor_completions.d/duet.fish share/duet/mnist/SHA256SUMS share/doc/duet/examples/train.c; do
  [ -s "$root/$file" ] || fail "$file is missing"
done
[ -n "$(find "$root/share/zsh" -name _duet -size +0)" ] || fail "zsh's completion is missing"
expect "data" "$(cd "$root/share/duet/mnist" && for f in *.gz; do echo "$(gzip -dc "$f" | sha256sum | cut -d ' ' -f 1)  ${f%.gz}"; done)" \
  "$(cd "$root/share/duet/mnist" && sort -k 2 SHA256SUMS)"
expect "manual page" "$(gzip -dc "$root/share/man/man1/duet.1.gz")" "$("$root/bin/duet" help --man)"
for file in "$root/bin/duet" "$library/libduet.so" "$library"/duet/duet_opencl.so; do
  [ -e "$file" ] || continue
  ! readelf -d "$file" | grep -E 'R(UN)?PATH' || fail "$file looks for libraries in folders of its own"
  ! strings -d "$file" | grep -F "$source" || fail "$file knows where it was built"
done

# ---- what is exported: what the header says, and nothing else ----

exports() { nm -D --defined-only "$1" | awk '{ print $3 }' | LC_ALL=C sort; }
expect "exports of libduet.so" "$(exports "$library/libduet.so")" \
  "$(cc -E -P -DDUET_PUBLIC= "$root/include/duet.h" | grep -oE '\bduet_[a-z_]+\(' | tr -d '(' | LC_ALL=C sort)"
for module in "$library"/duet/*.so; do
  expect "exports of $module" "$(exports "$module")" duet_backend_table
done

# ---- versions ----

version=$(pkg-config --modversion duet)
expect "duet --version" "$("$root/bin/duet" --version)" "duet $version"
expect "soname" "$(readelf -d "$library/libduet.so" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" "libduet.so.${version%.*}"
mkdir versions
cat >versions/CMakeLists.txt <<EOF2
cmake_minimum_required(VERSION 3.16)
project(versions LANGUAGES NONE)
foreach(wanted IN ITEMS 0.0 0.99 1.0 ${version%.*} "${version};EXACT")
  find_package(duet \${wanted} QUIET)
  message(STATUS "wanted \${wanted}: \${duet_FOUND}")
endforeach()
EOF2
expect "versions in CMake" "$(cmake -S versions -B versions/build -DCMAKE_PREFIX_PATH="$root" | sed -n 's/-- wanted //p')" \
  "0.0: 0
0.99: 0
1.0: 0
${version%.*}: 1
$version;EXACT: 1"

# ---- programs ----

# What others have installed beside program and library is not taken for a part of Duet.
for place in "$root/bin/mnist" "$library/mnist"; do install -m 755 /dev/null "$place"; done
flags=(-Wall -Wextra -Wpedantic -Werror)
read -ra duet <<<"$(pkg-config --cflags --libs duet)"
cc -std=c11 "${flags[@]}" -o installed "$source/tests/installed.c" "${duet[@]}"
./installed >installed.txt
grep -qx "version $version, header $version" installed.txt || fail "another version: $(cat installed.txt)"
grep -qx 'device ref: usable, fp32' installed.txt || fail "no ref: $(cat installed.txt)"
grep -qx '10000 test pictures' installed.txt || fail "no data: $(cat installed.txt)"
for module in "$library"/duet/*.so; do
  name=${module##*/duet_}
  ! grep "device ${name%.so}: .*not installed" installed.txt || fail "the library does not find $module"
  ! "$root/bin/duet" devices | grep "^${name%.so} .*not installed" || fail "the program does not find $module"
done
if command -v c++ >/dev/null; then
  c++ -x c++ -std=c++17 "${flags[@]}" -o installed++ "$source/tests/installed.c" "${duet[@]}"
  expect "as C++" "$(./installed++)" "$(cat installed.txt)"
fi
"$root/bin/duet" train mlp --device ref --steps 1 --validation 1 --quiet >/dev/null || fail "the program does not find its data"
rm "$root/bin/mnist" "$library/mnist"

# The first pictures of MNIST as a set of their own, and one as PGM.
values() { # FILE FIRST COUNT: bytes of its content
  set +o pipefail # head has enough early
  gzip -dc "$root/share/duet/mnist/$1-ubyte.gz" 2>/dev/null | tail -c "+$2" | head -c "$3"
  set -o pipefail
}
mkdir data
for split in train t10k; do
  { printf '\0\0\10\3\0\0\0\40\0\0\0\34\0\0\0\34' && values $split-images-idx3 17 $((32 * 784)); } >data/$split-images-idx3-ubyte
  { printf '\0\0\10\1\0\0\0\40' && values $split-labels-idx1 9 32; } >data/$split-labels-idx1-ubyte
done
{ printf 'P5 28 28 255\n' && values t10k-images-idx3 17 784; } >seven.pgm

# The examples train and predict, and the program says the same of the same picture.
try_examples() { # FOLDER
  "$1/train" "$1/m.st" ref data >"$1/train.txt"
  grep -qE '^epoch 2: digit [0-9.]+ %, sum [0-9.]+ %, [0-9]+ images/s$' "$1/train.txt" || fail "train: $(cat "$1/train.txt")"
  expect "predict of $1" "$("$1/predict" "$1/m.st" seven.pgm 4 ref)" "$("$root/bin/duet" predict "$1/m.st" data/t10k-images-idx3-ubyte \
    --count 1 --number 4 --device ref | sed -nE 's/^[^ ]+: ([0-9]+ \([0-9.]+ %).*, with 4: ([0-9]+ \([0-9.]+ %).*/digit \1)\nsum \2)/p')"
  ! "$1/predict" "$1/m.st" data 4 ref 2>/dev/null || fail "predict took a folder for a picture"
  ! "$1/train" "$1/m.st" ref gone 2>err.txt || fail "train took no data"
  grep -q '^train: gone: ' err.txt || fail "train says: $(cat err.txt)"
}
mkdir by_hand
for example in train predict; do
  cc -std=c11 "${flags[@]}" -o by_hand/$example "$root/share/doc/duet/examples/$example.c" "${duet[@]}"
done
try_examples by_hand
cmake -S "$root/share/doc/duet/examples" -B by_cmake -DCMAKE_PREFIX_PATH="$root" >/dev/null
cmake --build by_cmake >/dev/null
env -u LD_LIBRARY_PATH bash -c 'by_cmake/train 2>&1 | grep -q ^usage' || fail "CMake's program does not start"
cmp by_hand/m.st <(by_cmake/train m.st ref data >/dev/null && cat m.st) || fail "the same program trains otherwise"

# What is gone is named where it should have been.
mv "$root/share/duet" elsewhere
"$root/bin/duet" eval by_hand/m.st --device ref 2>err.txt && fail "eval without data" || true
grep -qF "$root/share/duet/mnist" err.txt || fail "eval says: $(cat err.txt)"
