// Correction: what v, which holds the squares of single pushes, would be of the
// mean gradients of cycles (SecondMoment::kCorrected).
//
// Equation.  of one element, with x = (m/W)^2 [rho, W: noise.h] and vh = v/D2
//              s  = (q*x - rho*vh)/(q - rho) = x + noise_gain*(x - vh),
//                   noise_gain = rho/(q - rho);  at least 0, at most vh
//              vh <- s + (vh - s)*noise_share,  noise_share = p/q
//            [a mean over n micro-batches has the square mu^2 + sigma^2/n. So x
//            is mu^2 + rho*sigma^2 on average and vh is mu^2 + q*sigma^2, from
//            which s is mu^2; Adam's v of mean gradients, over its mass, would
//            be mu^2 + p*sigma^2.]
//              Q <- keep2*Q + gain2/n      as v is folded;  q = Q/D2
//              P <- b*P + (1 - b)*share    P, Dp: once a cycle, as Adam's v of
//              Dp <- b*Dp + (1 - b)        mean gradients;  p = P/Dp
// Symbols.   share: what a cycle's mean gradient has left of the noise, the
//            NoiseLeft of its pushes; 1/k for k equal ones. b: beta2. n:
//            micro-batches of a push. mu^2, sigma^2: of one element, squared
//            mean and variance of a micro-batch's gradient.
// Numerics.  double; what a step needs is narrowed once. Where q - rho is too
//            small to divide by, noise_gain is 0: s is then between mu^2 and
//            vh. At k = 1 throughout p and q are the same bits.
// Threading. safe.
#ifndef ACCRUE_SERVER_RULE_CORRECTION_H_
#define ACCRUE_SERVER_RULE_CORRECTION_H_

#include <cstdint>

#include "server/rule/noise.h"

namespace accrue::rule {

// Part of a group's state between pushes, hence of every checkpoint. Zeros
// under any other SecondMoment.
struct CorrectionState {
  double push_shares = 0;   // Q
  double cycle_shares = 0;  // P
  double cycle_mass = 0;    // Dp
  bool operator==(const CorrectionState&) const = default;
};

// A push of n micro-batches, with the keep and gain of its v.
void FoldPushShare(float keep2, float gain2, int64_t micro_steps,
                   CorrectionState& state);

// The cycle's end. `keep2`: v's at its first push.
void FoldCycleShare(float keep2, double share, CorrectionState& state);

// Scalars of a step; noise_share = 1 leaves vh as it is.
struct Correction {
  float inv_weight = 1;  // 1/W, of the m before the update's clip
  float noise_gain = 0;
  float noise_share = 1;
  bool operator==(const Correction&) const = default;
};

// After FoldCycleShare. `moment`: of all that m holds; mass2: D2.
Correction MakeCorrection(const CorrectionState& state, const NoiseSums& moment,
                          double mass2);

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_CORRECTION_H_
