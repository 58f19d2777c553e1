#!/usr/bin/env bash
# Runs the experiments of the article on gradient accumulation hidden in
# momentum through accrued, on a Debian 12 machine, from nothing: installs what
# is missing, builds, runs, and compares. Writes to build/experiments:
#
#   index.html        results beside the article's claims, with plots; one file
#   claims.csv        claim,article,ours,verdict
#   comparisons.csv   whether updating less often helps by itself
#   *.csv, *.png      what each experiment measured
#
#   experiments.sh                 at most half an hour on 2 cores
#   experiments.sh --quick         at most 3 minutes: fewer seeds and pushes
#   experiments.sh --out=DIR       writes there
#   experiments.sh --dataset=DIR   with the dataset in DIR
#   experiments.sh --bin=DIR       with the programs in DIR: installs and builds
#                                  nothing
#
# Communication is measured over a link of 1 Gbit/s between two network
# namespaces, which takes root, or else user namespaces; where neither is to be
# had, it says why, bytes are those of payloads and the claims about time are
# 'not measured'. A link that carries more than it is shaped to is an error.
#
# However it ends, nothing that it started is left running, and no namespace is
# left; if it is killed outright, then only where there is setpriv (util-linux),
# as on Debian.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
bin=$root/build/release/bin
out=$root/build/experiments
report=$root/client/examples/experiments/report/main.py
# Debian's, which has Debian's packages, wherever PATH leads.
python=/usr/bin/python3
programs=(accrued experiments)

fail() { echo "experiments.sh: $*" >&2; exit 1; }

build=yes
flags=(--dataset=/usr/share/datasets/fashion-mnist)
for flag in "$@"; do
  case $flag in
    --quick) flags+=(--quick) ;;
    --out=?*) out=$(realpath -m -- "${flag#--out=}") ;;
    --dataset=?*) flags[0]=--dataset=$(realpath -m -- "${flag#--dataset=}") ;;
    --bin=?*) build=no bin=${flag#--bin=} ;;
    *)
      echo "usage: $0 [--quick] [--out=DIR] [--dataset=DIR] [--bin=DIR]" >&2
      exit 2 ;;
  esac
done

# shellcheck source=deploy/programs.sh
. "$root/deploy/programs.sh"

# The processes that we have started, in order.
running=()
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

# start_daemon LISTEN [FLAG...] -- [COMMAND...]: accrued, in front of it that
# command. Sets `address`.
start_daemon() {
  local listen=$1 daemon_flags=()
  shift
  while [ "$1" != -- ]; do
    daemon_flags+=("$1")
    shift
  done
  shift
  rm -f "$scratch/address"
  "${tied[@]}" "$@" "$bin/accrued" --listen="$listen" --http=none \
    "${daemon_flags[@]}" --port_file="$scratch/address" >"$scratch/log" 2>&1 &
  running+=($!)
  until [ -s "$scratch/address" ]; do
    kill -0 "${running[-1]}" 2>/dev/null || {
      cat "$scratch/log" >&2
      fail 'accrued did not start'
    }
    sleep 0.1
  done
  address=$(head -n 1 "$scratch/address")
}

# run NAME [FLAG...] -- [COMMAND...]: one experiment, in front of it that
# command. In the background and waited for, so that a signal is handled at
# once.
run() {
  local name=$1 start=$SECONDS status=0 more=()
  shift
  while [ "$1" != -- ]; do
    more+=("$1")
    shift
  done
  shift
  "${tied[@]}" "$@" "$bin/experiments" "$name" --target="$address" \
    --out="$out" "${flags[@]}" "${more[@]}" &
  running+=($!)
  wait "${running[-1]}" || status=$?
  unset 'running[-1]'
  if [ "$status" -ne 0 ]; then
    tail -n 20 "$scratch/log" >&2
    fail "$name ended with $status"
  fi
  echo "$name: $((SECONDS - start)) s"
}

rate_bytes=125000000 burst_bytes=262144  # 1 Gbit/s, and so much at once

# What runs a command as the owner of the link's networks: nothing for root, who
# owns all; else entering a user namespace in which we are root.
within=()

# own PID KIND: waits until that process has a namespace of its own, or has
# failed.
own() {
  while [ "$(readlink "/proc/$1/ns/$2")" = "$(readlink "/proc/self/ns/$2")" ]
  do
    sleep 0.1
  done
}

# Sets `within`; where that cannot be, `why`.
become_owner() {
  [ "$(id -u)" -ne 0 ] || return 0
  "${tied[@]}" unshare --user --map-root-user tail -f /dev/null \
    2>>"$scratch/link" &
  running+=($!)
  own "${running[-1]}" user
  [ -n "$(readlink "/proc/${running[-1]}/ns/user")" ] || {
    why="not root, and no user namespace: $(head -n 1 "$scratch/link")"
    return 1
  }
  within=(nsenter --user --preserve-credentials --target "${running[-1]}")
}

# set_up_end PID HOST: an end of the link, in the network of that process.
set_up_end() {
  local inside=("${within[@]}" nsenter --net="/proc/$1/ns/net")
  "${inside[@]}" ip address add "192.0.2.$2/24" dev link0 &&
    "${inside[@]}" tc qdisc add dev link0 root \
      tbf rate "${rate_bytes}bps" burst "$burst_bytes" latency 50ms &&
    "${inside[@]}" ip link set link0 up
}

# Two networks, each of a process that does nothing and ends with it, and
# between them a link of 1 Gbit/s each way. Sets `near` and `far`; where that
# cannot be, `why`.
make_link() {
  local tool pid
  for tool in ip tc unshare nsenter; do
    command -v "$tool" >/dev/null || { why="no program $tool"; return 1; }
  done
  : >"$scratch/link"
  become_owner || return 1
  for _ in near far; do
    "${tied[@]}" "${within[@]}" unshare --net tail -f /dev/null 2>>"$scratch/link" &
    running+=($!)
  done
  near=${running[-2]} far=${running[-1]}
  for pid in "$near" "$far"; do own "$pid" net; done
  {
    "${within[@]}" nsenter --net="/proc/$near/ns/net" \
      ip link add link0 type veth peer name link0 netns "$far" &&
      set_up_end "$near" 1 && set_up_end "$far" 2
  } 2>>"$scratch/link" || {
    why=$(head -n 1 "$scratch/link")
    return 1
  }
}

[ "$build" = no ] || build_programs --with-experiments
for program in "${programs[@]}"; do
  [ -x "$bin/$program" ] || fail "$bin/$program is not there"
done
"$python" -c 'import matplotlib, numpy' 2>/dev/null ||
  fail 'no plots without the Debian packages python3-numpy, python3-matplotlib'
[ -r "${flags[0]#--dataset=}/train-images-idx3-ubyte.gz" ] ||
  fail "no dataset in ${flags[0]#--dataset=}: install the Debian package" \
    dataset-fashion-mnist

mkdir -p "$out"
# Nothing of an earlier run shall pass for this one's; what else the user keeps
# in that folder stays.
rm -f "$out/index.html"
for table in rule batch quadratic images images_loss images_noise link \
  loopback claims comparisons; do
  rm -f "$out/$table.csv"
done
scratch=$(mktemp -d)
start_daemon 127.0.0.1:0 --
for experiment in batch quadratic; do run "$experiment" --; done
end_all

why=''
if make_link; then
  start_daemon 192.0.2.1:0 --insecure -- \
    "${within[@]}" nsenter --net="/proc/$near/ns/net"
  echo 'link: 1 Gbit/s between two networks'
  run link --interface=link0 --interface_rate="$rate_bytes" \
    --interface_burst="$burst_bytes" -- \
    "${within[@]}" nsenter --net="/proc/$far/ns/net"
else
  echo "no link of 1 Gbit/s ($why): time is not measured, bytes are payloads"
  end_all
  start_daemon 127.0.0.1:0 --
  run link --
fi
end_all

start_daemon 127.0.0.1:0 --
for experiment in loopback rule images; do run "$experiment" --; done
end_all

"$python" -B "$report" "$out"
echo "took $SECONDS s; see $out/index.html"
