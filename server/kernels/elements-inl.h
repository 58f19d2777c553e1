// A pass over one element: element-inl.h's expressions in rule/cycle.h's order,
// written once for every backend.
//
// Included inside a backend's own namespace, after element-inl.h and after it
// has defined
//   ACCRUE_ELEMENT   as there
//   ACCRUE_LAMBDA    what follows a lambda's parameters here
// and has made <type_traits> and tile.h visible. Its N has, beyond
// element-inl's operations,
//   N::kElems, N::Load(p), Store(p), and StoreFar(p) for TileArrays::far_next
//
// Symbols.  tile.h's.
// Memory.   theta and next may be one array: an element's theta is read before
//           its next is stored.
// Numerics. bit_exact_cpu_gpu.
// No include guard: a source that is compiled for several SIMD targets includes
// this once for each.

// Which of a pass's variants a loop is compiled for. What is rare or costs
// nothing beside a memory access is a branch inside it. classic: a mean is
// folded, so with gather.
struct Variant {
  bool adaptive, classic, fold, update;
};

// run(std::integral_constant<Variant, ...>()) of a stage.
template <bool kAdaptive, bool kClassic, class Run>
ACCRUE_ELEMENT void ForStage(TileStage stage, const Run& run) {
  constexpr Variant kFold = {kAdaptive, kClassic, true, false};
  constexpr Variant kUpdate = {kAdaptive, kClassic, false, true};
  constexpr Variant kBoth = {kAdaptive, kClassic, true, true};
  switch (stage) {
    case TileStage::kFold:
      return run(std::integral_constant<Variant, kFold>());
    case TileStage::kUpdate:
      return run(std::integral_constant<Variant, kUpdate>());
    case TileStage::kFoldAndUpdate:
      return run(std::integral_constant<Variant, kBoth>());
  }
}

template <class Run>
ACCRUE_ELEMENT void ForVariant(TileStage stage, bool adaptive, bool classic,
                               const Run& run) {
  if (adaptive && classic) return ForStage<true, true>(stage, run);
  if (adaptive) return ForStage<true, false>(stage, run);
  if (classic) return ForStage<false, true>(stage, run);
  ForStage<false, false>(stage, run);
}

// Elements [i, i + N::kElems) of the arrays. `input` has what is only read of
// them: Theta(), and Gradient(p), which is called once for each p, ascending.
// `update` is a copy of the scalars' own, where there is one. Lamb without a
// `next` folds its mean, and that is all of its update.
template <Variant kVariant, class N, class Input>
ACCRUE_ELEMENT void RunElements(const TileScalars& s, const TileArrays& t,
                                const rule::UpdateScalars& update, int64_t i,
                                Input& input) {
  constexpr bool kMoments = !kVariant.classic || kVariant.update;
  N m(0.0f), v(0.0f), a(0.0f), next(0.0f), mixed(0.0f);
  if (kMoments) m = N::Load(t.m + i);
  if (kMoments && kVariant.adaptive) v = N::Load(t.v + i);
  const auto look_ahead = [&]() ACCRUE_LAMBDA {
    if (s.look_ahead == nullptr) return;
    next = StepAhead(s.look_ahead->ahead, input.Theta(), m);
  };
  const bool mixes =
      kVariant.update && !kVariant.adaptive && update.mix_gain != 0;
  const auto fold = [&](const auto& scalars, N g) ACCRUE_LAMBDA {
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
  const auto gradient = [&](int64_t p) ACCRUE_LAMBDA {
    const N x = input.Gradient(p);
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
        m = AddL2(s.look_ahead->l2, input.Theta(), m);
        if (!kVariant.update) next.Store(t.next + i);
      }
    }
  }
  if (kVariant.update && kVariant.classic) {
    if (!kVariant.fold || s.push_count == 0) a = N::Load(t.a + i);
    N g = N(s.buffer_fold->mean) * a;
    if (s.clip != 1.0f) g = N(s.clip) * g;
    look_ahead();
    fold(*s.buffer_fold, AddL2(s.buffer_fold->grad_l2, input.Theta(), g));
    if (s.look_ahead != nullptr) {
      m = AddL2(s.look_ahead->l2, input.Theta(), m);
    }
  }
  if (kVariant.update && t.next != nullptr) {
    // What a clip takes from m is not noise.
    N v_hat(0.0f);
    if (kVariant.adaptive) v_hat = VarianceHat(update, m, v);
    if (!kVariant.fold && !kVariant.classic) m = N(s.clip) * m;
    if (kVariant.adaptive && s.lamb) {
      next = DirectLamb(update, s.epsilon_inside, input.Theta(), m, v_hat);
    } else if (kVariant.adaptive) {
      next = StepAdam(update, s.epsilon_inside, input.Theta(), m, v_hat);
    } else if (s.sign) {
      next = StepSign(update, input.Theta(), mixes ? mixed : m);
    } else if (s.nesterov) {
      if (s.look_ahead == nullptr) next = N::Load(t.next + i);
      next = StepSgd(update, next, m);
    } else {
      m = AddL2(update.l2, input.Theta(), m);
      next = StepSgd(update, input.Theta(), m);
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
