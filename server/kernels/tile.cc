#include "server/kernels/tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/tile.cc"
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
};

// The elements at t[i .. i + lanes of D).
template <Variant kVariant, class D>
HWY_INLINE void RunElements(D d, const TileScalars& s, const TileArrays& t,
                            const rule::UpdateScalars& update, int64_t i) {
  using N = Number<D>;
  constexpr bool kMoments = !kVariant.classic || kVariant.update;
  const bool has_theta =
      s.look_ahead != nullptr || (kVariant.update && !s.nesterov);
  N m(0.0f), v(0.0f), a(0.0f), theta(0.0f), next(0.0f);
  if (kMoments) m = N::Load(d, t.m + i);
  if (kMoments && kVariant.adaptive) v = N::Load(d, t.v + i);
  if (has_theta) theta = N::Load(d, t.theta + i);

  const auto look_ahead = [&]() HWY_ATTR {
    if (s.look_ahead == nullptr) return;
    next = StepAhead(s.look_ahead->ahead, theta, m);
    if (!kVariant.update) next.Store(d, t.next + i);
  };
  const auto fold = [&](const auto& scalars, N g) HWY_ATTR {
    m = FoldMomentum(scalars.keep1, scalars.gain1, g, m);
    if (kVariant.adaptive) {
      v = FoldVariance(scalars.keep2, scalars.gain2, g, v);
    }
  };

  if (kVariant.fold && kVariant.classic) {
    if (s.push_count > 0 && !s.pushes[0].first) a = N::Load(d, t.a + i);
    for (int64_t p = 0; p < s.push_count; ++p) {
      const N g = N(s.pushes[p].mult) * N::Load(d, t.x[p] + i);
      a = Accumulate(s.pushes[p], g, a);
    }
    if (s.push_count > 0) a.Store(d, t.a + i);
  }
  if (kVariant.fold && !kVariant.classic) {
    look_ahead();
    for (int64_t p = 0; p < s.push_count; ++p) {
      fold(s.pushes[p], N(s.pushes[p].mult) * N::Load(d, t.x[p] + i));
      if (p == 0 && s.look_ahead != nullptr) {
        m = AddL2(s.look_ahead->l2, theta, m);
      }
    }
  }
  if (kVariant.update && kVariant.classic) {
    if (!kVariant.fold || s.push_count == 0) a = N::Load(d, t.a + i);
    N g = N(s.buffer_fold->mean) * a;
    if (!kVariant.fold) g = N(s.clip) * g;
    look_ahead();
    fold(*s.buffer_fold, AddL2(s.buffer_fold->grad_l2, theta, g));
    if (s.look_ahead != nullptr) m = AddL2(s.look_ahead->l2, theta, m);
  }
  if (kVariant.update) {
    if (!kVariant.fold && !kVariant.classic) m = N(s.clip) * m;
    if (kVariant.adaptive) {
      next = StepAdam(update, s.epsilon_inside, theta, m, v);
    } else if (s.nesterov) {
      if (s.look_ahead == nullptr) next = N::Load(d, t.next + i);
      next = StepSgd(update, next, m);
    } else {
      m = AddL2(update.l2, theta, m);
      next = StepSgd(update, theta, m);
    }
    next.Store(d, t.next + i);
  }
  if (kMoments) m.Store(d, t.m + i);
  if (kMoments && kVariant.adaptive) v.Store(d, t.v + i);
}

template <Variant kVariant>
void RunVariant(const TileScalars& s, const TileArrays& t) {
  // A copy of our own stays in registers: the arrays might alias the original.
  const rule::UpdateScalars update =
      kVariant.update ? *s.update : rule::UpdateScalars{};
  const hn::ScalableTag<float> wide;
  const hn::CappedTag<float, 1> one;
  const auto lanes = static_cast<int64_t>(hn::Lanes(wide));
  int64_t i = 0;
  for (; i + lanes <= t.size; i += lanes) {
    RunElements<kVariant>(wide, s, t, update, i);
  }
  for (; i < t.size; ++i) RunElements<kVariant>(one, s, t, update, i);
}

template <bool kAdaptive, bool kClassic>
void RunStage(TileStage stage, const TileScalars& s, const TileArrays& t) {
  switch (stage) {
    case TileStage::kFold:
      return RunVariant<Variant{kAdaptive, kClassic, true, false}>(s, t);
    case TileStage::kUpdate:
      return RunVariant<Variant{kAdaptive, kClassic, false, true}>(s, t);
    case TileStage::kFoldAndUpdate:
      return RunVariant<Variant{kAdaptive, kClassic, true, true}>(s, t);
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

void RunTile(TileStage stage, const TileScalars& scalars,
             const TileArrays& arrays) {
  HWY_DYNAMIC_DISPATCH(RunTile)(stage, scalars, arrays);
}

}  // namespace accrue::kernels
#endif  // HWY_ONCE
