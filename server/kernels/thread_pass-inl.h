// What one thread of a GPU's thread block does of its Block's pass.
//
// Included inside a backend's own namespace, after elements-inl.h and
// quad-inl.h, with device_work.h visible.
//
// Symbols.  device_work.h's. thread: 0..kBlockThreads-1.
// Order.    the threads do not meet: they may run one after another.
// Numerics. bit_exact_cpu_gpu.

inline constexpr int kBlockThreads = 256;

// visit(One() or Quad(), at) for the thread's part of the Block's elements, by
// their index in the shard. Quads lie where the arrays' do, on 16 bytes; the
// few elements before the first and after the last are for a thread each.
template <class Visit>
ACCRUE_ELEMENT void ForElements(const BlockWork& block, int thread,
                                const Visit& visit) {
  constexpr int kQuad = Quad::kElems;
  const int to_quad = static_cast<int>(-block.offset & (kQuad - 1));
  const int head = to_quad < block.size ? to_quad : block.size;
  const int tail = (block.size - head) % kQuad;
  const int end = block.size - tail;
  for (int i = head + kQuad * thread; i < end; i += kQuad * kBlockThreads) {
    visit(Quad(), block.offset + i);
  }
  if (thread < head + tail) {
    visit(One(), block.offset + (thread < head ? thread : end + thread - head));
  }
}

ACCRUE_ELEMENT bool FoldsMean(const GroupWork& group) {
  return group.buffering != rule::Buffering::kEmbedded;
}

ACCRUE_ELEMENT TileScalars ScalarsOf(const GroupWork& group) {
  TileScalars s;
  s.pushes = group.pushes;
  s.push_count = group.push_count;
  if (group.has_look_ahead) s.look_ahead = &group.look_ahead;
  s.buffer_fold = &group.buffer_fold;
  s.update = &group.update;
  s.clip = group.clip;
  s.epsilon_inside = group.epsilon_inside;
  s.nesterov = group.nesterov;
  s.sign = group.sign;
  s.lamb = group.lamb;
  return s;
}

// The arrays as the shard counts in them, where a group has them.
ACCRUE_ELEMENT TileArrays ArraysOf(const Launch& launch,
                                   const GroupWork& group) {
  TileArrays t;
  t.m = launch.m;
  t.v = launch.v;
  t.a = group.buffering == rule::Buffering::kGather ? launch.sum - launch.begin
                                                    : launch.a;
  t.theta = launch.theta;
  t.next = group.lamb ? nullptr : launch.theta;
  return t;
}

// RunElements' input: asked for as early as it can be, each gradient while the
// one before it is folded.
template <class N>
class ThreadInput {
 public:
  ACCRUE_ELEMENT ThreadInput(const Launch& launch, int push_count, int64_t at)
      : x_(launch.x), at_(at - launch.begin), push_count_(push_count) {
    if (push_count > 0) ahead_ = N::Load(x_[0] + at_);
  }

  ACCRUE_ELEMENT void LoadTheta(const float* theta) { theta_ = N::Load(theta); }
  ACCRUE_ELEMENT bool finite() const { return finite_; }

  ACCRUE_ELEMENT N Theta() const { return theta_; }
  ACCRUE_ELEMENT N Gradient(int64_t p) {
    const N x = ahead_;
    if (p + 1 < push_count_) ahead_ = N::Load(x_[p + 1] + at_);
    finite_ &= IsFinite(x);
    return x;
  }

 private:
  const float* const* const x_;
  const int64_t at_;
  const int push_count_;
  bool finite_ = true;
  N theta_ = N(0.0f);
  N ahead_ = N(0.0f);
};

// False if a gradient that the thread folded is not finite.
ACCRUE_ELEMENT bool FoldAndUpdateThread(const Launch& launch,
                                        const BlockWork& block,
                                        const GroupWork& group, int thread) {
  const TileScalars s = ScalarsOf(group);
  const TileArrays t = ArraysOf(launch, group);
  bool finite = true;
  ForVariant(group.stage, group.adaptive, FoldsMean(group), [&](auto variant) {
    constexpr Variant kVariant = decltype(variant)::value;
    const rule::UpdateScalars& update = group.update;
    const bool reads_theta = kVariant.update || s.look_ahead != nullptr;
    ForElements(block, thread, [&](auto number, int64_t at) {
      using N = decltype(number);
      ThreadInput<N> input(launch, kVariant.fold ? group.push_count : 0, at);
      if (reads_theta) input.LoadTheta(t.theta + at);
      RunElements<kVariant, N>(s, t, update, at, input);
      finite &= input.finite();
    });
  });
  return finite;
}

// Lamb's direction, and m as the step leaves it.
template <class N>
ACCRUE_ELEMENT N DirectThread(const GroupWork& group,
                              const rule::UpdateScalars& update, N theta, N v,
                              N& m) {
  const N v_hat = VarianceHat(update, m, v);
  if (!FoldsMean(group)) m = N(group.clip) * m;
  return DirectLamb(update, group.epsilon_inside, theta, m, v_hat);
}

ACCRUE_ELEMENT void StepLambThread(const Launch& launch, const BlockWork& block,
                                   const GroupWork& group, int thread) {
  const rule::UpdateScalars& update = group.update;
  ForElements(block, thread, [&](auto number, int64_t at) {
    using N = decltype(number);
    const N theta = N::Load(launch.theta + at);
    N m = N::Load(launch.m + at);
    const N v = N::Load(launch.v + at);
    const N r = DirectThread(group, update, theta, v, m);
    StepLamb(block.rate, theta, r).Store(launch.theta + at);
    if (!FoldsMean(group)) m.Store(launch.m + at);
  });
}
