#include "tests/durability/file_faults.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace accrue {
namespace {

bool Changes(absl::string_view operation) {
  return operation != "open" && operation != "read" && operation != "list" &&
         operation != "lock";
}

bool Matches(const FileFault& fault, absl::string_view operation,
             const std::string& path) {
  if (fault.operation == "change" ? !Changes(operation)
                                  : operation != fault.operation) {
    return false;
  }
  return path.find(fault.path_part) != std::string::npos;
}

std::vector<FileFault> ReadFaults(const std::string& path) {
  std::vector<FileFault> faults;
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const std::vector<std::string> parts = absl::StrSplit(line, '\t');
    int code = 0;
    if (parts.size() != 3 || !absl::SimpleAtoi(parts[0], &code)) std::abort();
    faults.push_back({.operation = parts[1],
                      .path_part = parts[2],
                      .code = static_cast<absl::StatusCode>(code)});
  }
  return faults;
}

}  // namespace

void FileFaults::Follow(const std::string& path) {
  MutexLock lock(&mutex_);
  followed_ = path;
}

void FileFaults::Save(const std::string& path,
                      const std::vector<FileFault>& faults) {
  // Whoever follows it finds all of them.
  const std::string unfinished = path + ".unfinished";
  std::ofstream file(unfinished);
  for (const FileFault& fault : faults) {
    file << static_cast<int>(fault.code) << "\t" << fault.operation << "\t"
         << fault.path_part << "\n";
  }
  file.close();
  std::filesystem::rename(unfinished, path);
}

void FileFaults::Add(FileFault fault) {
  MutexLock lock(&mutex_);
  faults_.push_back(std::move(fault));
}

void FileFaults::SetRoom(int64_t bytes) {
  MutexLock lock(&mutex_);
  room_ = bytes;
}

void FileFaults::Clear() {
  MutexLock lock(&mutex_);
  faults_.clear();
  room_ = kAlways;
}

absl::Status FileFaults::Check(absl::string_view operation,
                               const std::string& path, bool* loses) {
  const std::optional<FileFault> fault = Take(operation, path);
  if (!fault.has_value()) return absl::OkStatus();
  fault->first();
  if (loses != nullptr) *loses = fault->loses;
  return absl::Status(fault->code, absl::StrCat("cannot ", operation, " \"",
                                                path, "\": as a test wants"));
}

std::optional<FileFault> FileFaults::Take(absl::string_view operation,
                                          const std::string& path) {
  MutexLock lock(&mutex_);
  for (FileFault& fault : faults_) {
    if (!Matches(fault, operation, path)) continue;
    if (fault.after > 0) {
      --fault.after;
      continue;
    }
    if (fault.times == 0) continue;
    if (fault.times != kAlways) --fault.times;
    return fault;
  }
  for (const FileFault& fault : ReadFaults(followed_)) {
    if (Matches(fault, operation, path)) return fault;
  }
  return std::nullopt;
}

int64_t FileFaults::TakeRoom(int64_t bytes) {
  MutexLock lock(&mutex_);
  const int64_t taken = std::min(bytes, room_);
  if (room_ != kAlways) room_ -= taken;
  return taken;
}

}  // namespace accrue
