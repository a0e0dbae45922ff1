#!/usr/bin/env bash
# Debian packages of a build folder, made without root: what they say and hold, and the program that is in them.
#   test_package.sh BUILD [FOLDER that keeps the packages]
set -euo pipefail
build=$1 folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export DUET_CACHE_DIR=$folder/cache
unset DUET_BACKENDS DUET_DATA # the program is to find its own

fail() { printf 'test_package: %s\n' "$1" >&2; exit 1; }

cpack --config "$build/CPackConfig.cmake" -B "$folder/made" -D CPACK_OUTPUT_FILE_PREFIX="$folder" >"$folder/log" 2>&1 ||
  fail "$(cat "$folder/log")"
duet=$(echo "$folder"/duet_*.deb) development=$(echo "$folder"/libduet-dev_*.deb)

# ---- what they say ----

field() { dpkg-deb -f "$1" "$2"; }
version=$("$build/duet" --version | cut -d ' ' -f 2)
[ "$(field "$duet" Version)" = "$version-1" ] || fail "version $(field "$duet" Version), the program is $version"
[ "$(field "$duet" Architecture)" = "$(dpkg --print-architecture)" ] || fail "architecture $(field "$duet" Architecture)"
[ "$(field "$development" Depends)" = "duet (= $version-1)" ] || fail "libduet-dev depends on $(field "$development" Depends)"
for package in "$duet" "$development"; do
  for name in Maintainer Section Priority Description Installed-Size; do
    [ -n "$(field "$package" $name)" ] || fail "$package: no $name"
  done
done
for library in libc6 libjansson4 zlib1g; do
  field "$duet" Depends | grep -q "\b$library " || fail "does not depend on $library: $(field "$duet" Depends)"
done
! field "$duet" Depends | grep -i cuda || fail "depends on CUDA, which Debian has not"
IFS=. read -r major minor _ <<<"$version"
shlibs="libduet $major.$minor duet (>= $version), duet (<< $major.$((minor + 1)))" # while the first number is 0
[ "$(dpkg-deb -I "$duet" shlibs)" = "$shlibs" ] || fail "who links it depends on: $(dpkg-deb -I "$duet" shlibs)"
dpkg-deb -I "$duet" triggers | grep -q ldconfig || fail "does not make its library known"

# ---- what they hold ----

files() { dpkg-deb -c "$1" | awk '{ print $1, $2, $6 }'; }
for package in "$duet" "$development"; do
  ! files "$package" | grep -v ' root/root ' || fail "$package: not root's"
  ! files "$package" | grep -vE '^(drwxr-xr-x|lrwxrwxrwx|-rw-r--r--) |^-rwxr-xr-x .* ./usr/bin/duet$' || fail "$package: permissions"
  ! files "$package" | grep -vE ' \./(usr/((bin|include|lib|share)/.*)?)?$' || fail "$package: places"
done
! files "$duet" | grep -E '/include/|\.(pc|cmake)$|libduet\.so$|cuda' || fail "in the wrong package"
for file in 'lib/.*libduet\.so\.[0-9.]+' 'share/man/man1/duet\.1\.gz' 'share/doc/duet/(copyright|changelog.gz|changelog.Debian.gz)'; do
  files "$duet" | grep -qE " \./usr/$file$" || fail "no $file"
done
mkdir "$folder/root"
for package in "$duet" "$development"; do dpkg-deb -x "$package" "$folder/root"; done
(cd "$folder/root" && dpkg-deb -I "$duet" md5sums | md5sum --quiet -c)
for file in "$folder"/root/usr/bin/duet "$folder"/root/usr/lib/*/libduet.so.*.* "$folder"/root/usr/lib/libduet.so.*.*; do
  [ ! -f "$file" ] || ! readelf -S "$file" | grep -F .symtab || fail "$file is not stripped"
done

# ---- that they can be installed, and what is in them runs ----

if command -v apt-get >/dev/null; then
  apt-get --simulate -qq --no-install-recommends install "$duet" "$development" >"$folder/log" 2>&1 || fail "$(cat "$folder/log")"
fi
program=$folder/root/usr/bin/duet
[ "$("$program" --version)" = "duet $version" ] || fail "--version: $("$program" --version)"
"$program" help >/dev/null
"$program" devices >"$folder/devices.txt"
grep -q '^ref ' "$folder/devices.txt" || fail "devices: $(cat "$folder/devices.txt")"
! files "$duet" | grep -q duet_opencl || ! grep 'opencl .*not installed' "$folder/devices.txt" || fail "the program does not find its module"
"$program" train mlp --device ref --batch 16 --steps 2 --validation 32 --save "$folder/m.st" --quiet >/dev/null
"$program" predict "$folder/m.st" "$folder"/root/usr/share/duet/mnist/t10k-images-idx3-ubyte.gz --count 3 --device ref | tail -1 |
  grep -q 'of 3 labelled images' || fail "predict found no pictures"
if [ $# -gt 1 ]; then
  mkdir -p "$2"
  cp "$duet" "$development" "$2"
fi
