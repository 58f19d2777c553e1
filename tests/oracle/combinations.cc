#include "tests/oracle/combinations.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>

namespace accrue::oracle {
namespace {

using rule::Buffering;
using rule::Decay;
using rule::LrScaling;
using rule::Optimizer;
using rule::RuleSpec;
using rule::Schedule;
using Clip = Combination::Clip;
using Convention = Combination::Convention;
using Variant = Combination::Variant;
using Weights = Combination::Weights;

constexpr std::array kOptimizers = {Optimizer::kSgd,   Optimizer::kAdam,
                                    Optimizer::kAdamW, Optimizer::kSignum,
                                    Optimizer::kLion,  Optimizer::kLamb};
constexpr std::array kDecays = {Decay::kPerCycle, Decay::kPerPush,
                                Decay::kSliding, Decay::kSlidingExact};
constexpr std::array kBufferings = {Buffering::kEmbedded, Buffering::kClassic,
                                    Buffering::kGather};
constexpr std::array<int16_t, 4> kCounts = {1, 2, 4, 7};
constexpr std::array kClips = {Clip::kNone, Clip::kNorm, Clip::kModelNorm,
                               Clip::kPushNorm};
constexpr std::array kSchedules = {
    Schedule::Kind::kConstant,    Schedule::Kind::kLinear,
    Schedule::Kind::kCosine,      Schedule::Kind::kStep,
    Schedule::Kind::kExponential, Schedule::Kind::kInverseSquareRoot};
constexpr std::array kConventions = {
    Convention::kPlain,       Convention::kInside,     Convention::kAdama,
    Convention::kAdamaInside, Convention::kSlideBeta1, Convention::kCorrected};
constexpr std::array kWeights = {Weights::kUnit, Weights::kVaried,
                                 Weights::kMicroSteps};
constexpr std::array kVariants = {Variant::kPlain,
                                  Variant::kWeightDecay,
                                  Variant::kDampened,
                                  Variant::kHalfDampened,
                                  Variant::kNesterov,
                                  Variant::kNesterovWeightDecay,
                                  Variant::kNesterovDampened,
                                  Variant::kNesterovHalfDampened,
                                  Variant::kNoMomentum,
                                  Variant::kEqualBetas};

const char* const kOptimizerNames[] = {"sgd",    "adam", "adamw",
                                       "signum", "lion", "lamb"};
const char* const kDecayNames[] = {"PER_CYCLE", "PER_PUSH", "SLIDING",
                                   "SLIDING_EXACT"};
const char* const kBufferingNames[] = {"EMBEDDED", "CLASSIC", "GATHER"};
const char* const kClipNames[] = {"unclipped", "clip_norm", "clip_model_norm",
                                  "clip_push_norm"};
const char* const kScheduleNames[] = {"CONSTANT",    "LINEAR",
                                      "COSINE",      "STEP",
                                      "EXPONENTIAL", "INVERSE_SQUARE_ROOT"};
const char* const kConventionNames[] = {
    "ARTICLE", "INSIDE", "ADAMA", "ADAMA_INSIDE", "SLIDE_BETA1", "CORRECTED"};
const char* const kWeightNames[] = {"UNIT", "VARIED", "MICRO_STEPS"};
const char* const kVariantNames[] = {"plain",
                                     "weight_decay",
                                     "dampened",
                                     "half_dampened",
                                     "nesterov",
                                     "nesterov_weight_decay",
                                     "nesterov_dampened",
                                     "nesterov_half_dampened",
                                     "no_momentum",
                                     "equal_betas"};

bool IsNesterov(Variant variant) {
  return variant >= Variant::kNesterov &&
         variant <= Variant::kNesterovHalfDampened;
}
bool IsDampened(Variant variant) {
  return variant == Variant::kDampened || variant == Variant::kNesterovDampened;
}
bool IsHalfDampened(Variant variant) {
  return variant == Variant::kHalfDampened ||
         variant == Variant::kNesterovHalfDampened;
}
bool IsWeightDecay(Variant variant) {
  return variant == Variant::kWeightDecay ||
         variant == Variant::kNesterovWeightDecay;
}
bool IsAdama(Convention convention) {
  return convention == Convention::kAdama ||
         convention == Convention::kAdamaInside;
}
bool HasNoSecondMoment(Optimizer optimizer) {
  return optimizer == Optimizer::kSgd || StepsBySign(optimizer);
}
// With the momentum and dampening of sgd.
bool IsSgdLike(Optimizer optimizer) {
  return optimizer == Optimizer::kSgd || optimizer == Optimizer::kSignum;
}
bool IsSliding(Decay decay) {
  return decay == Decay::kSliding || decay == Decay::kSlidingExact;
}
int64_t MicroSteps(const Combination& c) {
  if (c.weights != Weights::kMicroSteps) return 1;
  return c.k == 4 ? 2 : c.k;  // k = 4: two pushes a cycle
}

Schedule MakeSchedule(Schedule::Kind kind) {
  Schedule schedule;
  schedule.kind = kind;
  if (kind != Schedule::Kind::kConstant) schedule.warmup_updates = 3;
  schedule.total_updates = 20;
  schedule.step_updates = 5;
  schedule.gamma = 0.9;
  schedule.final_factor = 0.1;
  return schedule;
}

// About the median norm of a group's vector that is `gain` times the
// gradients' mean and has noise of this variance in every element. (The
// squared norm's median is a tenth below its mean, which is what this takes.)
double TypicalNorm(double gain, double variance) {
  const double mean = gain * static_cast<double>(kGradientMean);
  return std::sqrt(static_cast<double>(kGroupElems) * (mean * mean + variance));
}

// Of what clip_norm bounds, at its steady state with unit weights.
//   CLASSIC, GATHER: the mean of k gradients, noise 1/k.
//   EMBEDDED: the sum over cycles j of b^j*(1-d) times such a mean, which is
//     (1-d)/(1-b) of the gradients' mean and has noise (1-d)^2/(1-b^2)/k;
//     adam's m/D is the same with d = b. PER_PUSH sums over pushes: k = 1. The
//     sliding decays forget over a cycle what PER_CYCLE forgets at its start.
double TypicalClippedNorm(const Combination& c, const RuleSpec& spec) {
  const auto k = static_cast<double>(c.k);
  if (c.clip == Clip::kModelNorm) return std::sqrt(2.0) * TypicalNorm(1, 1 / k);
  if (c.buffering != Buffering::kEmbedded) return TypicalNorm(1, 1 / k);
  const double b = spec.hyper.beta1;
  const double d = IsSgdLike(c.optimizer) ? spec.hyper.dampening : b;
  const double pushes = c.decay == Decay::kPerPush ? 1 : k;
  return TypicalNorm((1 - d) / (1 - b),
                     (1 - d) * (1 - d) / (1 - b * b) / pushes);
}

// Whether another combination says the same.
bool IsRedundant(const Combination& c) {
  const bool no_variance = HasNoSecondMoment(c.optimizer);
  if (c.update_every != c.k && c.k == 1) return true;
  if (c.weights == Weights::kMicroSteps && c.update_every == 1) return true;
  if (c.convention == Convention::kSlideBeta1 &&
      (no_variance || !IsSliding(c.decay) || c.k == 1)) {
    return true;
  }
  if (no_variance && (c.convention == Convention::kInside ||
                      c.convention == Convention::kCorrected ||
                      c.convention == Convention::kAdamaInside)) {
    return true;
  }
  if (c.variant == Variant::kEqualBetas && c.optimizer != Optimizer::kLion) {
    return true;
  }
  const bool few_schedules = StepsBySign(c.optimizer) ||
                             c.optimizer == Optimizer::kLamb ||
                             c.convention == Convention::kCorrected;
  if (few_schedules && c.schedule != Schedule::Kind::kConstant &&
      c.schedule != Schedule::Kind::kCosine) {
    return true;
  }
  if (c.optimizer == Optimizer::kSgd) return false;
  // Refused for the same reasons as kNesterov and kDampened.
  if (IsNesterov(c.variant) && c.variant != Variant::kNesterov) return true;
  return c.variant == Variant::kHalfDampened && !IsSgdLike(c.optimizer);
}

// The choices as numbers, for pairs.
constexpr size_t kDimensions = 10;
constexpr size_t kChoices = 10;  // at most, in one dimension

std::array<uint8_t, kDimensions> Choices(const Combination& c) {
  const auto number = [](auto choice) { return static_cast<uint8_t>(choice); };
  const auto* const k = std::find(kCounts.begin(), kCounts.end(), c.k);
  return {number(c.optimizer),
          number(c.decay),
          number(c.buffering),
          number(k - kCounts.begin()),
          number(c.update_every == c.k),
          number(c.clip),
          number(c.schedule),
          number(c.convention),
          number(c.weights),
          number(c.variant)};
}

// The pairs of a combination, each as one number.
constexpr size_t kPairsOfOne = kDimensions * (kDimensions - 1) / 2;
using Pairs = std::array<uint16_t, kPairsOfOne>;

Pairs PairsOf(const Combination& c) {
  const auto choices = Choices(c);
  Pairs pairs;
  size_t next = 0;
  for (size_t i = 0; i < kDimensions; ++i) {
    for (size_t j = i + 1; j < kDimensions; ++j) {
      const size_t pair =
          ((i * kDimensions + j) * kChoices + choices[i]) * kChoices +
          choices[j];
      pairs[next++] = static_cast<uint16_t>(pair);
    }
  }
  return pairs;
}

}  // namespace

RuleSpec Combination::Rule() const {
  RuleSpec spec;
  spec.optimizer = optimizer;
  spec.decay = decay;
  spec.buffering = buffering;
  spec.k = k;
  spec.update_every = update_every;
  spec.nesterov = IsNesterov(variant);
  if (IsAdama(convention)) spec.second_moment = rule::SecondMoment::kAdama;
  if (convention == Convention::kCorrected) {
    spec.second_moment = rule::SecondMoment::kCorrected;
  }
  if (convention == Convention::kInside ||
      convention == Convention::kAdamaInside) {
    spec.epsilon_place = rule::EpsilonPlace::kInside;
  }
  spec.slide_beta2 = convention != Convention::kSlideBeta1;
  if (schedule == Schedule::Kind::kLinear) {
    spec.lr_scaling = LrScaling::kLinear;
  } else if (schedule == Schedule::Kind::kCosine) {
    spec.lr_scaling = LrScaling::kSqrt;
  }
  if (clip == Clip::kModelNorm) spec.clip_scope = rule::ClipScope::kModel;

  rule::Hyperparameters& hyper = spec.hyper;
  hyper.learning_rate = 0.01;
  hyper.beta1 = variant == Variant::kNoMomentum ? 0.0 : 0.9;
  hyper.beta2 = variant == Variant::kEqualBetas ? hyper.beta1 : 0.99;
  if (IsDampened(variant)) hyper.dampening = hyper.beta1;
  if (IsHalfDampened(variant)) hyper.dampening = 0.5;
  if (IsWeightDecay(variant)) hyper.weight_decay = 0.01;
  if (clip == Clip::kNorm || clip == Clip::kModelNorm) {
    hyper.clip_norm = TypicalClippedNorm(*this, spec);
  }
  if (clip == Clip::kPushNorm) hyper.clip_push_norm = TypicalNorm(1, 1);
  hyper.schedule = MakeSchedule(schedule);
  return spec;
}

rule::PushFacts Combination::Facts(int64_t push) const {
  constexpr std::array kVaried = {1.0, 0.5, 2.0, 0.3, 3.0};
  rule::PushFacts facts;
  facts.micro_steps = MicroSteps(*this);
  if (weights == Weights::kVaried) {
    facts.weight = kVaried[static_cast<size_t>(push) % kVaried.size()];
  }
  return facts;
}

std::string Combination::Name() const {
  const auto name = [](const char* const* names, auto choice) {
    return std::string(names[static_cast<size_t>(choice)]);
  };
  return name(kOptimizerNames, optimizer) + "/" + name(kDecayNames, decay) +
         "/k" + std::to_string(k) + "/every" + std::to_string(update_every) +
         "/" + name(kBufferingNames, buffering) + "/" + name(kClipNames, clip) +
         "/" + name(kScheduleNames, schedule) + "/" +
         name(kConventionNames, convention) + "/" +
         name(kWeightNames, weights) + "/" + name(kVariantNames, variant);
}

std::vector<std::string> Combination::Refusals() const {
  const bool sgd = optimizer == Optimizer::kSgd;
  const bool sgd_like = IsSgdLike(optimizer);
  // CLASSIC and GATHER allow the same.
  const bool classic = buffering != Buffering::kEmbedded;
  const bool one_push = k == 1 && update_every == 1;
  const bool per_cycle = one_push || decay == Decay::kPerCycle;
  const bool clips_update = clip == Clip::kNorm || clip == Clip::kModelNorm;

  std::vector<std::string> why;
  if (update_every != k && (classic || per_cycle)) why.push_back("want k = ");
  if (classic && !per_cycle) {
    why.push_back(std::string(kBufferingNames[static_cast<size_t>(buffering)]) +
                  " buffering folds once");
  }
  if ((IsAdama(convention) || convention == Convention::kCorrected) &&
      !one_push) {
    if (HasNoSecondMoment(optimizer)) why.push_back("has no second moment");
    if (classic || !per_cycle) why.push_back("elsewhere only ARTICLE");
  }
  const bool lion = optimizer == Optimizer::kLion;
  if (decay == Decay::kSlidingExact && variant == Variant::kNoMomentum &&
      !lion) {
    why.push_back("k-th root");
  }
  if (!sgd_like && (IsDampened(variant) || IsHalfDampened(variant))) {
    why.push_back("only sgd and signum have one");
  }
  if (IsNesterov(variant)) {
    if (!sgd) why.push_back("only sgd has it");
    if (!classic && !per_cycle) why.push_back("the accumulated gradient");
    if (!classic && IsHalfDampened(variant)) {
      why.push_back("dampening 0 or equal");
    }
    if (!classic && clips_update) why.push_back("looked ahead");
  }
  if (lion && !classic && variant != Variant::kEqualBetas) {
    if (!one_push) why.push_back("needs beta1 = beta2");
    if (clips_update) why.push_back("looked at the gradient");
  }
  if (optimizer == Optimizer::kAdam && !classic && IsWeightDecay(variant)) {
    why.push_back("adamw");
  }
  if (!classic && clip == Clip::kModelNorm) why.push_back("no common norm");
  return why;
}

std::vector<Combination> AllCombinations() {
  std::vector<Combination> all;
  Combination c = {};
  const auto with_conventions = [&] {
    for (const auto convention : kConventions) {
      c.convention = convention;
      for (const auto weights : kWeights) {
        c.weights = weights;
        for (const auto variant : kVariants) {
          c.variant = variant;
          if (!IsRedundant(c)) all.push_back(c);
        }
      }
    }
  };
  const auto with_clips = [&] {
    for (const auto clip : kClips) {
      c.clip = clip;
      for (const auto schedule : kSchedules) {
        c.schedule = schedule;
        with_conventions();
      }
    }
  };
  for (const auto optimizer : kOptimizers) {
    c.optimizer = optimizer;
    for (const auto decay : kDecays) {
      c.decay = decay;
      for (const auto buffering : kBufferings) {
        c.buffering = buffering;
        for (const auto k : kCounts) {
          c.k = k;
          c.update_every = k;
          with_clips();
          if (k == 1) continue;
          c.update_every = 1;
          with_clips();
        }
      }
    }
  }
  return all;
}

std::vector<Combination> AllowedCombinations() {
  std::vector<Combination> all = AllCombinations();
  std::erase_if(all,
                [](const Combination& c) { return !c.Refusals().empty(); });
  return all;
}

std::vector<Combination> PairwiseSubset(const std::vector<Combination>& from) {
  std::vector<Pairs> pairs;
  pairs.reserve(from.size());
  for (const Combination& c : from) pairs.push_back(PairsOf(c));
  std::vector<bool> missing(kDimensions * kDimensions * kChoices * kChoices);
  for (const Pairs& of_one : pairs) {
    for (const uint16_t pair : of_one) missing[pair] = true;
  }
  // Greedy: always the first of those that bring most missing pairs.
  std::vector<Combination> subset;
  while (true) {
    size_t best = 0;
    int64_t most = 0;
    for (size_t i = 0; i < pairs.size(); ++i) {
      const int64_t brings =
          std::count_if(pairs[i].begin(), pairs[i].end(),
                        [&](uint16_t pair) { return missing[pair]; });
      if (brings > most) {
        most = brings;
        best = i;
      }
    }
    if (most == 0) return subset;
    for (const uint16_t pair : pairs[best]) missing[pair] = false;
    subset.push_back(from[best]);
  }
}

std::string IdleClip(const Combination& combination, const Oracle& oracle) {
  const bool idle =
      combination.clip == Clip::kPushNorm
          ? oracle.clipped_pushes() == 0
          : combination.clip != Clip::kNone && oracle.clipped_updates() == 0;
  if (!idle) return "";
  return std::string(kClipNames[static_cast<size_t>(combination.clip)]) +
         " has never clipped";
}

}  // namespace accrue::oracle
