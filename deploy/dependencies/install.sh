#!/usr/bin/env bash
# Installs what Accrue needs on a Debian 12 machine: the packages of debian.txt
# that are missing, as root or through sudo. Does nothing where nothing is.
#
#   install.sh                      to build and run
#   install.sh --with-experiments   also what deploy/experiments.sh needs
#   install.sh --with-tests         also what the tests need, which run the
#                                   experiments too; Python's part in
#                                   build/python
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

kinds='build'
case ${1-} in
  '') ;;
  --with-experiments) kinds='build|experiments' ;;
  --with-tests) kinds='build|experiments|tests' ;;
  *) echo "usage: $0 [--with-experiments | --with-tests]" >&2; exit 2 ;;
esac

fail() { echo "install.sh: $*" >&2; exit 1; }

missing_packages() {
  local package
  awk -v kinds="^($kinds)\$" '!/^#/ && $2 ~ kinds { print $1 }' \
      "$here/debian.txt" |
    while read -r package; do
      [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = \
        installed ] || printf '%s ' "$package"
    done
}

command -v dpkg-query >/dev/null ||
  fail "this is no Debian system; install the equivalents of $here/debian.txt"
missing=$(missing_packages)
if [ -n "$missing" ]; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null ||
      fail "missing packages: $missing(run as root, or install sudo)"
    as_root=(sudo)
  fi
  apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
      apt-get -qq -o DPkg::Lock::Timeout=300 "$@"
  }
  echo "installing: $missing"
  apt update || fail "apt-get update failed; missing packages: $missing"
  # shellcheck disable=SC2086  # one word a package
  apt install -y --no-install-recommends $missing >/dev/null || true
  missing=$(missing_packages)
  [ -z "$missing" ] || fail "these packages could not be installed: $missing"
fi

if [[ $kinds = *tests ]]; then
  venv="$root/build/python"
  wanted="$venv/installed.txt"
  if ! cmp -s "$here/python.txt" "$wanted"; then
    echo "installing: Python packages of $here/python.txt"
    python3 -m venv "$venv" || fail "python3 -m venv $venv failed"
    "$venv/bin/pip" install -q --disable-pip-version-check \
      -r "$here/python.txt" || fail "pip could not install $here/python.txt"
    cp "$here/python.txt" "$wanted"
  fi
fi
