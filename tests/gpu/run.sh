#!/bin/bash
# The GPU suite: needs a machine with an NVIDIA GPU and its driver, and no other
# part of Accrue than the folder that this script lies in (the build target
# gpu_suite makes it).
#
#   run.sh [--only=SECTION[,SECTION...]] [--seconds=570] [FOLDER]
#
# Sections:
#   bench        accrue_bench on the GPU, and PyTorch after it if there is one
#                ($PYTHON, or else python3): first, for nothing else may run then
#   conformance  every conformance case on the GPU, in the bits of the CPU
#   device       memory, streams and kernels one by one
#   daemon       accrued --device=cuda over loopback, against --device=cpu, and
#                daemons whose passes fail, or whose GPU is lost
#   sanitizer    compute-sanitizer on small sizes
#
# All steps but bench's run at the same time. A step has a time limit of its own
# and is ended after --seconds at the latest, or with this script; one that was cut
# off, or not reached, has failed. Its rows are printed as it ends. FOLDER (else
# results/ here) gets them all in table.txt, the figures in bench.jsonl, and what
# each step has said in logs/. Exit status: 0 if nothing failed, fell below its
# floor or was skipped; 1 otherwise.
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
mkdir -p "$folder/logs" || exit 2
folder=$(cd "$folder" && pwd)
table=$folder/table.txt
rm -f "$folder"/{table.txt,bench.jsonl} "$folder"/logs/*.log
export ACCRUE_BIN_DIR=$here/bin
unset ACCRUE_FAKE_GPU_PROGRAM  # of a user who has tested with it

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

# Ends what this shell has started: of a `timeout` the whole group, for one that
# has only just begun does not know its program yet.
end_jobs() {
  local job
  for job in $(jobs -p); do
    kill -TERM -- "-$job" || kill "$job"
  done 2>/dev/null
  wait
}

# Whatever ends this shell, a signal too, ends what it has started.
end_together() {
  trap end_jobs EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
}

# beside COMMAND...: a step that runs while others do.
beside() {
  (
    end_together
    "$@"
  ) &
  started+=($!)
}

# step NAME SECONDS COMMAND...: runs it as long as that and the suite's own limit
# allow. Leaves its status in `rc` and what it says in `log`. Fails, with a row, if
# it could not end by itself.
step() {
  local limit=$2 left=$((seconds - SECONDS)) at why=
  log=$folder/logs/${1//\//-}.log
  echo "-- ${*:3}" >"$log"
  if [ "$left" -lt "$limit" ]; then
    limit=$left
    why=", all that was left of the suite's $seconds s"
  fi
  if [ "$limit" -le 0 ]; then
    row "$1" FAIL "not reached within the suite's $seconds s"
    return 1
  fi
  # Only what is waited for like this can be ended before its time.
  timeout -k 10 "$limit" "${@:3}" >>"$log" 2>&1 &
  wait $!
  rc=$?
  if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then
    at=$(sed -n 's/^\[ RUN      \] //p' "$log" | tail -n1)
    row "$1" FAIL "not finished in $limit s$why${at:+, in $at}"
    return 1
  fi
}

# gtest PROGRAM ARGUMENTS...
gtest() {
  local program=$1 start=$SECONDS rc
  if step "$program" "$beside_s" "${ours[@]}" "$here/bin/$program" \
    --gtest_color=no "${@:2}"; then
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
    row "$name" skip "there is no compute-sanitizer"
    return
  fi
  # To it a stream that has not yet come to its end, when asked, is an error.
  [ "$tool" != memcheck ] || options=(--report-api-errors no)
  if step "$name" "$beside_s" "${ours[@]}" "$sanitizer" --tool "$tool" \
    --error-exitcode 86 "${options[@]}" "$here/bin/$program" \
    --gtest_color=no "${@:3}"; then
    judge_sanitizer "$name" "$rc" $((SECONDS - start))
  fi
}

# judge_sanitizer NAME EXIT_STATUS SECONDS
judge_sanitizer() {
  local summary refusal passed
  summary=$(grep -m1 ' SUMMARY: ' "$log" | sed 's/^=* *//')
  refusal=$(grep -m1 '^==* .*evice not supported' "$log" | sed 's/^=* *//')
  passed=$(passed_count)
  if [ -n "$refusal" ]; then
    row "$1" refused "$refusal"
  elif [ -z "$summary" ]; then
    row "$1" FAIL "no summary, exit status $2: $(tail -n1 "$log")"
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
  if step "$@"; then
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

end_together
device='no GPU: there is no nvidia-smi'
if command -v nvidia-smi >/dev/null; then
  device=$(nvidia-smi --query-gpu=name,driver_version,memory.total \
    --format=csv,noheader 2>&1 | head -n1)
fi
row machine info "$device, $(uname -r), $(nproc) cores"

if wanted bench; then
  bench
fi
# Of each of them: long, for they share the machine.
beside_s=300
started=()
if wanted conformance; then
  beside gtest device_shard_conformance_test '--gtest_filter=Cuda/*'
fi
if wanted device; then
  beside gtest gpu_cuda_test
  beside gtest device_kernels_test '--gtest_filter=*/Cuda'
fi
if wanted daemon; then
  beside gtest gpu_daemon_test
fi
if wanted sanitizer; then
  for tool in memcheck racecheck initcheck; do
    # Left out: arrays that begin, on paper, where nothing is allocated.
    beside sanitize "$tool" device_kernels_test \
      '--gtest_filter=*/Cuda:-*BeyondThirtyTwoBits*'
    beside sanitize "$tool" device_shard_conformance_test \
      '--gtest_filter=Cuda/*AResetShard*/One:Cuda/*AnUntouchedGroup*/One'
  done
fi
for pid in "${started[@]}"; do
  wait "$pid" || row suite FAIL "a step's shell has ended with status $?"
done

echo
cat "$table"
! grep -qE '^[^ ]+ +(FAIL|skip|below) ' "$table"
