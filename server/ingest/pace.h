// TimeLeftAt: how long a payload will still take, by its mean pace so far.
//
// Errors.    InfiniteDuration: nothing has come yet, or the sender should have
//            ended by that pace, but has been silent for longer.
// Threading. safe: no state
#ifndef ACCRUE_SERVER_INGEST_PACE_H_
#define ACCRUE_SERVER_INGEST_PACE_H_

#include <algorithm>
#include <cstdint>

#include "absl/time/time.h"

namespace accrue {

// A sender that pauses for less goes on.
inline constexpr absl::Duration kHiccup = absl::Milliseconds(10);

// Of payload_bytes received_bytes have come, in the time `took`; since the last
// of them `silent` has passed.
inline absl::Duration TimeLeftAt(int64_t received_bytes, int64_t payload_bytes,
                                 absl::Duration took, absl::Duration silent) {
  if (received_bytes == 0) return absl::InfiniteDuration();
  const absl::Duration left =
      took * (static_cast<double>(payload_bytes - received_bytes) /
              static_cast<double>(received_bytes));
  if (silent > left + kHiccup) return absl::InfiniteDuration();
  return std::max(left - silent, absl::ZeroDuration());
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_INGEST_PACE_H_
