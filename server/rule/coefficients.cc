#include "server/rule/coefficients.h"

#include <cmath>

namespace accrue::rule {
namespace {

// 1 - d, with d as a float where it is b: see Numerics.
double OneMinusDampening(const MomentRule& rule) {
  if (rule.dampening == rule.beta) {
    return 1.0 - static_cast<double>(static_cast<float>(rule.beta));
  }
  return 1.0 - rule.dampening;
}

// 1 - B of kSlidingExact; expm1 keeps the digits that 1 - pow would lose.
double OneMinusExactKeep(const MomentRule& rule) {
  return -std::expm1(std::log(rule.beta) / static_cast<double>(rule.k));
}

// The gain of one push, n = 1, where it is not 1 - keep.
double SinglePushGain(const MomentRule& rule) {
  const double one_minus_d = 1.0 - rule.dampening;
  switch (rule.decay) {
    case Decay::kPerCycle:
    case Decay::kSliding:
      return one_minus_d / static_cast<double>(rule.k);
    case Decay::kPerPush:
      return one_minus_d;
    case Decay::kSlidingExact:
      return OneMinusExactKeep(rule) * one_minus_d / (1.0 - rule.beta);
  }
  return 0.0;
}

// 1 + keep + ... + keep^(n-1); keep < 1. Exactly 1 at n = 1.
double GeometricSum(double keep, int64_t n) {
  if (n == 1) return 1.0;
  if (keep == 0.0) return 1.0;
  return -std::expm1(static_cast<double>(n) * std::log(keep)) / (1.0 - keep);
}

}  // namespace

Decay EffectiveDecay(const RuleSpec& spec) {
  if (spec.k == 1 && spec.update_every == 1) return Decay::kPerCycle;
  return spec.decay;
}

MomentRule FirstMomentRule(const RuleSpec& spec, const Hyperparameters& hyper) {
  MomentRule rule;
  rule.decay = EffectiveDecay(spec);
  rule.beta = spec.optimizer == Optimizer::kLion ? hyper.beta2 : hyper.beta1;
  rule.dampening = HasDampening(spec.optimizer) ? hyper.dampening : rule.beta;
  rule.k = FoldsMean(spec) ? 1 : spec.k;
  return rule;
}

MomentRule SecondMomentRule(const RuleSpec& spec,
                            const Hyperparameters& hyper) {
  MomentRule rule;
  rule.decay = EffectiveDecay(spec);
  const bool slides =
      rule.decay == Decay::kSliding || rule.decay == Decay::kSlidingExact;
  if (slides && !spec.slide_beta2) rule.decay = Decay::kPerPush;
  rule.beta = hyper.beta2;
  rule.dampening = hyper.beta2;
  rule.k = FoldsMean(spec) ? 1 : spec.k;
  return rule;
}

double KeepPerPush(const MomentRule& rule) {
  switch (rule.decay) {
    case Decay::kPerCycle:
    case Decay::kPerPush:
      return rule.beta;
    case Decay::kSliding:
      return 1.0 - (1.0 - rule.beta) / static_cast<double>(rule.k);
    case Decay::kSlidingExact:
      return std::pow(rule.beta, 1.0 / static_cast<double>(rule.k));
  }
  return rule.beta;
}

Coefficients PushCoefficients(const MomentRule& rule, bool first,
                              int64_t micro_steps) {
  const auto n = static_cast<double>(micro_steps);
  Coefficients result;
  if (rule.decay == Decay::kPerCycle) {
    result.keep = first ? static_cast<float>(rule.beta) : 1.0f;
    result.gain = OneMinusDampening(rule) * n / static_cast<double>(rule.k);
    return result;
  }
  const double keep = KeepPerPush(rule);
  result.keep = static_cast<float>(std::pow(keep, n));
  result.gain = rule.dampening == rule.beta
                    ? 1.0 - static_cast<double>(result.keep)
                    : SinglePushGain(rule) * GeometricSum(keep, micro_steps);
  return result;
}

double L2Coefficient(const MomentRule& rule, int64_t pushes) {
  if (rule.decay == Decay::kPerCycle) return OneMinusDampening(rule);
  // s pushes of the same gradient are one push of s micro-steps.
  return PushCoefficients(rule, false, pushes).gain;
}

bool MomentIsAccumulator(const RuleSpec& spec) {
  return !HasSecondMoment(spec.optimizer) &&
         spec.buffering == Buffering::kEmbedded &&
         FirstMomentRule(spec, spec.hyper).beta == 0.0 &&
         EffectiveDecay(spec) == Decay::kPerCycle && spec.k > 1;
}

}  // namespace accrue::rule
