#!/usr/bin/env bash
# Tests Accrue on a Debian 12 machine, from nothing: installs what is missing,
# builds, and runs every test.
#
#   test.sh                 all of the below
#   test.sh --quick         release only
#   test.sh --only=PRESET   one of
#       release   every test: unit, conformance, end to end, lint
#       asan      unit and end to end, under AddressSanitizer and
#                 UndefinedBehaviorSanitizer
#       tsan      everything below service/, under ThreadSanitizer
#
# The last line is 'N passed, N failed', summed over the presets; a preset that
# does not build counts as one failure. Exits 0 only if nothing failed.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

presets=(release asan tsan)
case ${1-} in
  '') ;;
  --quick) presets=(release) ;;
  --only=release | --only=asan | --only=tsan) presets=("${1#--only=}") ;;
  *) echo "usage: $0 [--quick | --only=release|asan|tsan]" >&2; exit 2 ;;
esac

passed=0 failed=0 skipped=0

# Adds the outcomes of a ctest run: the attributes of its JUnit file's root, the
# first of their names in it.
count() {
  local all bad off
  attribute() {
    grep -o -m 1 "\b$2=\"[0-9]*\"" "$1" | head -n 1 | tr -dc '0-9'
  }
  all=$(attribute "$1" tests) bad=$(attribute "$1" failures)
  off=$(attribute "$1" skipped)
  if [ "${all:-0}" -eq 0 ]; then
    echo "$1 names no tests"
    failed=$((failed + 1))
    return
  fi
  passed=$((passed + all - bad - off))
  failed=$((failed + bad))
  skipped=$((skipped + off))
}

run() {
  local preset=$1 start=$SECONDS results="build/$1/ctest.xml"
  echo "== $preset: build"
  if ! { cmake --preset "$preset" >"build/$preset.configure.log" 2>&1 ||
         { cat "build/$preset.configure.log"; false; }; } ||
     ! cmake --build --preset "$preset"; then
    echo "== $preset: does not build"
    failed=$((failed + 1))
    return
  fi
  echo "== $preset: built after $((SECONDS - start)) s; test"
  rm -f "$results"
  ctest --preset "$preset" --output-junit "$root/$results"
  if [ -s "$results" ]; then
    count "$results"
  else
    echo "== $preset: ctest did not run"
    failed=$((failed + 1))
  fi
  echo "== $preset: took $((SECONDS - start)) s"
}

mkdir -p build
if deploy/dependencies/install.sh --with-tests; then
  for preset in "${presets[@]}"; do run "$preset"; done
else
  failed=1
fi

summary="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || summary+=", $skipped skipped"
echo "$summary"
[ "$failed" -eq 0 ]
