#include "client/examples/experiments/interface_bytes.h"

#include <fstream>
#include <sstream>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
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

}  // namespace accrue::experiments
