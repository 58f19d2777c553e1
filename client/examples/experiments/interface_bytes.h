// InterfaceBytes: what a network interface has carried, headers and all, as the
// kernel counts it in /proc/net/dev for this process's network namespace.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_INTERFACE_BYTES_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_INTERFACE_BYTES_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace accrue::experiments {

struct InterfaceBytes {
  int64_t in = 0;
  int64_t out = 0;
};

// Of `text`, which is what /proc/net/dev holds. NOT_FOUND: no such interface.
absl::StatusOr<InterfaceBytes> ParseInterfaceBytes(absl::string_view text,
                                                   absl::string_view interface);

absl::StatusOr<InterfaceBytes> ReadInterfaceBytes(absl::string_view interface);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_INTERFACE_BYTES_H_
