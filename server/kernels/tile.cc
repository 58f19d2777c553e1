#include "server/kernels/tile.h"

#include <algorithm>
#include <cstdint>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/tile.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"  // includes this file once for each target
#include "hwy/highway.h"
#include "server/kernels/number-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accrue::kernels::HWY_NAMESPACE {
namespace {

// Which of a pass's variants a loop is compiled for. What is rare or costs
// nothing beside a memory access is a branch inside it.
struct Variant {
  bool adaptive, classic, fold, update;
  bool reads_ahead = false;
};

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

// Elements [i, i + N::kElems).
template <Variant kVariant, class N>
HWY_INLINE void RunElements(const TileScalars& s, const TileArrays& t,
                            const rule::UpdateScalars& update, int64_t i) {
  constexpr bool kMoments = !kVariant.classic || kVariant.update;
  N m(0.0f), v(0.0f), a(0.0f), next(0.0f), mixed(0.0f);
  if (kMoments) m = N::Load(t.m + i);
  if (kMoments && kVariant.adaptive) v = N::Load(t.v + i);
  const auto theta = [&]() HWY_ATTR { return N::Load(t.theta + i); };
  const auto look_ahead = [&]() HWY_ATTR {
    if (s.look_ahead == nullptr) return;
    next = StepAhead(s.look_ahead->ahead, theta(), m);
    if (!kVariant.update) next.Store(t.next + i);
  };
  const bool mixes =
      kVariant.update && !kVariant.adaptive && update.mix_gain != 0;
  const auto fold = [&](const auto& scalars, N g) HWY_ATTR {
    if (mixes) mixed = FoldMomentum(update.mix_keep, update.mix_gain, g, m);
    // All but a cycle's first push, under the default decay.
    if (scalars.keep1 == 1.0f && scalars.keep2 == 1.0f) {
      m = AddMomentum(scalars.gain1, g, m);
      if (kVariant.adaptive) v = AddVariance(scalars.gain2, g, v);
      return;
    }
    m = FoldMomentum(scalars.keep1, scalars.gain1, g, m);
    if (kVariant.adaptive) {
      v = FoldVariance(scalars.keep2, scalars.gain2, g, v);
    }
  };
  // A product with 1 is exact: leaving it out changes no bit.
  const auto gradient = [&](int64_t p) HWY_ATTR {
    if (kVariant.reads_ahead) ReadAhead<N>(t.x[p] + i);
    const N x = N::Load(t.x[p] + i);
    return s.pushes[p].mult == 1.0f ? x : N(s.pushes[p].mult) * x;
  };

  if (kVariant.fold && kVariant.classic) {
    if (s.push_count > 0 && !s.pushes[0].first) a = N::Load(t.a + i);
    for (int64_t p = 0; p < s.push_count; ++p) {
      const N g = gradient(p);
      a = Accumulate(s.pushes[p], g, a);
    }
    if (s.push_count > 0) a.Store(t.a + i);
  }
  if (kVariant.fold && !kVariant.classic) {
    look_ahead();
    for (int64_t p = 0; p < s.push_count; ++p) {
      fold(s.pushes[p], gradient(p));
      if (p == 0 && s.look_ahead != nullptr) {
        m = AddL2(s.look_ahead->l2, theta(), m);
      }
    }
  }
  if (kVariant.update && kVariant.classic) {
    if (!kVariant.fold || s.push_count == 0) a = N::Load(t.a + i);
    N g = N(s.buffer_fold->mean) * a;
    if (s.clip != 1.0f) g = N(s.clip) * g;
    look_ahead();
    fold(*s.buffer_fold, AddL2(s.buffer_fold->grad_l2, theta(), g));
    if (s.look_ahead != nullptr) m = AddL2(s.look_ahead->l2, theta(), m);
  }
  if (kVariant.update) {
    // What a clip takes from m is not noise.
    N v_hat(0.0f);
    if (kVariant.adaptive) v_hat = VarianceHat(update, m, v);
    if (!kVariant.fold && !kVariant.classic) m = N(s.clip) * m;
    if (kVariant.adaptive && s.lamb) {
      next = DirectLamb(update, s.epsilon_inside, theta(), m, v_hat);
    } else if (kVariant.adaptive) {
      next = StepAdam(update, s.epsilon_inside, theta(), m, v_hat);
    } else if (s.sign) {
      next = StepSign(update, theta(), mixes ? mixed : m);
    } else if (s.nesterov) {
      if (s.look_ahead == nullptr) next = N::Load(t.next + i);
      next = StepSgd(update, next, m);
    } else {
      m = AddL2(update.l2, theta(), m);
      next = StepSgd(update, theta(), m);
    }
    // A streaming store of one element would be one of a whole vector.
    if (N::kElems > 1 && t.far_next) {
      next.StoreFar(t.next + i);
    } else {
      next.Store(t.next + i);
    }
  }
  if (kMoments) m.Store(t.m + i);
  if (kMoments && kVariant.adaptive) v.Store(t.v + i);
}

// Elements before the next cache line: it leaves the core at once if streaming
// stores fill it, and is at least as aligned as they must be.
int64_t ElementsToLine(const float* p) {
  constexpr uintptr_t kLine = 64;
  const auto address = reinterpret_cast<uintptr_t>(p);
  return static_cast<int64_t>((kLine - address % kLine) % kLine /
                              sizeof(float));
}

template <Variant kVariant>
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
    for (; i < head; ++i) RunElements<kVariant, One>(s, t, update, i);
  }
  for (; i + Wide::kElems <= t.size; i += Wide::kElems) {
    RunElements<kVariant, Wide>(s, t, update, i);
  }
  for (; i < t.size; ++i) RunElements<kVariant, One>(s, t, update, i);
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

template <bool kAdaptive, bool kClassic, bool kUpdate>
void RunFold(const TileScalars& s, const TileArrays& t) {
  if (s.push_count >= kLeastAhead && s.push_count <= kMostAhead) {
    RunVariant<Variant{kAdaptive, kClassic, true, kUpdate, true}>(s, t);
  } else {
    RunVariant<Variant{kAdaptive, kClassic, true, kUpdate, false}>(s, t);
  }
}

template <bool kAdaptive, bool kClassic>
void RunStage(TileStage stage, const TileScalars& s, const TileArrays& t) {
  switch (stage) {
    case TileStage::kFold:
      return RunFold<kAdaptive, kClassic, false>(s, t);
    case TileStage::kUpdate:
      return RunVariant<Variant{kAdaptive, kClassic, false, true}>(s, t);
    case TileStage::kFoldAndUpdate:
      return RunFold<kAdaptive, kClassic, true>(s, t);
  }
}

void RunTile(TileStage stage, const TileScalars& s, const TileArrays& t) {
  const bool adaptive = t.v != nullptr;
  const bool classic = t.a != nullptr;
  if (adaptive && classic) return RunStage<true, true>(stage, s, t);
  if (adaptive) return RunStage<true, false>(stage, s, t);
  if (classic) return RunStage<false, true>(stage, s, t);
  RunStage<false, false>(stage, s, t);
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
