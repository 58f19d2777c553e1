#!/usr/bin/env bash
# Tests Accrue on a Debian 12 machine, from nothing: installs what is missing,
# builds, and runs every test.
#
#   test.sh                 every test: unit, conformance, end to end, lint
#   test.sh --sanitizers    and again in these presets, as CI does:
#       fuzz      libFuzzer's targets, some seconds each (tests/fuzz)
#       asan      unit, conformance and end to end, under AddressSanitizer and
#                 UndefinedBehaviorSanitizer
#       tsan      everything below service/, under ThreadSanitizer
#   test.sh --only=PRESET   release, asan, tsan or fuzz alone
#   test.sh --sanitizers --within=SECONDS
#       leaves out, and names, the presets that do not end in time, or would
#       not, by how long release took
#
# The last line is 'N passed, N failed', summed over the presets. A preset that
# does not build counts as one failure, and so does each test that ctest could
# not run or was told to skip, and a complaint of ctest's that no test explains.
# Cases that skipped themselves inside a test that passed are named above, and
# why they did.
# Exits 0 only if nothing failed.
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root" || exit 1

presets=(release) within=
case ${1-} in
  '') ;;
  --sanitizers) presets+=(fuzz asan tsan) ;;
  --only=release | --only=asan | --only=tsan | --only=fuzz)
    presets=("${1#--only=}") ;;
  *) usage=1 ;;
esac
if [[ ${2-} =~ ^--within=([0-9]+)$ ]]; then
  within=${BASH_REMATCH[1]}
fi
if [ $# -gt 1 ] && { [ "$1" != --sanitizers ] || [ -z "$within" ]; }; then
  usage=1
fi
[ -z "${usage-}" ] || {
  echo "usage: $0 [--only=release|asan|tsan|fuzz |" \
    "--sanitizers [--within=SECONDS]]" >&2
  exit 2
}

passed=0 failed=0 skipped=() reasons=() left_out=()
# What a preset takes, in hundredths of what release does.
declare -A share=([release]=0 [asan]=135 [tsan]=80 [fuzz]=20)
release_took=0

# A number of a JUnit file's root: the first attribute of its name.
attribute() {
  local number
  number=$(grep -o -m 1 "\b$2=\"[0-9]*\"" "$1" | head -n 1 | tr -dc '0-9')
  echo "${number:-0}"
}

# Adds the outcomes of a ctest run: its JUnit file and its exit status.
count() {
  local results=$1 status=$2 all bad=0 kind names
  all=$(attribute "$results" tests)
  for kind in failures skipped disabled; do
    bad=$((bad + $(attribute "$results" "$kind")))
  done
  if [ "$all" -eq 0 ]; then
    echo "$results names no tests"
    all=0 bad=1
  elif [ "$status" -ne 0 ] && [ "$bad" -eq 0 ]; then
    echo "ctest ended with $status, but names no test that failed"
    all=$((all + 1)) bad=1
  fi
  passed=$((passed + (all > bad ? all - bad : 0)))
  failed=$((failed + bad))
  names=$(grep -o 'testcase name="[^"]*".*status="\(notrun\|disabled\)"' \
    "$results" | cut -d '"' -f 2)
  # shellcheck disable=SC2086  # one word a name
  [ -z "$names" ] || printf '== not run: %s\n' $names
  mapfile -t -O "${#skipped[@]}" skipped < <(
    sed -n 's/^\[  SKIPPED \] \(.*\) ([0-9]* ms)$/\1/p' "$results")
  mapfile -t -O "${#reasons[@]}" reasons < <(
    sed -n '/: Skipped$/ { n; p }' "$results")
}

# Under --within it is ended if it is not done by then; release takes the time
# that it takes.
in_time() {
  if [ -n "$within" ] && [ "$release_took" -gt 0 ]; then
    timeout --kill-after=30 $((within > SECONDS ? within - SECONDS : 1)) "$@"
  else
    "$@"
  fi
}
ran_out() {
  [ -n "$within" ] && [ "$SECONDS" -ge "$within" ] &&
    { [ "$1" -eq 124 ] || [ "$1" -eq 137 ]; }
}

build() {
  cmake --preset "$1" >"build/$1.configure.log" 2>&1 ||
    { cat "build/$1.configure.log"; return 1; }
  in_time cmake --build --preset "$1"
}

run() {
  local preset=$1 start=$SECONDS results="build/$1/ctest.xml" status
  echo "== $preset: build"
  build "$preset"
  status=$?
  if ran_out "$status"; then
    left_out+=("$preset")
    return
  elif [ "$status" -ne 0 ]; then
    echo "== $preset: does not build"
    failed=$((failed + 1))
    return
  fi
  sed -n "s/^-- \(CUDA: .*\)/== $preset: \1/p" "build/$preset.configure.log"
  echo "== $preset: built after $((SECONDS - start)) s; test"
  rm -f "$results"
  # What a test that passed has printed is kept whole, for the names of cases
  # that it skipped.
  in_time ctest --preset "$preset" --output-junit "$root/$results" \
    --test-output-size-passed 10000000 | tee "build/$preset.ctest.log"
  status=${PIPESTATUS[0]}
  if ran_out "$status"; then
    left_out+=("$preset")
    failed=$((failed + $(grep -c '\*\*\*' "build/$preset.ctest.log")))
  elif [ -s "$results" ]; then
    count "$results" "$status"
  else
    echo "== $preset: ctest did not run"
    failed=$((failed + 1))
  fi
  echo "== $preset: took $((SECONDS - start)) s"
}

# Whether there is time for a preset.
fits() {
  local takes=$((release_took * share[$1] / 100))
  [ -z "$within" ] || [ $((SECONDS + takes)) -le "$within" ] || {
    echo "== $1: left out: it may take $takes s, of $within s are" \
      "$((within - SECONDS)) s left"
    return 1
  }
}

# What was compared with the oracle over gRPC: its test writes it down.
combinations=build/release/wire_oracle_combinations.txt
show_combinations() {
  [ -s "$combinations" ] || return 0
  echo "compared with the oracle over gRPC:"
  cat "$combinations"
}

mkdir -p build
rm -f "$combinations"
if deploy/dependencies/install.sh --with-tests; then
  for preset in "${presets[@]}"; do
    began=$SECONDS
    if fits "$preset"; then run "$preset"; else left_out+=("$preset"); fi
    [ "$preset" != release ] || release_took=$((SECONDS - began + 1))
  done
else
  failed=1
fi

show_combinations
[ "${#skipped[@]}" -eq 0 ] || {
  echo "cases that skipped themselves: ${#skipped[@]}"
  printf '  %s\n' "${skipped[@]}"
  echo "because:"
  printf '  %s\n' "${reasons[@]}" | sort -u
}
[ "${#left_out[@]}" -eq 0 ] ||
  echo "left out for want of time: ${left_out[*]}"
echo "took $SECONDS s in all"
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
