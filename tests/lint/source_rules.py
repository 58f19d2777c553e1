#!/usr/bin/env python3
"""Checks the rules of the house that need no compiler.

Layers of includes, header guards, words and calls that must not appear, the
width of the API's lines, tests that pages name, and the layout of the top level.
Prints one line a violation; exits 1 if there is any.

    source_rules.py [ROOT]
"""

import pathlib
import re
import subprocess
import sys

# What the sources of each folder may include of the project, beyond the folder
# itself, and of other libraries. Lowest layer first.
LAYERS = {
    "server/rule": ((), ()),
    "server/base": ((), ("absl", "spdlog")),
    "server/device": (("server/base",), ("absl",)),
    "server/kernels": (
        ("server/rule", "server/device", "server/base"),
        ("absl", "highway", "xxhash"),
    ),
    "server/model": (
        ("server/kernels", "server/rule", "server/device", "server/base"),
        ("absl",),
    ),
    "server/durability": (
        ("server/model", "server/kernels", "server/rule", "server/device",
         "server/base"),
        ("absl", "json", "xxhash"),
    ),
    "server/ingest": (
        ("server/model", "server/kernels", "server/base"),
        ("absl",),
    ),
    "server/service": (
        ("server/ingest", "server/durability", "server/model",
         "server/kernels", "server/rule", "server/device", "server/base",
         "accrue/v1"),
        ("absl", "grpc", "protobuf", "openssl", "yaml"),
    ),
    "server/ops": (
        ("server/model", "server/base"),
        ("absl", "prometheus"),
    ),
}

# server/*.cc, which only wire, may include everything. Clients never include
# the server's layers above base.
CLIENT_MAY_INCLUDE = ("client/", "server/base/", "accrue/")

# Installed, and there included as "accrue/client.h". They name no type of grpc,
# protobuf, or of the server.
SDK_HEADERS = "client/cpp/include/accrue"

# Libraries by how their includes begin.
LIBRARIES = {
    "absl": ("absl/",),
    "spdlog": ("spdlog/", "fmt/"),
    "highway": ("hwy/",),
    "xxhash": ("xxhash.h",),
    "openssl": ("openssl/",),
    "grpc": ("grpc/", "grpcpp/", "grpc++/"),
    "protobuf": ("google/protobuf/",),
    "prometheus": ("prometheus/",),
    "json": ("nlohmann/",),
    "yaml": ("yaml-cpp/",),
    "cli": ("CLI/",),
    "eigen": ("Eigen/",),
    "zlib": ("zlib.h",),
    "test": ("gtest/", "gmock/", "benchmark/"),
    "cuda": ("cuda", "cub/", "cooperative_groups"),
}

TOP_LEVEL = {
    ".ci", ".clang-format", ".clang-tidy", ".gitignore", "CMakeLists.txt",
    "CMakePresets.json", "LICENSE", "README.md", "client", "deploy", "proto",
    "server", "tests",
}

# Spelled in two halves, so that this file does not contain them.
FORBIDDEN_WORDS = re.compile(
    r"\b(" + "|".join(["TO" "DO", "FIX" "ME", "XX" "X", "HA" "CK"]) + r")\b")
SLEEPS = re.compile(r"\b(sleep_" r"for|sleep_" r"until|Sleep" r"For|u" r"sleep"
                    r"|nano" r"sleep)\s*\(|\btime\.sl" r"eep\("
                    # Waiting for nothing but the timeout.
                    r"|\bp?poll\((nullptr|NULL|0)\s*," r"|\bselect\(0\s*,")
SHELL_SLEEPS = re.compile(r"(^|[\s;&|({`])sl" r"eep\s+[\d$.\"]")

# What clang-format keeps to in C++.
MAX_PROTO_COLUMNS = 80

# Tests as a page names them, and where they are defined.
NAMED_FILE = re.compile(r"`(tests/[\w./-]+)`")
NAMED_TEST = re.compile(r"`(\w+Test|\w+Conformance)\.(\w*)`")
DEFINED_TEST = re.compile(r"^TEST(?:_[FP])?\(\s*(\w+),\s*(\w+)\)",
                          re.MULTILINE)

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
CPP = {".h", ".cc", ".cu", ".cuh"}
TEXT = CPP | {".py", ".sh", ".cmake", ".txt", ".proto", ".md", ".json", ".yaml"}


def library_of(include):
    for name, prefixes in LIBRARIES.items():
        if include.startswith(prefixes):
            return name
    return None


def project_files(root):
    """Every file of the project, relative to root: git's view where it has one."""
    listing = subprocess.run(
        ["git", "-C", root, "ls-files", "-z", "--cached", "--others",
         "--exclude-standard"],
        capture_output=True, check=False)
    if listing.returncode == 0 and (root / ".git").exists():
        names = listing.stdout.decode().split("\0")
        paths = [pathlib.PurePosixPath(name) for name in names if name]
        return sorted(path for path in paths if (root / path).is_file())
    found = []
    for path in root.rglob("*"):
        relative = path.relative_to(root)
        if path.is_file() and not {"build", "__pycache__", ".git"} & set(relative.parts):
            found.append(pathlib.PurePosixPath(relative))
    return sorted(found)


def includes_of(text):
    """(line number, '<' or '"', what) of each include."""
    for number, line in enumerate(text.splitlines(), start=1):
        match = INCLUDE.match(line)
        if match:
            yield number, match.group(1), match.group(2)


def server_violation(path, quote, include):
    folder = "/".join(path.parts[:2])
    if folder not in LAYERS:
        return f"{folder} is no layer of the server"
    folders, libraries = LAYERS[folder]
    library = library_of(include)
    if library == "cuda" and folder in ("server/device", "server/kernels"):
        allowed = path.suffix in (".cu", ".cuh") or "_cuda." in path.name
        return None if allowed else "CUDA belongs in *_cuda.* and *.cu"
    if library is not None:
        return None if library in libraries else f"{folder} must not use {library}"
    if quote == '"':
        allowed = tuple(f"{name}/" for name in (folder, *folders))
        return None if include.startswith(allowed) else (
            f"{folder} must not include {include}")
    if folder == "server/rule" and not re.fullmatch(r"[a-z_]+", include):
        return "server/rule uses the C++ standard library only"
    return None


def client_violation(path, quote, include):
    library = library_of(include)
    if path.is_relative_to(SDK_HEADERS):
        foreign = library not in (None, "absl") or (
            quote == '"' and library is None
            and not re.fullmatch(r"accrue/\w+\.h", include))
        return (f"the SDK's public headers must not include {include}"
                if foreign else None)
    if quote == '"' and library is None and not include.startswith(
            CLIENT_MAY_INCLUDE):
        return f"clients must not include {include}"
    return None


def layer_violation(path, quote, include):
    """Why `path` must not include `include`; None if it may."""
    if quote == '"' and library_of(include) is None and not include.startswith(
            ("server/", "client/", "tests/", "accrue/")):
        return f'"{include}" is not spelled from the repository root'
    if path.parts[0] == "server" and len(path.parts) > 2:
        return server_violation(path, quote, include)
    if path.parts[0] == "client":
        return client_violation(path, quote, include)
    return None


def check_includes(path, text):
    for number, quote, include in includes_of(text):
        why = layer_violation(path, quote, include)
        if why:
            yield f"{path}:{number}: {why}"


def check_guard(path, text):
    if path.name.endswith("-inl.h"):
        return  # included once per SIMD target; highway's toggle guards it
    name = str(path).replace(SDK_HEADERS, "client")
    guard = "ACCRUE_" + re.sub(r"[^A-Z0-9]", "_", name.upper()) + "_"
    opening = re.search(r"^#ifndef (\S+)\n#define (\S+)$", text, re.MULTILINE)
    if not opening or opening.groups() != (guard, guard):
        yield f"{path}: header guard is not {guard}"
    elif not text.rstrip().endswith(f"#endif  // {guard}"):
        yield f"{path}: does not end with #endif  // {guard}"


def check_words(path, text):
    for number, line in enumerate(text.splitlines(), start=1):
        match = FORBIDDEN_WORDS.search(line)
        if match:
            yield f"{path}:{number}: {match.group(0)} marks something unfinished"
        if path.parts[0] == "tests":
            match = SLEEPS.search(line) or (
                path.suffix == ".sh" and SHELL_SLEEPS.search(line))
            if match:
                yield f"{path}:{number}: tests wait on conditions, not on time"


def check_width(path, text):
    for number, line in enumerate(text.splitlines(), start=1):
        if len(line) > MAX_PROTO_COLUMNS:
            yield (f"{path}:{number}: {len(line)} columns, want at most "
                   f"{MAX_PROTO_COLUMNS}")


def check_named_tests(path, text, paths, tests):
    """Every test that a page names exists; `Suite.` names a whole suite."""
    for name in NAMED_FILE.findall(text):
        if not any(other.is_relative_to(name) for other in paths):
            yield f"{path}: no {name}"
    for suite, name in NAMED_TEST.findall(text):
        if not any(suite == s and name in ("", n) for s, n in tests):
            yield f"{path}: no test {suite}.{name}"


def check_top_level(paths):
    names = {path.parts[0] for path in paths}
    for name in sorted(names - TOP_LEVEL):
        yield f"{name}: not in the layout of the top level"
    for name in sorted(TOP_LEVEL - names):
        yield f"{name}: missing at the top level"


def violations(root):
    root = pathlib.Path(root)
    paths = project_files(root)
    yield from check_top_level(paths)
    texts = {path: (root / path).read_text(encoding="utf-8")
             for path in paths if path.suffix in TEXT}
    tests = {test for path, text in texts.items()
             if path.parts[0] == "tests" and path.suffix in CPP
             for test in DEFINED_TEST.findall(text)}
    for path, text in texts.items():
        yield from check_words(path, text)
        if path.suffix == ".proto":
            yield from check_width(path, text)
        if path.suffix == ".md":
            yield from check_named_tests(path, text, paths, tests)
        if path.suffix in CPP:
            yield from check_includes(path, text)
        if path.suffix in (".h", ".cuh"):
            yield from check_guard(path, text)


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    found = list(violations(root))
    for line in found:
        print(line)
    print(f"{len(found)} violations")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
