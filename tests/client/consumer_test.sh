#!/bin/bash
# Installs the SDK, builds a project against the installed package alone, and
# runs it against a daemon.
#
# usage: consumer_test.sh BUILD_DIR PROJECT_DIR WORK_DIR DAEMON [cmake option...]
#   BUILD_DIR    Accrue's build      WORK_DIR  emptied and used
#   PROJECT_DIR  the project         DAEMON    prints its address and runs until
#                                              its standard input ends
set -euo pipefail
build=$1 project=$2 work=$3 daemon=$4
shift 4

rm -rf "$work"
mkdir -p "$work"
# Copied, so that no path leads back into Accrue's tree.
cp -r "$project" "$work/source"
cmake --install "$build" --component sdk --prefix "$work/prefix"
cmake -S "$work/source" -B "$work/build" -DCMAKE_PREFIX_PATH="$work/prefix" "$@"
cmake --build "$work/build"

if grep -rlE 'grpc|protobuf' "$work/prefix/include"; then
  echo "these installed headers show the transport" >&2
  exit 1
fi

# Its standard input is ours to close.
coproc DAEMON { exec "$daemon"; }
read -r address <&"${DAEMON[0]}"
output=$("$work/build/consumer" "$address")
echo "$output"
[[ $output == "parameters=17 accepted=1 folded=1" ]]
pid=$DAEMON_PID
eval "exec ${DAEMON[1]}>&-"
wait "$pid"

# Nobody listens there any more: an error in time, no hang.
if timeout 90 "$work/build/consumer" "unix:$work/nobody.sock"; then
  echo "it found a daemon where there is none" >&2
  exit 1
elif [[ $? == 124 ]]; then
  echo "it hung where there is no daemon" >&2
  exit 1
fi
