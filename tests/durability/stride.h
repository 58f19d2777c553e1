// How much of what is alike a test looks at.
#ifndef ACCRUE_TESTS_DURABILITY_STRIDE_H_
#define ACCRUE_TESTS_DURABILITY_STRIDE_H_

namespace accrue {

// Of bytes, lengths or sessions each so-many-th: all, but under a sanitizer,
// which would take minutes and sees as much in a few.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr int kStride = 13;
#else
inline constexpr int kStride = 1;
#endif

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_STRIDE_H_
