#include "server/service/device_choice.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

constexpr absl::string_view kWanted = "want auto, cpu, cuda or cuda:N[,N...]";

// Digits alone: SimpleAtoi would take signs and spaces too.
absl::StatusOr<int> ParseIndex(absl::string_view text) {
  int index = 0;
  if (std::all_of(text.begin(), text.end(), absl::ascii_isdigit) &&
      absl::SimpleAtoi(text, &index)) {
    return index;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("\"", text, "\" is no GPU's index, ", kWanted));
}

}  // namespace

absl::StatusOr<DeviceChoice> ParseDeviceChoice(absl::string_view text) {
  if (text == "auto") return DeviceChoice{};
  if (text == "cpu") return DeviceChoice{.kind = DeviceChoice::Kind::kCpu};
  DeviceChoice choice{.kind = DeviceChoice::Kind::kCuda};
  if (text == "cuda") return choice;
  if (!absl::ConsumePrefix(&text, "cuda:")) {
    return absl::InvalidArgumentError(kWanted);
  }
  for (const absl::string_view item : absl::StrSplit(text, ',')) {
    ACCRUE_ASSIGN_OR_RETURN(const int index, ParseIndex(item));
    if (std::count(choice.gpus.begin(), choice.gpus.end(), index) > 0) {
      return absl::InvalidArgumentError(
          absl::StrCat("GPU ", index, " is there twice, ", kWanted));
    }
    choice.gpus.push_back(index);
  }
  return choice;
}

std::string ToString(const DeviceChoice& choice) {
  if (choice.kind == DeviceChoice::Kind::kAuto) return "auto";
  if (choice.kind == DeviceChoice::Kind::kCpu) return "cpu";
  if (choice.gpus.empty()) return "cuda";
  return absl::StrCat("cuda:", absl::StrJoin(choice.gpus, ","));
}

}  // namespace accrue
