#!/bin/sh
# Packs the GPU suite: the given programs, without symbols, run.sh, and the
# libraries that they load, which are found there by the programs' rpath.
#
#   pack.sh FOLDER PROGRAM...
#
# Fails if the folder is too large to be sent around, if a program would load
# anything from elsewhere but the C and the C++ library, or if one needs a newer C
# library than machines have. Where the machine's C++ library is older than this
# one's, run.sh takes the copy in lib/runtime, which asks for a newer C library.
set -eu
max_kib=$((60 * 1024))
max_glibc=2.34
max_runtime_glibc=2.36
c_library='lib(c|m|dl|rt|pthread)\.so\..*|ld-linux.*'
cxx_library='lib(stdc\+\+|gcc_s)\.so\..*'

suite=$1
shift
rm -rf "$suite"
mkdir -p "$suite/bin" "$suite/lib/runtime"
for program; do
  strip -o "$suite/bin/$(basename "$program")" "$program"
done
for part in run.sh judge_bench.awk torch_cycle.py; do
  cp "$(dirname "$0")/$part" "$suite"
done

# Paths of what the programs load, but for those whose names match.
libraries_except() {
  for program in "$suite"/bin/*; do
    env -i ldd "$program"
  done | awk '/=>/ { print $3 }' | sort -u | grep -Ev "/($1)\$" || true
}

# By the names that programs ask for: real files, no links.
for library in $(libraries_except "$c_library"); do
  cp -L "$library" "$suite/lib"
done
mv "$suite"/lib/libstdc++.so.* "$suite"/lib/libgcc_s.so.* "$suite/lib/runtime"

strangers=$(libraries_except "$c_library|$cxx_library" |
  grep -v "^$suite/bin/../lib/") || true
if [ -n "$strangers" ]; then
  echo "would be loaded from elsewhere: $strangers" >&2
  exit 1
fi

# check_glibc MOST FILE...: that none of them needs a newer one.
check_glibc() {
  most=$1
  shift
  for file; do
    needed=$(objdump -T "$file" | grep -F '*UND*' |
      grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n1)
    newest=$(printf '%s\n' "$needed" "$most" | sort -V | tail -n1)
    if [ "$newest" != "$most" ]; then
      echo "$file needs glibc $needed, newer than $most" >&2
      exit 1
    fi
  done
}
check_glibc "$max_glibc" "$suite"/bin/* "$suite"/lib/*.so*
check_glibc "$max_runtime_glibc" "$suite"/lib/runtime/*

kib=$(du -sk "$suite" | cut -f1)
echo "$suite: $kib KiB, for glibc $max_glibc; $max_runtime_glibc with lib/runtime"
if [ "$kib" -gt "$max_kib" ]; then
  echo "more than $max_kib KiB" >&2
  exit 1
fi
