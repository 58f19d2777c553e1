// FarCopy: memcpy to memory that no cache holds and that is too large for one.
//
// An ordinary store first fetches the line that it is about to overwrite. For
// parameters of hundreds of megabytes that is as much traffic as the stores
// themselves, and it evicts the next slices to be copied.
//
// Memory.    the ranges do not overlap; any alignment
// Threading. safe. What was copied is visible to whoever synchronizes with the
//            calling thread afterwards, as after memcpy

#ifndef ACCRUE_CLIENT_CPP_SRC_FAR_COPY_H_
#define ACCRUE_CLIENT_CPP_SRC_FAR_COPY_H_

#include <cstddef>
#include <cstdint>

namespace accrue::client::internal {

// From this size on an array is far from any cache.
inline constexpr int64_t kFarBytes = int64_t{32} << 20;

void FarCopy(std::byte* to, const std::byte* from, size_t size);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_FAR_COPY_H_
