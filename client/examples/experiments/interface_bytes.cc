#include "client/examples/experiments/interface_bytes.h"

#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace accrue::experiments {

absl::StatusOr<InterfaceBytes> ParseInterfaceBytes(
    absl::string_view text, absl::string_view interface) {
  // "  eth0: <bytes in> <7 more of in> <bytes out> ..."
  constexpr size_t kOut = 8;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripLeadingAsciiWhitespace(line);
    if (!absl::ConsumePrefix(&line, interface) ||
        !absl::ConsumePrefix(&line, ":")) {
      continue;
    }
    const std::vector<absl::string_view> numbers =
        absl::StrSplit(line, ' ', absl::SkipEmpty());
    InterfaceBytes bytes;
    if (numbers.size() > kOut && absl::SimpleAtoi(numbers[0], &bytes.in) &&
        absl::SimpleAtoi(numbers[kOut], &bytes.out)) {
      return bytes;
    }
  }
  return absl::NotFoundError(
      absl::StrCat("no network interface \"", interface, "\""));
}

absl::StatusOr<InterfaceBytes> ReadInterfaceBytes(absl::string_view interface) {
  const std::ifstream file("/proc/self/net/dev");
  std::stringstream text;
  text << file.rdbuf();
  return ParseInterfaceBytes(text.str(), interface);
}

absl::Status CheckShaped(const InterfaceBytes& carried, absl::Duration elapsed,
                         const Shape& shape) {
  if (shape.bytes_per_second == 0) return absl::OkStatus();
  const double seconds = absl::ToDoubleSeconds(elapsed);
  const double most = static_cast<double>(shape.bytes_per_second) * seconds +
                      static_cast<double>(shape.burst_bytes);
  for (const auto& [direction, bytes] :
       {std::pair{"out", carried.out}, std::pair{"in", carried.in}}) {
    if (static_cast<double>(bytes) <= most) continue;
    return absl::FailedPreconditionError(absl::StrFormat(
        "the link is not shaped: %d bytes went %s in %.3f s, %.1f MB/s; at "
        "%.1f MB/s and bursts of %d bytes it would be %.0f at most",
        bytes, direction, seconds, static_cast<double>(bytes) / seconds / 1e6,
        static_cast<double>(shape.bytes_per_second) / 1e6, shape.burst_bytes,
        most));
  }
  return absl::OkStatus();
}

}  // namespace accrue::experiments
