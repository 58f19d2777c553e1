#!/usr/bin/env bash
# Trains a real model with Accrue, from nothing: installs what is missing on a
# Debian 12 machine, builds, starts accrued, and trains a perceptron on
# Fashion-MNIST with worker processes. The last lines are
#
#   trained in S s
#   test_accuracy=A versions=V pushes=P accumulation_buffer_bytes=N published_bytes=B
#
#   quickstart.sh                       about a minute of training on 2 cores
#   quickstart.sh --buffering=classic   with a gradient accumulation buffer
#   quickstart.sh --workers=N --epochs=N --examples=N
#   quickstart.sh --dataset=DIR         with the dataset in DIR
#   quickstart.sh --bin=DIR             with the programs in DIR: installs and
#                                       builds nothing
#
# However it ends, nothing that it started is left running; if it is killed
# outright, then only where there is setpriv (util-linux), as on Debian.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/build/release/bin
programs=(accrued accruectl fashion_mnist)

fail() { echo "quickstart.sh: $*" >&2; exit 1; }

build=yes
dataset=/usr/share/datasets/fashion-mnist
training_flags=()
for flag in "$@"; do
  case $flag in
    --buffering=embedded | --buffering=classic) training_flags+=("$flag") ;;
    --workers=[1-9]* | --epochs=[1-9]* | --examples=[1-9]*)
      training_flags+=("$flag") ;;
    --dataset=?*) dataset=$(realpath -m -- "${flag#--dataset=}") ;;
    --bin=?*) build=no bin=${flag#--bin=} ;;
    *)
      echo "usage: $0 [--buffering=embedded|classic] [--workers=N]" \
        "[--epochs=N] [--examples=N] [--dataset=DIR] [--bin=DIR]" >&2
      exit 2 ;;
  esac
done

# shellcheck source=deploy/programs.sh
. "$root/deploy/programs.sh"

scratch=''
# shellcheck disable=SC2317  # called by the trap
clean_up() {
  trap '' INT TERM HUP
  end_all
  [ -z "$scratch" ] || rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
trap 'exit 129' HUP

# shellcheck disable=SC2119  # it takes no flags of ours
[ "$build" = no ] || build_programs
for program in "${programs[@]}"; do
  [ -x "$bin/$program" ] || fail "$bin/$program is not there"
done
[ -r "$dataset/train-images-idx3-ubyte.gz" ] ||
  fail "no dataset in $dataset: install the Debian package dataset-fashion-mnist"

scratch=$(mktemp -d)
"${tied[@]}" "$bin/accrued" --listen=127.0.0.1:0 --http=none \
  --port_file="$scratch/address" >"$scratch/log" 2>&1 &
daemon=$!
until [ -s "$scratch/address" ]; do
  kill -0 "$daemon" 2>/dev/null || {
    cat "$scratch/log" >&2
    fail 'accrued did not start'
  }
  sleep 0.1
done
address=$(head -n 1 "$scratch/address")
echo "accrued listens on $address (pid $daemon)"

# In the background and waited for, so that a signal is handled at once.
"${tied[@]}" "$bin/fashion_mnist" --target="$address" --dataset="$dataset" \
  "${training_flags[@]}" &
training=$!
status=0
wait "$training" || status=$?
if [ "$status" -ne 0 ]; then
  tail -n 20 "$scratch/log" >&2
  fail "training ended with $status"
fi
end "$daemon" || fail "accrued ended with $?"
