// Limits: sizes of the API that no flag changes.
//
// Units.     bytes

#ifndef ACCRUE_SERVER_SERVICE_LIMITS_H_
#define ACCRUE_SERVER_SERVICE_LIMITS_H_

#include <cstdint>

namespace accrue {

// Largest `chunk` of a stream; a message may hold a header besides.
inline constexpr int64_t kMaxChunkBytes = int64_t{4} << 20;
inline constexpr int64_t kMaxMessageBytes =
    kMaxChunkBytes + (int64_t{64} << 10);

// Largest request that is one message, but for CreateModel's and
// UpdateHyperparameters', which may have something for every tensor.
inline constexpr int64_t kMaxRequestBytes = int64_t{1} << 20;

// Largest header of a push.
inline constexpr int64_t kMaxPushHeaderBytes =
    kMaxMessageBytes - kMaxChunkBytes;

// What a stream costs besides the window that its unread bytes may fill.
inline constexpr int64_t kStreamOverheadBytes = int64_t{32} << 10;

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_LIMITS_H_
