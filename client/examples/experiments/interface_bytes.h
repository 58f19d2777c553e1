// InterfaceBytes: what a network interface has carried, headers and all, as the
// kernel counts it in /proc/net/dev for this process's network namespace.

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_INTERFACE_BYTES_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_INTERFACE_BYTES_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace accrue::experiments {

struct InterfaceBytes {
  int64_t in = 0;
  int64_t out = 0;
};

// Of `text`, which is what /proc/net/dev holds. NOT_FOUND: no such interface.
absl::StatusOr<InterfaceBytes> ParseInterfaceBytes(absl::string_view text,
                                                   absl::string_view interface);

absl::StatusOr<InterfaceBytes> ReadInterfaceBytes(absl::string_view interface);

// A token bucket, such as tbf: in any time t no more than burst + rate*t comes
// through.
struct Shape {
  int64_t bytes_per_second = 0;  // 0: whatever comes
  int64_t burst_bytes = 0;
};

// FAILED_PRECONDITION: either way more came through in `elapsed` than could.
absl::Status CheckShaped(const InterfaceBytes& carried, absl::Duration elapsed,
                         const Shape& shape);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_INTERFACE_BYTES_H_
