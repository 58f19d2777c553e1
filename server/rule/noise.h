// Noise: how much of a group's gradients is signal and how much is noise, from
// four sums that ride along with m and the norms that pushes have anyway.
//
// Equation.  with keep and gain those of m, narrowed, weight and damping in
//            the gain, per push
//              W <- keep*W + gain          R <- keep^2*R + gain^2/n
//              M <- keep*M + gain*|g|^2    Q <- keep*Q + gain/n
//            then  rho = R/W^2,  q = Q/W,
//              sigma^2 = (M/W - |m/W|^2)/(q - rho)
//              mu^2    = |m/W|^2 - rho*sigma^2
//            [M/W averages mu^2 + q*sigma^2, |m/W|^2 is mu^2 + rho*sigma^2].
//              C_k = (mu^2 + sigma^2/k)/(mu^2 + sigma^2)  [article, eq. 24:
//              its limit for large k],  CV = sqrt(sigma^2/mu^2) [eq. 48]
// Symbols.   g: the gradient of a push, the mean over its n micro-batches,
//            after scale and per-push clip. mu^2: squared norm of the mean
//            gradient. sigma^2: variance of a gradient of one micro-batch,
//            summed over the group's elements. rho: the share of it that is
//            left in m/W. k: micro-batches averaged.
// Numerics.  double. The sums are exact for what m holds: a cycle that was
//            short, clipped, damped or weighted is in them as it is in m.
//            Coupled L2 (sgd; adam where a cycle folds its mean) puts
//            weight_decay*theta into m too, which no push sent: then mu^2 is
//            that of the regularised gradient, and sigma^2 is off by
//            (|mean|^2 - |mean + weight_decay*theta|^2)/(q - rho).
// Threading. safe.
#ifndef ACCRUE_SERVER_RULE_NOISE_H_
#define ACCRUE_SERVER_RULE_NOISE_H_

#include <cstdint>
#include <optional>

namespace accrue::rule {

struct NoiseSums {
  double mass = 0;        // W: what m would be, had every gradient been 1
  double squares = 0;     // R
  double power = 0;       // M
  double step_share = 0;  // Q
  bool operator==(const NoiseSums&) const = default;
};

// Part of a group's state between pushes, hence of every checkpoint.
struct NoiseState {
  NoiseSums moment;  // of all that m holds
  // What of it came since the cycle's first push; it stays until the next
  // cycle's. CLASSIC, GATHER: of the mean until it is folded.
  NoiseSums cycle;
  // CLASSIC, GATHER: `moment` without what the last fold put into it.
  NoiseSums before;
  bool operator==(const NoiseState&) const = default;
};

// A push of n micro-batches, or rather what it does to one of the sums.
void FoldNoise(float keep, float gain, int64_t micro_steps, double norm,
               NoiseSums& sums);

// The fold of a cycle's mean into m (CLASSIC, GATHER), with `gain` times its
// mean's divisor: `cycle` becomes what m holds of it.
void FoldCycleNoise(float keep, double gain, NoiseState& state);

// A clip by `factor` at the update: of m in place (embedded), of the mean
// gradient that was folded just before (`of_cycle`).
void ClipNoise(double factor, bool of_cycle, NoiseState& state);

// rho and q. 0 where nothing was folded.
double NoiseLeft(const NoiseSums& sums);
double MeanStepShare(const NoiseSums& sums);

// Whether q is far enough above rho to tell signal from noise by them.
bool NoiseIsSeparable(double noise_left, double step_share);

struct NoiseEstimate {
  double variance = 0;      // sigma^2
  double mean_squared = 0;  // mu^2; 0 if noise alone leaves no less
  double noise_left = 0;    // rho

  bool operator==(const NoiseEstimate&) const = default;
};

// `momentum_squares`: |m|^2, of the very m that `sums` are of. Nothing if that
// m cannot tell: no gradient yet, zeros only, or q - rho <= 1e-3*q (one push).
std::optional<NoiseEstimate> EstimateNoise(const NoiseSums& sums,
                                           double momentum_squares);

// C_k: E|mean of k|^2 / E|one|^2.
double PowerLeft(const NoiseEstimate& estimate, int64_t k);

// What mu^2 must be above, to count as seen in a group of N = `elems` elements:
// three standard errors of its estimate, which without a mean is
//   rho*sigma^2*sqrt(2/N):
// |m/W|^2 is then a sum of N squares of normal deviates, each of the variance
// rho*sigma^2/N, and has the variance 2*(rho*sigma^2)^2/N; sigma^2's own error
// adds a share of about rho to that. (Elements of different variances count as
// fewer.)
double LeastSeen(const NoiseEstimate& estimate, int64_t elems);

// CV. Where mu^2 is not seen `at_least` is set, and `value` is the CV of a mu^2
// three standard errors above the estimate: the least that it is likely to be.
struct Variation {
  double value = 0;
  bool at_least = false;
};
Variation CoefficientOfVariation(const NoiseEstimate& estimate, int64_t elems);

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_NOISE_H_
