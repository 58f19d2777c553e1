#include "tests/faults/fail_points.h"

#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <unistd.h>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "tests/durability/forgetful_files.h"

namespace accrue::faults {
namespace {

constexpr char kEnd[] = "ACCRUE_FAIL_POINT";
constexpr char kMistake[] = "ACCRUE_MISTAKE";
constexpr char kShadow[] = "ACCRUE_SHADOW";
constexpr char kFileFaults[] = "ACCRUE_FILE_FAULTS";

// What one of the variables says.
struct Order {
  FailPoint point = FailPoint::kCount;
  int64_t count = 0;
  std::atomic<int64_t> reached{0};
};

Order end, mistake;
std::atomic<bool> armed{false};

void Arm(int) { armed = true; }

bool Handle(FailPoint point) {
  if (point == end.point && armed && ++end.reached == end.count) {
    _exit(kFailPointExit);
  }
  return point == mistake.point && ++mistake.reached % mistake.count == 0;
}

void Read(const char* variable, Order& order) {
  const char* const value = std::getenv(variable);
  if (value == nullptr) return;
  const std::vector<std::string> parts = absl::StrSplit(value, ':');
  for (size_t i = 0; i < std::size(kFailPointNames); ++i) {
    if (parts[0] == kFailPointNames[i]) order.point = static_cast<FailPoint>(i);
  }
  if (order.point == FailPoint::kCount || parts.size() != 2 ||
      !absl::SimpleAtoi(parts[1], &order.count) || order.count < 1) {
    std::fprintf(stderr, "%s=%s: no such order\n", variable, value);
    std::exit(EXIT_FAILURE);
  }
}

}  // namespace

std::string FailPointVariable(FailPoint point, int64_t count) {
  return absl::StrCat(point >= FailPoint::kFoldRepeat ? kMistake : kEnd, "=",
                      std::string(Name(point)), ":", count);
}

std::string ShadowVariable(const std::string& shadow) {
  return absl::StrCat(kShadow, "=", shadow);
}

std::string FileFaultsVariable(const std::string& path) {
  return absl::StrCat(kFileFaults, "=", path);
}

std::unique_ptr<FileSystem> FilesOfEnvironment() {
  const char* const shadow = std::getenv(kShadow);
  if (shadow == nullptr) return nullptr;
  auto files = std::make_unique<ForgetfulFiles>(shadow);
  const char* const faults = std::getenv(kFileFaults);
  if (faults != nullptr) files->faults().Follow(faults);
  return files;
}

void InstallFailPoints() {
  Read(kEnd, end);
  Read(kMistake, mistake);
  // A restart is over before anybody could send a signal.
  armed = end.point == FailPoint::kRecoveryHalfReplayed;
  std::signal(SIGUSR1, Arm);
  fail_point_handler = Handle;
}

}  // namespace accrue::faults
