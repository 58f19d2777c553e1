#include "server/rule/rule_spec.h"

#include <cmath>
#include <sstream>

#include "server/rule/coefficients.h"
#include "server/rule/cycle.h"
#include "server/rule/schedule.h"

namespace accrue::rule {
namespace {

// Each check is empty or says why not.
using Reason = std::string;

template <class... Parts>
Reason Sentence(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

bool IsSgd(const RuleSpec& spec) { return spec.optimizer == Optimizer::kSgd; }
bool IsLion(const RuleSpec& spec) { return spec.optimizer == Optimizer::kLion; }
bool IsAdaptive(const RuleSpec& spec) {
  return HasSecondMoment(spec.optimizer);
}
const char* BufferingName(const RuleSpec& spec) {
  return spec.buffering == Buffering::kGather ? "GATHER" : "CLASSIC";
}
bool IsSinglePush(const RuleSpec& spec) {
  return spec.k == 1 && spec.update_every == 1;
}
const char* BetaName(const RuleSpec& spec) {
  return HasDampening(spec.optimizer) ? "beta1 (momentum)" : "beta1";
}
const char* Name(Optimizer optimizer) {
  switch (optimizer) {
    case Optimizer::kSgd:
      return "sgd";
    case Optimizer::kAdam:
      return "adam";
    case Optimizer::kAdamW:
      return "adamw";
    case Optimizer::kSignum:
      return "signum";
    case Optimizer::kLion:
      return "lion";
    case Optimizer::kLamb:
      return "lamb";
  }
  return "";
}

bool FitsFloat(double value) {
  return std::isfinite(static_cast<float>(value));
}

Reason ValidateLengths(const RuleSpec& spec) {
  if (spec.k < 1 || spec.k > kMaxK) {
    return Sentence("k: ", spec.k, ", want 1 to ", kMaxK);
  }
  if (spec.update_every < 1 || spec.update_every > kMaxK) {
    return Sentence("update_every: ", spec.update_every, ", want 1 to ", kMaxK);
  }
  if (spec.update_every == spec.k) return "";
  if (FoldsMean(spec)) {
    return Sentence("update_every: ", spec.update_every, ", want k = ", spec.k,
                    ": ", BufferingName(spec),
                    " buffering steps on the mean of k pushes");
  }
  if (spec.decay == Decay::kPerCycle) {
    return Sentence("update_every: ", spec.update_every, ", want k = ", spec.k,
                    ": PER_CYCLE decays once in a cycle of k pushes");
  }
  return "";
}

Reason ValidateConventions(const RuleSpec& spec) {
  if (IsSinglePush(spec)) return "";  // they are all one there
  if (FoldsMean(spec) && spec.decay != Decay::kPerCycle) {
    return Sentence("decay: ", BufferingName(spec),
                    " buffering folds once a cycle, which is decay PER_CYCLE; "
                    "other decays need EMBEDDED buffering");
  }
  if (spec.second_moment == SecondMoment::kArticle) return "";
  const char* const name =
      spec.second_moment == SecondMoment::kAdama ? "ADAMA" : "CORRECTED";
  if (!IsAdaptive(spec)) {
    return Sentence("second_moment: ", name, ", but ", Name(spec.optimizer),
                    " has no second moment");
  }
  if (FoldsMean(spec) || spec.decay != Decay::kPerCycle) {
    return Sentence("second_moment: ", name,
                    " is of decay PER_CYCLE with EMBEDDED buffering; elsewhere "
                    "only ARTICLE");
  }
  return "";
}

// A number of [0, 1) that is below 1 as a float too.
Reason ValidateFraction(const char* name, double value) {
  if (value >= 0 && value < 1 && static_cast<float>(value) < 1.0f) return "";
  return Sentence(name, ": ", value,
                  ", want a number in [0, 1), below 1 in fp32 too");
}

Reason ValidateNonNegative(const char* name, double value) {
  if (value >= 0 && FitsFloat(value)) return "";
  return Sentence(name, ": ", value, ", want 0 or more, finite in fp32 too");
}

Reason ValidateDampening(const RuleSpec& spec) {
  const double dampening = spec.hyper.dampening;
  if (HasDampening(spec.optimizer)) {
    if (dampening >= 0 && dampening < 1) return "";
    return Sentence("dampening: ", dampening, ", want a number in [0, 1)");
  }
  if (dampening == 0) return "";
  return Sentence("dampening: ", dampening,
                  ", but only sgd and signum have one: the gain of ",
                  Name(spec.optimizer), " is 1 - ",
                  IsLion(spec) ? "beta2" : "beta1");
}

Reason ValidateEpsilon(const RuleSpec& spec) {
  const auto epsilon = static_cast<float>(spec.hyper.epsilon);
  if (std::isfinite(epsilon) && (epsilon > 0 || !IsAdaptive(spec))) return "";
  return Sentence("epsilon: ", spec.hyper.epsilon,
                  ", want a finite number above 0, in fp32 too");
}

Reason ValidateRanges(const RuleSpec& spec) {
  const Hyperparameters& hyper = spec.hyper;
  const Reason reasons[] = {
      ValidateNonNegative("learning_rate", hyper.learning_rate),
      ValidateFraction(BetaName(spec), hyper.beta1),
      ValidateFraction("beta2", hyper.beta2),
      ValidateEpsilon(spec),
      ValidateDampening(spec),
      ValidateNonNegative("weight_decay", hyper.weight_decay),
      ValidateNonNegative("clip_norm", hyper.clip_norm),
      ValidateNonNegative("clip_push_norm", hyper.clip_push_norm),
      ValidateSchedule(hyper.schedule),
  };
  for (const Reason& reason : reasons) {
    if (!reason.empty()) return reason;
  }
  return "";
}

Reason ValidateRoot(const char* name, double beta) {
  if (beta > 0) return "";
  return Sentence(name, ": 0, want above 0: SLIDING_EXACT takes its k-th root");
}

Reason ValidateKeep(const char* name, const MomentRule& rule) {
  if (static_cast<float>(KeepPerPush(rule)) < 1.0f) return "";
  return Sentence(name, ": ", rule.beta, " at k = ", rule.k,
                  " slides to a keep that is 1 in fp32: the moment would "
                  "never forget");
}

Reason ValidateKeeps(const RuleSpec& spec) {
  const Hyperparameters& hyper = spec.hyper;
  const bool roots = spec.decay == Decay::kSlidingExact;
  const char* const name = IsLion(spec) ? "beta2" : BetaName(spec);
  const MomentRule m = FirstMomentRule(spec, hyper);
  Reason why = roots ? ValidateRoot(name, m.beta) : "";
  if (why.empty()) why = ValidateKeep(name, m);
  if (!why.empty() || !IsAdaptive(spec)) return why;
  if (roots && spec.slide_beta2) why = ValidateRoot("beta2", hyper.beta2);
  if (!why.empty()) return why;
  return ValidateKeep("beta2", SecondMomentRule(spec, hyper));
}

Reason ValidateNesterov(const RuleSpec& spec) {
  if (!spec.nesterov) return "";
  const Hyperparameters& hyper = spec.hyper;
  if (!IsSgd(spec)) return "nesterov: only sgd has it";
  if (hyper.beta1 == 0) {
    return "nesterov: looks ahead along the momentum; want beta1 (momentum) "
           "above 0";
  }
  if (FoldsMean(spec)) return "";
  if (EffectiveDecay(spec) != Decay::kPerCycle) {
    return "nesterov: EMBEDDED buffering has it under decay PER_CYCLE only: "
           "elsewhere it needs the accumulated gradient";
  }
  if (hyper.dampening != 0 && hyper.dampening != hyper.beta1) {
    return Sentence(
        "nesterov: EMBEDDED buffering has it with dampening 0 or "
        "equal to the momentum, ",
        hyper.beta1, ": got ", hyper.dampening);
  }
  if (hyper.clip_norm > 0) {
    return "clip_norm: EMBEDDED Nesterov has looked ahead before the norm is "
           "known; use clip_push_norm or CLASSIC or GATHER buffering";
  }
  return "";
}

Reason ValidateLion(const RuleSpec& spec) {
  const Hyperparameters& hyper = spec.hyper;
  if (!IsLion(spec) || FoldsMean(spec) || hyper.beta1 == hyper.beta2) return "";
  if (!IsSinglePush(spec)) {
    return Sentence(
        "lion: EMBEDDED buffering at k > 1 needs beta1 = beta2: the step looks "
        "at beta1*m + (1-beta1)*g, and g is gone once it is folded into m with "
        "beta2; use CLASSIC or GATHER buffering: got beta1 = ",
        hyper.beta1, ", beta2 = ", hyper.beta2);
  }
  if (hyper.clip_norm > 0) {
    return "clip_norm: EMBEDDED lion with beta1 other than beta2 has looked at "
           "the gradient before m's norm is known; use clip_push_norm or "
           "CLASSIC or GATHER buffering";
  }
  return "";
}

Reason ValidateDecayAndClip(const RuleSpec& spec) {
  if (spec.optimizer == Optimizer::kAdam && !FoldsMean(spec) &&
      spec.hyper.weight_decay > 0) {
    return "weight_decay: adam's is coupled L2, which needs the mean gradient "
           "before it is squared; use adamw (decoupled) or CLASSIC "
           "or GATHER buffering";
  }
  if (spec.clip_scope == ClipScope::kModel && !FoldsMean(spec)) {
    return "clip_scope: MODEL needs CLASSIC or GATHER buffering: moments of "
           "several groups have no common norm";
  }
  return "";
}

// What a plan may narrow must be finite whatever weights come.
Reason ValidateScalars(const RuleSpec& spec) {
  const Hyperparameters& hyper = spec.hyper;
  const double lr =
      hyper.learning_rate * ScalingFactor(spec.lr_scaling, spec.k);
  const MomentRule m = FirstMomentRule(spec, hyper);
  // lamb corrects m's bias apart from lr, by at most 2^74: k and the weights
  // are bounded.
  const bool lamb = spec.optimizer == Optimizer::kLamb;
  const double largest_step =
      lamb               ? lr
      : IsAdaptive(spec) ? lr / (PushCoefficients(m, true, 1).gain * kMinWeight)
                         : lr * (1 + hyper.beta1);
  if (!FitsFloat(largest_step)) {
    return Sentence("learning_rate: ", hyper.learning_rate,
                    ", too large: its step overflows fp32");
  }
  const double largest_decay =
      IsSgd(spec) ? L2Coefficient(m, spec.update_every) : (lamb ? 1 : lr);
  if (!FitsFloat(largest_decay * hyper.weight_decay)) {
    return Sentence("weight_decay: ", hyper.weight_decay,
                    ", too large: its step overflows fp32");
  }
  return "";
}

}  // namespace

std::string ValidateRule(const RuleSpec& spec) {
  using Check = Reason (*)(const RuleSpec&);
  // In this order: each relies on what those before it found.
  constexpr Check kChecks[] = {ValidateLengths,      ValidateConventions,
                               ValidateRanges,       ValidateKeeps,
                               ValidateNesterov,     ValidateLion,
                               ValidateDecayAndClip, ValidateScalars};
  for (const Check check : kChecks) {
    Reason why = check(spec);
    if (!why.empty()) return why;
  }
  return "";
}

}  // namespace accrue::rule
