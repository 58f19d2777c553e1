#include "client/ctl/format.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace accrue::ctl {

std::string HumanBytes(int64_t bytes) {
  if (std::abs(bytes) < 1024) return absl::StrCat(bytes, " B");
  static constexpr std::array kUnits = {"KiB", "MiB", "GiB",
                                        "TiB", "PiB", "EiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  // 1023.5 would print as "1024".
  while (std::abs(value) >= 1023.5 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  const int digits = std::abs(value) < 9.95 ? 1 : 0;
  return absl::StrFormat("%.*f %s", digits, value, kUnits[unit]);
}

std::string HumanCount(int64_t count) {
  const std::string digits = absl::StrCat(count);
  std::string text;
  for (size_t i = 0; i < digits.size(); ++i) {
    const size_t left = digits.size() - i;
    // Not behind the sign, nor before the first digit.
    const bool inside = i > (count < 0 ? 1 : 0);
    if (inside && left % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}

std::string HumanAge(absl::Duration age) {
  if (age < absl::Seconds(1)) return "now";
  if (age < absl::Minutes(1)) {
    return absl::StrCat(absl::ToInt64Seconds(age), " s");
  }
  if (age < absl::Hours(1)) {
    return absl::StrCat(absl::ToInt64Minutes(age), " min");
  }
  if (age < absl::Hours(48)) {
    return absl::StrCat(absl::ToInt64Hours(age), " h");
  }
  return absl::StrCat(absl::ToInt64Hours(age) / 24, " d");
}

std::string HumanReal(double value) { return absl::StrFormat("%g", value); }

}  // namespace accrue::ctl
