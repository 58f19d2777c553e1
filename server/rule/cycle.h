// Cycle: one group's place in its cycle, and the scalars of every push and
// update, so that kernels need no rule and the rule needs no tensor.
//
// Equation.  m <- keep1*m + gain1*g,  v <- keep2*v + gain2*g^2, and on the
//            cycle's last push  theta' <- theta - lr(u)*direction(m, v)
//            [README, "The rule"; article, eq. 9, 12, 13, 25-27, 33].
// Symbols.   theta: parameters; m, v: first, second moment; a: accumulation
//            buffer; g: gradient; x: as it was sent; one element of each. k:
//            accumulation count. b: beta1. d: dampening. i: position in the
//            cycle, pushes, base 0. n: micro_steps.
//            w: weight/nominal_weight. u: updates so far. s: pushes folded
//            since the last update. D1, D2: the mass really folded,
//            D <- keep*D + gain*w, with the article's gain for v.
// Numerics.  scalars are evaluated in double and narrowed to float once, keep
//            first, so that gain = 1 - keep holds in float where it should
//            (coefficients.h). A mass is the double sum of the narrowed keeps
//            and gains, damping apart: what the moment really holds.
// Threading. compatible (lock outside). No clock, no lock, no I/O.
#ifndef ACCRUE_SERVER_RULE_CYCLE_H_
#define ACCRUE_SERVER_RULE_CYCLE_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "server/rule/correction.h"
#include "server/rule/noise.h"
#include "server/rule/rule_spec.h"

namespace accrue::rule {

// Bounds of PushFacts::weight. Below the lower one a bias correction's divisor
// could leave the range of a float.
inline constexpr double kMinWeight = 0x1p-30;
inline constexpr double kMaxWeight = 1000.0;

// What of a push the rule may see.
struct PushFacts {
  int64_t micro_steps = 1;
  double weight = 1.0;       // relative to the model's nominal weight
  double gain_factor = 1.0;  // staleness damping: gain1 only, not the mass
  double scale = 1.0;        // the payload is this times the gradient
  // Euclidean norm of the group's part of the gradient (after `scale`): for
  // hyper.clip_push_norm, and for what is known of the noise.
  double norm = 0.0;
};

// Scalars of one push. The kernel computes, per element x of the payload,
//   g = mult*x;  m = keep1*m + gain1*g;  v = keep2*v + gain2*(g*g)
// and where a cycle folds its mean, with the sum a (kClassic: a buffer),
//   a = (first ? weight*g : a + weight*g).
struct PushScalars {
  float mult = 1;  // 1/scale, times the per-push clip's factor
  float keep1 = 1, gain1 = 0;
  float keep2 = 1, gain2 = 0;
  float weight = 1;    // of a mean: n*w, damped; the mean's divisor is not
  bool first = false;  // i == 0; kGather: first in the order of the fold
  bool operator==(const PushScalars&) const = default;
};

// sgd's look-ahead and L2 at the first push of a cycle (Nesterov), for
// embedded buffering: before the fold `next = theta + ahead*m`; after it
// m = m + l2*theta. Of a mean both belong to the single fold that ends the
// cycle, and are given with it.
struct LookAhead {
  float ahead = 0;  // lr(u)*b
  float l2 = 0;     // weight_decay*(1 - d)
  bool operator==(const LookAhead&) const = default;
};

// kClassic, kGather: the fold of the mean that ends a cycle: g = mean*a (then
// clipped: times clip), g = g + grad_l2*theta (adam with L2), then as a push.
struct BufferFold {
  float mean = 1;  // 1/(sum of the cycle's weights)
  float keep1 = 1, gain1 = 0;
  float keep2 = 1, gain2 = 0;
  float grad_l2 = 0;  // adam: weight_decay; else 0
  bool operator==(const BufferFold&) const = default;
};

// Scalars of the update step that ends a cycle.
//   sgd:          m = m + l2*theta (unless Nesterov); next = theta - lr*m
//   sgd Nesterov: next = next - lr*m, with lr already times (1 + b)
//   signum, lion: next = theta*decay - lr*sign(c), with sign(0) = 0 and c = m;
//                 but where mix_gain > 0 (lion), c = mix_keep*m + mix_gain*g of
//                 the m before, and the g of, the fold that ends the cycle
//   adam(w):      vh = v*inv_mass2
//                 where noise_share is not 1 (kCorrected: correction.h), with
//                 m before the clip,
//                   x = (m*inv_weight)^2, but at most vh
//                   s = x + noise_gain*(x - vh), but at least 0, at most vh
//                   vh = s + (vh - s)*noise_share
//                 den = eps outside ? sqrt(vh) + eps : sqrt(vh + eps)
//                 next = theta*decay - lr*(m/den), lr already over D1
//   lamb:         r = inv_mass1*(m/den) + weight_decay*theta, den as adam's
//                 next = theta - (rate*ratio)*r, with rate*ratio narrowed once
//                 and ratio = |theta|/|r| over the element's tensor; 1 where
//                 either is 0, infinite or no number
// With clip: first m = clip*m where clip = 1 if norm <= clip_norm, else
// clip_norm/norm, and norm = |m|*norm_factor (embedded), |mean*a| (else: it
// scales the mean gradient instead of m).
struct UpdateScalars {
  float lr = 0;
  float l2 = 0;
  float decay = 1;                   // adamw, signum, lion: 1 - lr*weight_decay
  float mix_keep = 0, mix_gain = 0;  // lion with beta1 other than beta2
  float inv_mass2 = 1;
  Correction correction = {};
  float epsilon = 0;
  float inv_mass1 = 1, weight_decay = 0;  // lamb
  double rate = 0;                        // lamb: lr(u)
  double clip_norm = 0;                   // 0: none
  double norm_factor = 1;  // adam: 1/D1; without bias correction: 1
  bool operator==(const UpdateScalars&) const = default;
};

// A group's state between pushes; part of every checkpoint.
struct CycleState {
  int64_t position = 0;         // i: pushes counted in this cycle
  int64_t updates = 0;          // u
  int64_t since_update = 0;     // s
  int64_t micro_steps = 0;      // of this cycle's pushes; 0 at i = 0
  double mass1 = 0, mass2 = 0;  // D1, D2; 0 without bias correction
  double weight_sum = 0;        // kClassic; kGather: summed when it ends
  // As if an update's clip had not bitten, until ApplyClip says that it did.
  NoiseState noise;
  CorrectionState correction;
  // In force since this cycle's first push; changes wait for the next one.
  Hyperparameters active;
  bool operator==(const CycleState&) const = default;
};

// One push planned for one group.
struct PushPlan {
  PushScalars push;
  std::optional<LookAhead> look_ahead;    // embedded Nesterov at i = 0
  std::optional<BufferFold> buffer_fold;  // kClassic, when the cycle ends
  std::optional<UpdateScalars> update;    // when the cycle ends
};

// A cycle closed without a further push: EndCycle, or a timeout.
struct ClosePlan {
  // Nesterov where a mean is folded: its look-ahead.
  std::optional<LookAhead> look_ahead;
  std::optional<BufferFold> buffer_fold;
  UpdateScalars update;
  bool operator==(const ClosePlan&) const = default;
};

// The held pushes of a cycle planned for one group.
struct GatherPlan {
  std::vector<PushScalars> pushes;  // in the order of their facts
  ClosePlan close;
};

// Plans the group's next push (not kGather) and advances `state`. `spec.hyper`
// is the newest hyperparameters; they become active where i = 0. The caller has
// checked: weight is in [kMinWeight, kMaxWeight]; scale and fp32(1/scale) are
// finite and above 0; micro_steps is that of the cycle (MicroStepsAllowed at
// its first push).
PushPlan PlanPush(const RuleSpec& spec, const PushFacts& facts,
                  CycleState& state);

// kGather: counts a push that is held, and advances `state` up to the cycle's
// end. True if the push completes the cycle: PlanGather must follow. Nothing of
// a push but its number is looked at: which came first leaves no trace. As
// PlanPush's, the caller's checks.
bool HoldPush(const RuleSpec& spec, int64_t micro_steps, CycleState& state);

// kGather: ends an open cycle, full or not, with the pushes that were held
// since it began, in the order in which they are to be folded.
GatherPlan PlanGather(const RuleSpec& spec, const std::vector<PushFacts>& facts,
                      CycleState& state);

// Ends an open cycle (position > 0; not kGather) early. Missing pushes are zero
// gradients under kPerCycle, which has divided by k already; under the other
// embedded decays the cycle is as if it were shorter; under kClassic they are
// left out of the mean.
ClosePlan PlanClose(const RuleSpec& spec, CycleState& state);

// The factor of a clip at an update: 1 if norm <= bound, else bound/norm.
float ClipFactor(double norm, double bound);

// After an update whose clip_norm was in force: what it found as `norm` has
// scaled what m holds.
void ApplyClip(const RuleSpec& spec, double norm, CycleState& state);

// Counts `pushes` absent pushes of an open cycle without ending it (0 <
// position, position + pushes < update_every): used where another group's
// cycle is closed early and cycles must stay nested. Under kPerCycle that is
// the same as zero gradients; nothing decays for a push that never came, so
// masses, weights and s stay.
void SkipPushes(int64_t pushes, CycleState& state);

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_CYCLE_H_
