#!/usr/bin/env python3
"""Runs clang's tools over the project.

    clang_checks.py format ROOT          clang-format over every C++ file
    clang_checks.py tidy ROOT BUILD      clang-tidy, and the analysis of lock
                                         annotations, over the server's folders
                                         below service/

`tidy` reads BUILD/compile_commands.json; generated headers are not needed, since
nothing below service/ includes any. Exits 1 if a tool finds something.
"""

import concurrent.futures
import json
import os
import pathlib
import subprocess
import sys

import source_rules

TIDY_FOLDERS = ("base", "rule", "device", "kernels", "model", "durability",
                "ingest")


def run_all(commands):
    """Runs each command on a core of its own; prints what failing ones say."""
    def run(command):
        return subprocess.run(command, capture_output=True, text=True, check=False)

    failed = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for result in pool.map(run, commands):
            if result.returncode != 0:
                failed += 1
                print(result.stdout, result.stderr, sep="", flush=True)
    print(f"{len(commands)} runs, {failed} failed")
    return 1 if failed else 0


def check_format(root):
    files = [str(root / path) for path in source_rules.project_files(root)
             if path.suffix in source_rules.CPP]
    return run_all([["clang-format", "--dry-run", "-Werror", *files[i::8]]
                    for i in range(8) if files[i::8]])


def check_tidy(root, build):
    with open(build / "compile_commands.json", encoding="utf-8") as file:
        entries = json.load(file)
    folders = [root / "server" / name for name in TIDY_FOLDERS]
    # Not CUDA's own language, of which clang-tidy 14 reads older versions only.
    sources = sorted({
        entry["file"] for entry in entries
        if pathlib.Path(entry["file"]).parent in folders
        and not entry["file"].endswith(".cu")})
    if not sources:
        print("nothing to check: no such sources in compile_commands.json")
        return 1
    return run_all([
        ["clang-tidy", "--quiet", f"--config-file={root / '.clang-tidy'}",
         "-p", str(build), "--extra-arg=-Wthread-safety", source]
        for source in sources])


def main():
    which, root = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
    if which == "format":
        return check_format(root)
    return check_tidy(root, pathlib.Path(sys.argv[3]).resolve())


if __name__ == "__main__":
    sys.exit(main())
