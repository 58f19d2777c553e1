#!/bin/bash
# The GPU suite: needs a machine with an NVIDIA GPU and its driver, and no other
# part of Accrue than the folder that this script lies in (the build target
# gpu_suite makes it).
#
#   run.sh [--only=SECTION[,SECTION...]] [--seconds=570] [FOLDER]
#
# Sections, in this order, which is that of what is missed most if time runs out:
#   bench        accrue_bench on the GPU, and PyTorch beside it if there is one
#                ($PYTHON, or else python3)
#   conformance  every conformance case on the GPU, in the bits of the CPU
#   device       memory, streams and kernels one by one
#   daemon       accrued --device=cuda over loopback, against --device=cpu, and
#                daemons whose passes fail, or whose GPU is lost
#   sanitizer    compute-sanitizer on small sizes
#
# A step has a time limit of its own and ends with --seconds at the latest; one
# that was cut off, or not reached, has failed. Each step's rows are printed as it
# ends. FOLDER (else results/ here) gets them all in table.txt, and tests.log,
# sanitizer.log, bench.jsonl and bench.log. Exit status: 0 if nothing failed, fell
# below its floor or was skipped; 1 otherwise.
set -u
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
only=bench,conformance,device,daemon,sanitizer
seconds=570
folder=$here/results
python=${PYTHON:-python3}
for argument; do
  case $argument in
    --only=*) only=${argument#--only=} ;;
    --seconds=*) seconds=${argument#--seconds=} ;;
    -*)
      echo "usage: run.sh [--only=SECTION,...] [--seconds=N] [FOLDER]" >&2
      exit 2 ;;
    *) folder=$argument ;;
  esac
done
mkdir -p "$folder" || exit 2
folder=$(cd "$folder" && pwd)
table=$folder/table.txt
log=$folder/step.log  # of the step that runs
rm -f "$folder"/{table.txt,tests.log,sanitizer.log,bench.log,bench.jsonl}
export ACCRUE_BIN_DIR=$here/bin

# The C++ library that the suite was linked with, where the machine's is older.
ours=()
if ! "$here/bin/accrued" --version >/dev/null 2>&1; then
  libraries=$here/lib/runtime${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
  ours=(env LD_LIBRARY_PATH="$libraries")
fi

sanitizer=$(command -v compute-sanitizer ||
  ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null)

wanted() { [[ ,$only, == *,$1,* ]]; }

# row NAME VERDICT WHAT...: verdicts are pass, short (of the aim), below (the
# floor), FAIL, skip, refused, and info.
row() {
  printf '%-40s %-8s %s\n' "$1" "$2" "${*:3}" | tee -a "$table"
}

# step FILE NAME SECONDS COMMAND...: runs it as long as that and the suite's own
# limit allow. Leaves its status in `rc`, its output in `log`, and adds it to FILE.
# Fails, with a row, if it could not end by itself.
step() {
  local limit=$3 left=$((seconds - SECONDS)) why=
  : >"$log"
  if [ "$left" -lt "$limit" ]; then
    limit=$left
    why=", all that was left of the suite's $seconds s"
  fi
  if [ "$limit" -le 0 ]; then
    row "$2" FAIL "not reached within the suite's $seconds s"
    return 1
  fi
  timeout -k 10 "$limit" "${@:4}" >"$log" 2>&1
  rc=$?
  { echo "-- $2: ${*:4}"; cat "$log"; } >>"$folder/$1"
  if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
    row "$2" FAIL "not finished in $limit s$why"
    return 1
  fi
}

# gtest SECONDS PROGRAM ARGUMENTS...
gtest() {
  local program=$2 start=$SECONDS rc
  if step tests.log "$program" "$1" "${ours[@]}" "$here/bin/$program" \
    --gtest_color=no --gtest_brief=1 "${@:3}"; then
    judge_gtest "$program" "$rc" $((SECONDS - start))
  fi
}

# Of the tests that ran last: how many passed, how many were skipped, and why.
passed_count() { sed -n 's/^\[  PASSED  \] \([0-9]*\) .*/\1/p' "$log"; }
skipped_count() { sed -n 's/^\[  SKIPPED \] \([0-9]*\) .*/\1/p' "$log"; }
skip_reason() { sed -n '/: Skipped$/ { n; p; q }' "$log"; }

# judge_gtest NAME EXIT_STATUS SECONDS
judge_gtest() {
  local passed skipped
  passed=$(passed_count)
  skipped=$(skipped_count)
  if [ "$2" -ne 0 ]; then
    row "$1" FAIL "exit status $2: $(grep -m1 -F '[  FAILED  ]' "$log" ||
      tail -n1 "$log")"
  elif [ "${skipped:-0}" -gt 0 ]; then
    row "$1" skip "$skipped of its tests: $(skip_reason)"
  elif [ "${passed:-0}" -eq 0 ]; then
    row "$1" FAIL "it has none of these tests"
  else
    row "$1" pass "$passed tests in $3 s"
  fi
}

# sanitize TOOL PROGRAM ARGUMENTS...
sanitize() {
  local tool=$1 program=$2 name=$1/$2 start=$SECONDS rc options=()
  if [ -z "$sanitizer" ]; then
    row "$name" refused "there is no compute-sanitizer"
    return
  fi
  # To it a stream that has not yet come to its end, when asked, is an error.
  [ "$tool" != memcheck ] || options=(--report-api-errors no)
  if step sanitizer.log "$name" 90 "${ours[@]}" "$sanitizer" --tool "$tool" \
    --error-exitcode 86 "${options[@]}" "$here/bin/$program" \
    --gtest_color=no --gtest_brief=1 "${@:3}"; then
    judge_sanitizer "$name" "$rc" $((SECONDS - start))
  fi
}

# What the sanitizer says first, but for its name.
first_word() {
  grep '^==* ' "$log" | grep -v COMPUTE-SANITIZER | grep -m1 '[a-z]' |
    sed 's/^=* *//'
}

# judge_sanitizer NAME EXIT_STATUS SECONDS
judge_sanitizer() {
  local summary why passed
  summary=$(grep -m1 ' SUMMARY: ' "$log" | sed 's/^=* *//')
  why=$(first_word)
  passed=$(passed_count)
  if [ -z "$summary" ] || [[ $why == *'evice not supported'* ]]; then
    row "$1" refused "${why:-$(tail -n1 "$log")}"
  elif [ "$2" -ne 0 ] || ! [[ $summary =~ :\ 0\ (errors|hazards) ]]; then
    row "$1" FAIL "$summary, exit status $2"
  elif [ -n "$(skipped_count)" ]; then
    row "$1" skip "$(skip_reason)"
  elif [ "${passed:-0}" -eq 0 ]; then
    row "$1" FAIL "it has none of these tests"
  else
    row "$1" pass "$summary, $passed tests in $3 s"
  fi
}

# figures NAME SECONDS COMMAND...: a status of 3 says that something is not there.
figures() {
  local rc
  if step bench.log "$@"; then
    if [ "$rc" -eq 3 ]; then
      row "$1" skip "$(tail -n1 "$log")"
      return
    fi
    [ "$rc" -eq 0 ] || row "$1" FAIL "exit status $rc: $(tail -n1 "$log")"
  fi
  awk -v step="$1" -f "$here/judge_bench.awk" "$folder/bench.jsonl" "$log" |
    tee -a "$table"
  grep '^{' "$log" >>"$folder/bench.jsonl"
}

# Each case in a process of its own, so that one that fails costs no other.
bench() {
  local name names
  names=$("${ours[@]}" "$here/bin/accrue_bench" --list '--filter=^gpu/' |
    cut -d ' ' -f 1)
  [ -n "$names" ] || row bench FAIL "accrue_bench has no cases of a GPU"
  : >"$folder/bench.jsonl"
  for name in $names; do
    figures "$name" 30 "${ours[@]}" "$here/bin/accrue_bench" --json \
      "--filter=^$name\$" --min_time=0.5
  done
  figures torch 150 "$python" "$here/torch_cycle.py"
}

device='no GPU: there is no nvidia-smi'
if command -v nvidia-smi >/dev/null; then
  device=$(nvidia-smi --query-gpu=name,driver_version,memory.total \
    --format=csv,noheader 2>&1 | head -n1)
fi
row machine info "$device, $(uname -r), $(nproc) cores"

if wanted bench; then
  bench
fi
if wanted conformance; then
  gtest 150 device_shard_conformance_test '--gtest_filter=Cuda/*'
fi
if wanted device; then
  gtest 45 gpu_cuda_test
  gtest 45 device_kernels_test '--gtest_filter=*/Cuda'
fi
if wanted daemon; then
  gtest 120 gpu_daemon_test
fi
if wanted sanitizer; then
  for tool in memcheck racecheck initcheck; do
    sanitize "$tool" device_kernels_test \
      '--gtest_filter=*/Cuda:-*BeyondThirtyTwoBits*'
  done
  for tool in memcheck racecheck initcheck; do
    sanitize "$tool" device_shard_conformance_test \
      '--gtest_filter=Cuda/*AResetShard*/One:Cuda/*AnUntouchedGroup*/One'
  done
fi

rm -f "$log"
echo
cat "$table"
! grep -qE '^[^ ]+ +(FAIL|skip|below) ' "$table"
