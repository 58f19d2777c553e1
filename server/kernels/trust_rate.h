// TrustRate: lamb's learning rate of one tensor, which stands between the
// direction that an update leaves and the step.
//
// Equation.  lr*|theta|/|r|, r being the direction [rule/cycle.h].
// Numerics.  double, narrowed once; sums over a tensor's blocks in order:
//            bit_exact_cpu_gpu. Where a norm is 0, infinite or no number, there
//            is no ratio to trust and it is 1: what is broken in a tensor stays
//            where it is, and is not spread by the rate. A rate that would
//            leave the range of floats is its largest: r is then so small that
//            no step becomes infinite.
// Threading. safe.
#ifndef ACCRUE_SERVER_KERNELS_TRUST_RATE_H_
#define ACCRUE_SERVER_KERNELS_TRUST_RATE_H_

#include <vector>

#include "server/kernels/block.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

// Sums of squares of theta and of the direction.
struct TrustSquares {
  double theta = 0;
  double direction = 0;
};

float TrustRate(double lr, const TrustSquares& squares);

// Those of every tensor, from the squares of every block; what stands there for
// tensors of other groups means nothing.
std::vector<float> TrustRates(const BlockMap& blocks, const Pass& pass,
                              const std::vector<TrustSquares>& block_squares);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_TRUST_RATE_H_
