# shellcheck shell=bash
# shellcheck disable=SC2154,SC2034  # the scripts that read this set and use them
# What quickstart.sh and experiments.sh share: building programs, and ending
# them. For scripts that have set root, programs and fail; not run by itself.

# build_programs [FLAG...]: installs what is missing, with install.sh's flags.
build_programs() {
  "$root/deploy/dependencies/install.sh" "$@"
  command -v c++ >/dev/null ||
    fail 'no C++ compiler: install the Debian package g++'
  cd "$root" || return
  # A build that is there keeps its configuration, be it with or without tests.
  [ -e build/release/build.ninja ] ||
    cmake --preset release -DACCRUE_TESTS=OFF >/dev/null
  cmake --build --preset release --target "${programs[@]}"
}

# Ends a child of ours, by force after 30 s, which is longer than accrued's own
# bound. Returns its exit status.
end() {
  local pid=$1 status=0
  kill -TERM "$pid" 2>/dev/null || true
  for _ in {1..300}; do
    kill -0 "$pid" 2>/dev/null || break
    sleep 0.1
  done
  ! kill -0 "$pid" 2>/dev/null || kill -KILL "$pid"
  wait "$pid" || status=$?
  return "$status"
}

# Ends all children of ours, the last to start first. The shell knows them by
# itself: a signal may come before a script has noted that it started one.
end_all() {
  local children i
  mapfile -t children < <(jobs -p)
  for ((i = ${#children[@]} - 1; i >= 0; --i)); do
    end "${children[i]}" || true
  done
}

# What is started with this in front ends with the script.
tied=()
! command -v setpriv >/dev/null || tied=(setpriv --pdeathsig KILL)
