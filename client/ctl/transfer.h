// What commands that move a model's parameters have in common: how long that
// may take.

#ifndef ACCRUE_CLIENT_CTL_TRANSFER_H_
#define ACCRUE_CLIENT_CTL_TRANSFER_H_

#include <cstdint>
#include <optional>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace accrue::ctl {

// Adds --transfer_timeout to a command.
void AddTransferTimeout(CLI::App& command, std::string* text);

// What the flag says; nothing where it was not given. UsageError.
absl::StatusOr<std::optional<absl::Duration>> ParseTransferTimeout(
    const std::string& text);

// Without the flag: five minutes, or as long as this many bytes take at 4 MB/s
// if that is longer.
absl::Duration DefaultTransferTimeout(int64_t bytes);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_TRANSFER_H_
