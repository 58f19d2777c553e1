#!/usr/bin/env bash
# Fuzzes: builds libFuzzer's targets (preset `fuzz`: clang, AddressSanitizer and
# UndefinedBehaviorSanitizer) and runs them.
#
#   run.sh --seconds=S [--jobs=N] [--built] [--forgetful] [TARGET...]
#
# All targets, or those named, take S seconds together, the build apart; N of
# them run at a time, as many as there are processors unless it is said.
# --built: build nothing. What they find worth keeping goes on from run to run,
# in build/fuzz/corpus; --forgetful: it does not. They begin with that, with
# corpus/TARGET beside this script, and with what seeds.cc makes. Inputs that break
# something are in build/fuzz/artifacts, with the log that says what:
# `build/fuzz/bin/TARGET FILE` repeats it.
#
# The last line is 'executions=E findings=F'. Exits 0 only if F is 0.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
build=$root/build/fuzz
usage="usage: $0 --seconds=S [--jobs=N] [--built] [--forgetful] [TARGET...]"

seconds='' jobs=$(nproc) built='' forgetful='' targets=()
for argument; do
  case $argument in
    --seconds=*) seconds=${argument#--seconds=} ;;
    --jobs=*) jobs=${argument#--jobs=} ;;
    --built) built=1 ;;
    --forgetful) forgetful=1 ;;
    -*) echo "$usage" >&2; exit 2 ;;
    *) targets+=("$argument") ;;
  esac
done
[[ $seconds =~ ^[1-9][0-9]*$ && $jobs =~ ^[1-9][0-9]*$ ]] ||
  { echo "$usage" >&2; exit 2; }

if [ -z "$built" ]; then
  (cd "$root" && cmake --preset fuzz >/dev/null &&
    cmake --build --preset fuzz) || { echo "the targets do not build" >&2; exit 2; }
fi
if [ ${#targets[@]} -eq 0 ]; then
  for program in "$build"/bin/*_fuzz; do targets+=("${program##*/}"); done
fi
mkdir -p "$build/artifacts"
corpus=$build/corpus
if [ -n "$forgetful" ]; then
  corpus=$(mktemp -d) || exit 2
  trap 'rm -rf "$corpus"' EXIT
fi

# Rounds of so many targets at a time, all of one length.
rounds=$(((${#targets[@]} + jobs - 1) / jobs))
each=$((seconds > rounds ? seconds / rounds : 1))

# Ends after $each seconds, or with what it finds.
fuzz() {
  local target=$1 dictionary=() most_bytes=512
  mkdir -p "$corpus/$target" "$build/seeds/$target"
  [ "$target" != manifest_fuzz ] || most_bytes=8192
  [ -f "$here/$target.dict" ] && dictionary=(-dict="$here/$target.dict")
  # Without allocations' stacks, and with little memory that waits to be used
  # again: faster by half.
  local options=malloc_context_size=0:quarantine_size_mb=16:max_malloc_fill_size=0
  ASAN_OPTIONS=$options \
    UBSAN_OPTIONS=print_stacktrace=1 \
    "$build/bin/$target" -max_total_time="$each" -timeout=10 \
      -rss_limit_mb=2048 -malloc_limit_mb=64 -max_len="$most_bytes" -entropic=0 \
      -print_final_stats=1 -artifact_prefix="$build/artifacts/$target-" \
      "${dictionary[@]}" "$corpus/$target" "$here/corpus/$target" \
      "$build/seeds/$target" \
      >"$build/artifacts/$target.log" 2>&1
  echo $? >"$build/artifacts/$target.status"
}

running=0
for target in "${targets[@]}"; do
  # An earlier run's say nothing about this one.
  rm -f "$build/artifacts/$target".{log,status}
  if [ "$running" -eq "$jobs" ]; then wait -n; else running=$((running + 1)); fi
  fuzz "$target" &
done
wait

executions=0 findings=0
for target in "${targets[@]}"; do
  log=$build/artifacts/$target.log
  touch "$log"
  count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  rate=$(sed -n 's/^stat::average_exec_per_sec: *//p' "$log")
  status=$(cat "$build/artifacts/$target.status" || echo "no status")
  echo "$target: ${count:-0} executions, ${rate:-0} a second"
  executions=$((executions + ${count:-0}))
  # One that executes nothing finds nothing.
  if [ "$status" != 0 ] || [ "${count:-0}" -eq 0 ]; then
    findings=$((findings + 1))
    echo "== $target ended with $status"
    tail -n 60 "$log"
  fi
done
echo "executions=$executions findings=$findings"
[ "$findings" -eq 0 ]
