#include "client/ctl/transfer.h"

#include <algorithm>

#include "client/ctl/command.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

constexpr absl::Duration kShortest = absl::Minutes(5);
// As slow as the daemon lets a sender be by default.
constexpr int64_t kSlowestBytesPerSecond = 4'000'000;

}  // namespace

void AddTransferTimeout(CLI::App& command, std::string* text) {
  command.add_option("--transfer_timeout", *text,
                     "how long the parameters may take; default: 5m, or their "
                     "bytes at 4 MB/s if that is longer");
}

absl::StatusOr<std::optional<absl::Duration>> ParseTransferTimeout(
    const std::string& text) {
  if (text.empty()) return std::nullopt;
  ACCRUE_ASSIGN_OR_RETURN(const absl::Duration timeout,
                          ParseDurationFlag("--transfer_timeout", text));
  return timeout;
}

absl::Duration DefaultTransferTimeout(int64_t bytes) {
  return std::max(kShortest, absl::Seconds(bytes / kSlowestBytesPerSecond));
}

}  // namespace accrue::ctl
