// PassSums: the sums of squares that a pass's blocks leave, and what follows
// from them: clips, lamb's rates, and the pass's result.
//
// Equation.  clip: rule::ClipFactor; rates: trust_rate.h
// Shapes.    blocks' sums: [blocks], tensors' rates: [tensors]
// Numerics.  summed in the order of the blocks, in double, whoever left them:
//            bit_exact_cpu_gpu
// Threading. sums of different blocks may be left at the same time; the rest
//            wants all of them
#ifndef ACCRUE_SERVER_KERNELS_PASS_SUMS_H_
#define ACCRUE_SERVER_KERNELS_PASS_SUMS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/kernels/block.h"
#include "server/kernels/shard.h"
#include "server/kernels/trust_rate.h"

namespace accrue::kernels {

class PassSums {
 public:
  // Both must outlive it.
  PassSums(const BlockMap& blocks, const Pass& pass);

  // Whether any group has such sums at all.
  bool clips() const { return !clipped_.empty(); }
  bool trusts() const { return !trust_.empty(); }

  // Of block b's group, if that is clipped, trusted or measured.
  void LeaveClipped(int64_t b, double squares) { At(clipped_, b) = squares; }
  void LeaveTrust(int64_t b, const TrustSquares& squares) {
    At(trust_, b) = squares;
  }
  void LeaveMomentum(int64_t b, double squares) { At(momentum_, b) = squares; }

  // Once all clipped blocks have left theirs.
  void FindClips();
  // 1 where nothing is clipped, or not found yet.
  float clip(int32_t group) const { return clips_[static_cast<size_t>(group)]; }

  // Once all trusted blocks have left theirs.
  void FindRates();
  float rate(int32_t tensor) const {
    return rates_[static_cast<size_t>(tensor)];
  }

  // Once all is done.
  PassResult Result() &&;

 private:
  template <class T>
  static T& At(std::vector<T>& sums, int64_t b) {
    return sums[static_cast<size_t>(b)];
  }

  const BlockMap& blocks_;
  const Pass& pass_;
  std::vector<double> clipped_;      // [blocks], or none
  std::vector<TrustSquares> trust_;  // likewise
  std::vector<double> momentum_;     // likewise
  std::vector<float> clips_;         // [groups]
  std::vector<float> rates_;         // [tensors]
  PassResult result_;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_PASS_SUMS_H_
