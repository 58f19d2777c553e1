#include "server/kernels/tile.h"

#include <algorithm>
#include <cstdint>
#include <type_traits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/tile.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"  // includes this file once for each target
#include "hwy/highway.h"
#include "server/kernels/number-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accrue::kernels::HWY_NAMESPACE {
namespace {

#define ACCRUE_ELEMENT HWY_INLINE
#define ACCRUE_LAMBDA HWY_ATTR
#include "server/kernels/elements-inl.h"
#undef ACCRUE_LAMBDA
#undef ACCRUE_ELEMENT

// Two to six gradients are asked for before they are needed. A core sees too
// few instructions ahead to have enough of their lines on their way (measured:
// a cycle of four takes 0.7 times as long). One gradient's it guesses by
// itself, and eight keep the memory busy anyway: there it made passes slower.
constexpr int64_t kLeastAhead = 2;
constexpr int64_t kMostAhead = 6;
constexpr int64_t kAheadElems = 256;  // 1 KiB

// Past the array's end it changes nothing.
template <class N>
HWY_INLINE void ReadAhead(const float* x) {
  constexpr int64_t kLineElems = 16;
  for (int64_t i = 0; i < N::kElems; i += kLineElems) {
    hwy::Prefetch(x + kAheadElems + i);
  }
}

// What elements [i, i + N::kElems) of a tile begin with.
template <class N, bool kReadsAhead>
struct TileInput {
  const TileArrays& t;
  const int64_t i;

  HWY_INLINE N Theta() const { return N::Load(t.theta + i); }
  HWY_INLINE N Gradient(int64_t p) const {
    if (kReadsAhead) ReadAhead<N>(t.x[p] + i);
    return N::Load(t.x[p] + i);
  }
};

template <Variant kVariant, bool kReadsAhead, class N>
HWY_INLINE void RunAt(const TileScalars& s, const TileArrays& t,
                      const rule::UpdateScalars& update, int64_t i) {
  const TileInput<N, kReadsAhead> input = {t, i};
  RunElements<kVariant, N>(s, t, update, i, input);
}

// Elements before the next cache line: it leaves the core at once if streaming
// stores fill it, and is at least as aligned as they must be.
int64_t ElementsToLine(const float* p) {
  constexpr uintptr_t kLine = 64;
  const auto address = reinterpret_cast<uintptr_t>(p);
  return static_cast<int64_t>((kLine - address % kLine) % kLine /
                              sizeof(float));
}

template <Variant kVariant, bool kReadsAhead>
void RunVariant(const TileScalars& scalars, const TileArrays& arrays) {
  // Copies of our own stay in registers: the arrays might alias the originals.
  const TileScalars s = scalars;
  const TileArrays t = arrays;
  const rule::UpdateScalars update =
      kVariant.update ? *s.update : rule::UpdateScalars{};
  using Wide = Number<hn::ScalableTag<float>, 4>;
  using One = Number<hn::CappedTag<float, 1>, 1>;
  int64_t i = 0;
  if (kVariant.update && t.far_next) {
    const int64_t head = std::min(ElementsToLine(t.next), t.size);
    for (; i < head; ++i) RunAt<kVariant, kReadsAhead, One>(s, t, update, i);
  }
  for (; i + Wide::kElems <= t.size; i += Wide::kElems) {
    RunAt<kVariant, kReadsAhead, Wide>(s, t, update, i);
  }
  for (; i < t.size; ++i) RunAt<kVariant, kReadsAhead, One>(s, t, update, i);
}

void RunLambStep(float rate, const float* theta, float* next, int64_t size) {
  const auto step = [&](auto number, int64_t i) HWY_ATTR {
    using N = decltype(number);
    StepLamb(rate, N::Load(theta + i), N::Load(next + i)).Store(next + i);
  };
  using Wide = Number<hn::ScalableTag<float>, 4>;
  using One = Number<hn::CappedTag<float, 1>, 1>;
  int64_t i = 0;
  for (; i + Wide::kElems <= size; i += Wide::kElems) step(Wide(), i);
  for (; i < size; ++i) step(One(), i);
}

void RunTile(TileStage stage, const TileScalars& s, const TileArrays& t) {
  const auto run = [&](auto variant) HWY_ATTR {
    constexpr Variant kVariant = decltype(variant)::value;
    if (kVariant.fold && s.push_count >= kLeastAhead &&
        s.push_count <= kMostAhead) {
      RunVariant<kVariant, kVariant.fold>(s, t);
    } else {
      RunVariant<kVariant, false>(s, t);
    }
  };
  ForVariant(stage, t.v != nullptr, t.a != nullptr, run);
}

}  // namespace
}  // namespace accrue::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accrue::kernels {

HWY_EXPORT(RunTile);
HWY_EXPORT(RunLambStep);

void RunTile(TileStage stage, const TileScalars& scalars,
             const TileArrays& arrays) {
  HWY_DYNAMIC_DISPATCH(RunTile)(stage, scalars, arrays);
}

void RunLambStep(float rate, const float* theta, float* next, int64_t size) {
  HWY_DYNAMIC_DISPATCH(RunLambStep)(rate, theta, next, size);
}

}  // namespace accrue::kernels
#endif  // HWY_ONCE
