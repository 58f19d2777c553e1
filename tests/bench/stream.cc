#include "tests/bench/stream.h"

#include <array>
#include <cstddef>
#include <cstdlib>
#include <iostream>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/bench/stream.cc"
#include "hwy/foreach_target.h"  // includes this file once for each target
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace accrue::bench::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

template <size_t kCount, class T>
std::array<T, kCount> Pointers(const std::vector<T>& arrays) {
  std::array<T, kCount> pointers;
  for (size_t i = 0; i < kCount; ++i) pointers[i] = arrays[i];
  return pointers;
}

// Pointers and counts known to the compiler: nothing is in memory's way.
template <size_t kReads, size_t kUpdates, size_t kWrites>
void StreamExactly(const StreamArrays& arrays, int64_t begin, int64_t end) {
  const auto reads = Pointers<kReads>(arrays.reads);
  const auto updates = Pointers<kUpdates>(arrays.updates);
  const auto writes = Pointers<kWrites>(arrays.writes);
  const hn::ScalableTag<float> d;
  const auto lanes = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t i = begin; i < end; i += lanes) {
    auto sum = hn::LoadU(d, reads[0] + i);
    HWY_UNROLL(16)
    for (size_t a = 1; a < kReads; ++a) {
      sum = hn::Add(sum, hn::LoadU(d, reads[a] + i));
    }
    HWY_UNROLL(2)
    for (size_t a = 0; a < kUpdates; ++a) {
      hn::StoreU(hn::Add(hn::LoadU(d, updates[a] + i), sum), d, updates[a] + i);
    }
    HWY_UNROLL(1)
    for (size_t a = 0; a < kWrites; ++a) hn::StoreU(sum, d, writes[a] + i);
  }
}

template <size_t kReads>
void StreamReads(const StreamArrays& arrays, int64_t begin, int64_t end) {
  const bool two_updates = arrays.updates.size() == 2;
  if (arrays.writes.empty()) {
    return two_updates ? StreamExactly<kReads, 2, 0>(arrays, begin, end)
                       : StreamExactly<kReads, 1, 0>(arrays, begin, end);
  }
  return two_updates ? StreamExactly<kReads, 2, 1>(arrays, begin, end)
                     : StreamExactly<kReads, 1, 1>(arrays, begin, end);
}

void StreamAll(const StreamArrays& arrays, int64_t begin, int64_t end) {
  switch (arrays.reads.size()) {
    case 1:
      return StreamReads<1>(arrays, begin, end);
    case 2:
      return StreamReads<2>(arrays, begin, end);
    case 4:
      return StreamReads<4>(arrays, begin, end);
    case 5:
      return StreamReads<5>(arrays, begin, end);
    case 8:
      return StreamReads<8>(arrays, begin, end);
    case 9:
      return StreamReads<9>(arrays, begin, end);
    default:
      std::cerr << "stream: " << arrays.reads.size() << " arrays to read\n";
      std::abort();
  }
}

}  // namespace
}  // namespace accrue::bench::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accrue::bench {

HWY_EXPORT(StreamAll);

void Stream(const StreamArrays& arrays, int64_t begin, int64_t end) {
  HWY_DYNAMIC_DISPATCH(StreamAll)(arrays, begin, end);
}

}  // namespace accrue::bench
#endif  // HWY_ONCE
