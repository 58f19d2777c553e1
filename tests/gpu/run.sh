#!/bin/bash
# The GPU suite: needs a machine with an NVIDIA GPU and its driver, and no other
# part of Accrue than the folder that this script lies in (the build target
# gpu_suite makes it).
#
#   run.sh [--only=SECTION[,SECTION...]] [FOLDER]
#
# Sections, in this order:
#   conformance  every conformance case on the GPU, in the bits of the CPU
#   device       memory, streams and kernels one by one
#   daemon       accrued --device=cuda over loopback, against --device=cpu
#   sanitizer    compute-sanitizer on small sizes
#   bench        accrue_bench on the GPU, and PyTorch beside it if there is one
#
# Writes table.txt, tests.log, sanitizer.log, bench.jsonl and bench.log to FOLDER
# ($OUT, or else results/ here), and prints the table. Exit status: 0 if nothing
# failed, fell below its floor or was skipped; 1 otherwise.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
only=conformance,device,daemon,sanitizer,bench
folder=${OUT:-$here/results}
for argument; do
  case $argument in
    --only=*) only=${argument#--only=} ;;
    -*) echo "usage: run.sh [--only=SECTION,...] [FOLDER]" >&2; exit 2 ;;
    *) folder=$argument ;;
  esac
done
mkdir -p "$folder" || exit 2
folder=$(cd "$folder" && pwd)
table=$folder/table.txt
: >"$table"
export ACCRUE_BIN_DIR=$here/bin

# The C++ library that the suite was linked with, where the machine's is older.
ours=()
if ! "$here/bin/accrued" --version >/dev/null 2>&1; then
  ours=(env LD_LIBRARY_PATH="$here/lib/runtime")
fi

sanitizer=$(command -v compute-sanitizer ||
  ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)

wanted() { [[ ,$only, == *,$1,* ]]; }

# row NAME VERDICT WHAT...: verdicts are pass, short (of the aim), below (the
# floor), FAIL, skip, refused, and info.
row() {
  printf '%-40s %-8s %s\n' "$1" "$2" "${*:3}" | tee -a "$table"
}

# gtest SECONDS PROGRAM ARGUMENTS...
gtest() {
  local seconds=$1 program=$2 start=$SECONDS log rc
  log=$(mktemp)
  timeout -k 10 "$seconds" "${ours[@]}" "$here/bin/$program" \
    --gtest_color=no --gtest_brief=1 "${@:3}" >"$log" 2>&1
  rc=$?
  { echo "== $program ${*:3}"; cat "$log"; } >>"$folder/tests.log"
  judge_gtest "$program" "$rc" "$seconds" "$log" \
    $((SECONDS - start))
  rm -f "$log"
}

# Why a test of this log was skipped.
skip_reason() { sed -n '/: Skipped$/ { n; p; q }' "$1"; }

# judge_gtest NAME EXIT_STATUS TIME_LIMIT LOG SECONDS
judge_gtest() {
  local passed skipped
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) .*/\1/p' "$4")
  skipped=$(sed -n 's/^\[  SKIPPED \] \([0-9]*\) .*/\1/p' "$4")
  if [ "$2" -eq 124 ] || [ "$2" -eq 137 ]; then
    row "$1" FAIL "not finished in $3 s"
  elif [ "$2" -ne 0 ]; then
    row "$1" FAIL "exit status $2: $(grep -m1 -F '[  FAILED  ]' "$4" ||
      tail -n1 "$4")"
  elif [ "${passed:-0}" -eq 0 ] || [ "${skipped:-0}" -gt 0 ]; then
    row "$1" skip "${skipped:-all} of its tests: $(skip_reason "$4")"
  else
    row "$1" pass "$passed tests in $5 s"
  fi
}

# sanitize TOOL SECONDS PROGRAM ARGUMENTS...
sanitize() {
  local tool=$1 seconds=$2 program=$3 name=$1/$3 log rc summary
  if [ -z "$sanitizer" ]; then
    row "$name" refused "there is no compute-sanitizer"
    return
  fi
  log=$(mktemp)
  timeout -k 10 "$seconds" "${ours[@]}" "$sanitizer" --tool "$tool" \
    --error-exitcode 86 "$here/bin/$program" --gtest_color=no \
    --gtest_brief=1 "${@:4}" >"$log" 2>&1
  rc=$?
  { echo "== $tool: $program ${*:4}"; cat "$log"; } >>"$folder/sanitizer.log"
  summary=$(grep -m1 ' SUMMARY: ' "$log" | sed 's/^=* *//')
  if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
    row "$name" FAIL "not finished in $seconds s"
  elif [ -z "$summary" ]; then
    row "$name" refused "$(grep -m1 -v '^$' "$log")"
  elif [ "$rc" -ne 0 ] || ! [[ $summary =~ :\ 0\ (errors|hazards) ]]; then
    row "$name" FAIL "$summary, exit status $rc"
  elif ! grep -q '^\[  PASSED  \] [1-9]' "$log" || grep -q SKIPPED "$log"; then
    row "$name" skip "$(skip_reason "$log")"
  else
    row "$name" pass "$summary"
  fi
  rm -f "$log"
}

bench() {
  local rc
  : >"$folder/bench.jsonl"
  timeout -k 10 120 "${ours[@]}" "$here/bin/accrue_bench" --json \
    '--filter=^gpu/' --min_time=0.5 >>"$folder/bench.jsonl" \
    2>"$folder/bench.log"
  rc=$?
  [ "$rc" -eq 0 ] || row bench FAIL "exit status $rc: $(tail -n1 \
    "$folder/bench.log")"
  if command -v python3 >/dev/null; then
    timeout -k 10 60 python3 "$here/torch_cycle.py" >>"$folder/bench.jsonl" \
      2>>"$folder/bench.log"
  fi
  awk -f "$here/judge_bench.awk" "$folder/bench.jsonl" | tee -a "$table"
}

device=$(nvidia-smi --query-gpu=name,driver_version,memory.total \
  --format=csv,noheader 2>/dev/null | head -n1)
row machine info "${device:-no nvidia-smi}, $(uname -r), $(nproc) cores"
: >"$folder/tests.log"

if wanted conformance; then
  gtest 120 device_shard_conformance_test '--gtest_filter=Cuda/*'
fi
if wanted device; then
  gtest 45 gpu_cuda_test
  gtest 45 device_kernels_test '--gtest_filter=*/Cuda'
fi
if wanted daemon; then
  gtest 90 gpu_daemon_test
fi
if wanted sanitizer; then
  : >"$folder/sanitizer.log"
  for tool in memcheck racecheck initcheck; do
    sanitize "$tool" 30 device_kernels_test \
      '--gtest_filter=*/Cuda:-*BeyondThirtyTwoBits*'
    sanitize "$tool" 30 device_shard_conformance_test \
      '--gtest_filter=Cuda/*AResetShard*/One:Cuda/*AnUntouchedGroup*/One'
  done
fi
if wanted bench; then
  bench
fi

echo
cat "$table"
! grep -qE '^[^ ]+ +(FAIL|skip|below) ' "$table"
