// RuleSpec: what a user chooses about the optimizer of one group.
//
// Symbols.   b: beta1 (sgd, signum: momentum) or beta2; d: dampening; u: the
//            group's updates so far. k: accumulation count, pushes.
// Units.     k, update_every: pushes. Schedule lengths: updates.
// Invariant. ValidateRule(spec) is empty for every spec that reaches a plan.
// Threading. immutable once validated.
#ifndef ACCRUE_SERVER_RULE_RULE_SPEC_H_
#define ACCRUE_SERVER_RULE_RULE_SPEC_H_

#include <cstdint>
#include <string>

namespace accrue::rule {

inline constexpr int64_t kMaxK = int64_t{1} << 20;  // of k and update_every

enum class Optimizer { kSgd, kAdam, kAdamW, kSignum, kLion, kLamb };

// Whether it keeps v beside m.
constexpr bool HasSecondMoment(Optimizer optimizer) {
  return optimizer == Optimizer::kAdam || optimizer == Optimizer::kAdamW ||
         optimizer == Optimizer::kLamb;
}
// Whether its m is that of sgd: a momentum with a dampening of its own, and
// not corrected for bias.
constexpr bool HasDampening(Optimizer optimizer) {
  return optimizer == Optimizer::kSgd || optimizer == Optimizer::kSignum;
}
// Whether its step is lr whatever the size of what it looks at.
constexpr bool StepsBySign(Optimizer optimizer) {
  return optimizer == Optimizer::kSignum || optimizer == Optimizer::kLion;
}

// How the moments decay over a cycle.
enum class Decay {
  kPerCycle,      // keep b at the first push, 1 after [eq. 9, 12, 25, 26]
  kPerPush,       // keep b at every push [sec. 5.1, sgdm_sparse of 6.1]
  kSliding,       // keep B = 1 - (1 - b)/k at every push [eq. 33]
  kSlidingExact,  // keep B = b^(1/k) at every push; needs b > 0
};

enum class Buffering {
  kEmbedded,  // pushes go straight into the moments
  kClassic,   // textbook accumulation in a buffer of its own [eq. 1]
  kGather,    // pushes are held as they came, and a cycle is folded at once, in
              // an order of their own: kClassic whatever order they came in
};

// What v is under kPerCycle with kEmbedded, and how a step takes it.
enum class SecondMoment {
  kArticle,    // gain of g^2 (1 - beta2)/k [eq. 25]; as it is
  kAdama,      // gain (1 - beta2)/k^2; as it is
  kCorrected,  // gain (1 - beta2)/k; as it would be of mean gradients
};

enum class EpsilonPlace { kOutside, kInside };  // sqrt(v) + eps | sqrt(v + eps)

// The learning rate's factor for k > 1 [sec. 7.1]: 1, sqrt(k), k.
enum class LrScaling { kConservative, kSqrt, kLinear };

// What clip.norm bounds: each group by itself, or all groups together (where a
// cycle folds its mean, and only when all groups share k).
enum class ClipScope { kGroup, kModel };

struct Schedule {
  enum class Kind {
    kConstant,
    kLinear,             // from 1 to final_factor over total_updates
    kCosine,             // half a cosine from 1 to final_factor
    kStep,               // gamma^floor(u / step_updates)
    kExponential,        // gamma^u
    kInverseSquareRoot,  // 1/sqrt(1 + u/step_updates)
  };
  Kind kind = Kind::kConstant;
  // Updates over which the factor first rises linearly: at update u <
  // warmup_updates it is (u + 1)/warmup_updates; the schedule proper starts
  // (at its own u = 0) after them.
  int64_t warmup_updates = 0;
  int64_t total_updates = 0;  // kLinear, kCosine: updates after the warm-up
  int64_t step_updates = 0;   // kStep, kInverseSquareRoot
  double gamma = 1.0;         // kStep, kExponential, in (0, 1]
  double final_factor = 0.0;  // kLinear, kCosine, in [0, 1]
  bool operator==(const Schedule&) const = default;
};

// Hyperparameters that may change while training; a change takes effect at
// the first push of the group's next cycle.
struct Hyperparameters {
  double learning_rate = 1e-3;
  double beta1 = 0.9;           // sgd, signum: the momentum
  double beta2 = 0.999;         // adaptive optimizers; lion: m's decay
  double epsilon = 1e-8;        // > 0 also in fp32
  double dampening = 0.0;       // sgd, signum, in [0, 1); else beta1 is used
  double weight_decay = 0.0;    // sgd, adam: coupled L2; else decoupled
  double clip_norm = 0.0;       // 0: none. Of the accumulated quantity
  double clip_push_norm = 0.0;  // 0: none. Of each push, before it is folded
  Schedule schedule;
  bool operator==(const Hyperparameters&) const = default;
};

struct RuleSpec {
  Optimizer optimizer = Optimizer::kAdamW;
  Decay decay = Decay::kPerCycle;
  Buffering buffering = Buffering::kEmbedded;
  SecondMoment second_moment = SecondMoment::kArticle;
  EpsilonPlace epsilon_place = EpsilonPlace::kOutside;
  LrScaling lr_scaling = LrScaling::kConservative;
  ClipScope clip_scope = ClipScope::kGroup;
  bool nesterov = false;
  // Whether the sliding decays slide beta2 too (the article's tables slide
  // beta1 only; then v decays by beta2 at every push, as under kPerPush).
  bool slide_beta2 = true;
  int64_t k = 1;
  int64_t update_every = 1;  // the cycle's length; callers default it to k
  Hyperparameters hyper;
};

// Whether a cycle folds the mean of its gradients, once, when it ends
// (kClassic, kGather).
inline bool FoldsMean(const RuleSpec& spec) {
  return spec.buffering != Buffering::kEmbedded;
}

// Empty if `spec` is allowed; else one sentence that names the fields, what
// was got and why it cannot be. Checks one group; rules over several groups
// (nesting of k, clip_scope) are ValidateGroups'.
std::string ValidateRule(const RuleSpec& spec);

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_RULE_SPEC_H_
