// One lane's part of a Block's sums of squares, in square_lanes.h's order.
//
// Included inside a backend's own namespace, after thread_pass-inl.h.
//
// Symbols.  lane: 0..kSumLanes-1; a Block's sum is the lanes', added in their
//           order to 0.
// Numerics. bit_exact_cpu_gpu.

inline constexpr int kSumLanes = 16;

template <int kSums>
struct LaneSums {
  double of[kSums];
};

// A term's square is exact in double: fused with the sum or not, the bits are
// the same.
template <int kSums>
ACCRUE_ELEMENT void AddSquares(const Floats<kSums>& terms,
                               LaneSums<kSums>& sums) {
  for (int s = 0; s < kSums; ++s) {
    const double term = terms.x[s];
    sums.of[s] += term * term;
  }
}

// Of term(i), a Floats<kSums>. Many are asked for before the first is added:
// the sums wait for one another as it is.
template <int kSums, class Term>
ACCRUE_ELEMENT LaneSums<kSums> SumLane(int size, int lane, const Term& term) {
  constexpr int kRows = 32 / kSums;
  LaneSums<kSums> sums = {};
  int i = lane;
  for (; i + (kRows - 1) * kSumLanes < size; i += kRows * kSumLanes) {
    Floats<kSums> terms[kRows];
    for (int row = 0; row < kRows; ++row)
      terms[row] = term(i + row * kSumLanes);
    for (int row = 0; row < kRows; ++row) AddSquares(terms[row], sums);
  }
  for (; i < size; i += kSumLanes) AddSquares(term(i), sums);
  return sums;
}

ACCRUE_ELEMENT LaneSums<1> SumMomentumLane(const Launch& launch,
                                           const BlockWork& block, int lane) {
  const float* const m = launch.m + block.offset;
  return SumLane<1>(block.size, lane, [&](int i) { return One(m[i]); });
}

ACCRUE_ELEMENT LaneSums<1> SumClippedLane(const Launch& launch,
                                          const BlockWork& block,
                                          const GroupWork& group, int lane) {
  if (!FoldsMean(group)) return SumMomentumLane(launch, block, lane);
  const float* const a = ArraysOf(launch, group).a + block.offset;
  const float mean = group.buffer_fold.mean;
  return SumLane<1>(block.size, lane, [&](int i) { return One(mean * a[i]); });
}

// Of theta, and of lamb's direction.
ACCRUE_ELEMENT LaneSums<2> SumTrustLane(const Launch& launch,
                                        const BlockWork& block,
                                        const GroupWork& group, int lane) {
  const rule::UpdateScalars update = group.update;
  return SumLane<2>(block.size, lane, [&](int i) {
    const int64_t at = block.offset + i;
    const One theta(launch.theta[at]);
    One m(launch.m[at]);
    const One r = DirectThread(group, update, theta, One(launch.v[at]), m);
    Floats<2> terms;
    terms.x[0] = theta.x[0];
    terms.x[1] = r.x[0];
    return terms;
  });
}
