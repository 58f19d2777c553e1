#include "tests/durability/file_faults.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"

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

}  // namespace

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
  return std::nullopt;
}

int64_t FileFaults::TakeRoom(int64_t bytes) {
  MutexLock lock(&mutex_);
  const int64_t taken = std::min(bytes, room_);
  if (room_ != kAlways) room_ -= taken;
  return taken;
}

}  // namespace accrue
