#include "client/ctl/advice.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "client/ctl/nesting_k.h"

namespace accrue::ctl {
namespace {

using client::Decay;
using client::GroupPosition;
using client::Hyperparameters;
using client::ModelDescription;
using client::Noise;
using client::OptimizerSpec;

// Batch sizes from which the article's table has the next row.
constexpr int64_t kMediumBatch = 64;
constexpr int64_t kLargeBatch = 256;

bool CyclesAverage(const OptimizerSpec& optimizer) {
  return optimizer.decay == Decay::kPerCycle ||
         optimizer.buffering != client::Buffering::kEmbedded;
}

// Whether the second moment is the mean of a cycle's squares.
bool StepsBySquaresMean(const OptimizerSpec& optimizer) {
  return (optimizer.optimizer == client::Optimizer::kAdam ||
          optimizer.optimizer == client::Optimizer::kAdamW) &&
         optimizer.decay == Decay::kPerCycle &&
         optimizer.buffering == client::Buffering::kEmbedded &&
         optimizer.second_moment == client::SecondMoment::kArticle;
}

// What m decays with. The daemon has filled in what a spec leaves out.
double MomentumBeta(const OptimizerSpec& optimizer,
                    const Hyperparameters& hyperparameters) {
  return optimizer.optimizer == client::Optimizer::kLion
             ? hyperparameters.beta2.value_or(0)
             : hyperparameters.beta1.value_or(0);
}

// The share of variance left in the momentum at k, but for a factor that k does
// not change.
double SteadyNoiseLeft(const OptimizerSpec& optimizer, double beta, int64_t k) {
  const auto cycle = static_cast<double>(k);
  if (CyclesAverage(optimizer)) return 1 / cycle;
  if (optimizer.decay == Decay::kPerPush) return 1;
  const double keep = optimizer.decay == Decay::kSliding
                          ? 1 - (1 - beta) / cycle
                          : std::pow(beta, 1 / cycle);
  return (1 - keep) / (1 + keep);
}

int64_t CeilK(double value) {
  return static_cast<int64_t>(
      std::ceil(std::clamp(value, 1.0, static_cast<double>(kMaxK))));
}

// C_k of gradients with this CV^2. The larger that is, the smaller.
double PowerLeft(double noise_scale, int64_t k) {
  return (1 + noise_scale / static_cast<double>(k)) / (1 + noise_scale);
}

std::vector<int64_t> ByBatchSize(int64_t batch_size) {
  if (batch_size < kMediumBatch) return {4, 8};
  if (batch_size < kLargeBatch) return {2, 4};
  return {1};
}

void EstimateEffects(const ModelDescription& model, size_t g, KChoice& choice) {
  const GroupPosition& group = model.groups[g];
  if (!group.noise.has_value()) return;
  const OptimizerSpec& optimizer = model.spec.optimizer;
  const Noise& noise = *group.noise;
  choice.at_least = noise.variation_at_least;
  const double beta =
      MomentumBeta(optimizer, model.spec.groups[g].hyperparameters);
  choice.momentum_noise_to_signal =
      NoiseScale(noise) * noise.noise_left *
      (SteadyNoiseLeft(optimizer, beta, choice.k) /
       SteadyNoiseLeft(optimizer, beta, group.k));
  if (!CyclesAverage(optimizer)) return;
  choice.noise_to_signal = NoiseScale(noise) / static_cast<double>(choice.k);
  choice.power_left = PowerLeft(NoiseScale(noise), choice.k);
  if (StepsBySquaresMean(optimizer)) {
    choice.step_factor = std::sqrt(*choice.power_left);
  }
}

// Groups whose norm is clipped as one have one k.
void ShareTheLargest(std::vector<KWish>& wishes) {
  int64_t largest = 1;
  for (const KWish& wish : wishes) largest = std::max(largest, wish.k);
  for (KWish& wish : wishes) wish.k = largest;
}

// A choice for every group for which `rule`, of a group's position, has a k.
template <typename Rule>
void AddChoices(const ModelDescription& model, const char* by, Rule rule,
                ModelAdvice& advice) {
  std::vector<KWish> wishes;
  std::vector<std::optional<int64_t>> rule_ks;
  for (const GroupPosition& group : model.groups) {
    rule_ks.push_back(rule(group));
    const bool cycle_is_k = group.update_every == group.k;
    wishes.push_back(rule_ks.back().has_value() && cycle_is_k
                         ? KWish{.k = *rule_ks.back()}
                         : KWish{.k = group.update_every, .fixed = true});
  }
  if (model.spec.optimizer.clip_scope == client::ClipScope::kModel) {
    ShareTheLargest(wishes);
  }
  const bool nested = model.spec.max_staleness == 0 && wishes.size() > 1;
  const NestingK cycles = Nest(wishes, model.micro_steps, nested);
  for (size_t g = 0; g < wishes.size(); ++g) {
    if (!rule_ks[g].has_value()) continue;
    KChoice choice{.by = by, .rule_k = *rule_ks[g], .nests = cycles.nests};
    // A k that sets no cycle nests with anything.
    choice.k = wishes[g].fixed
                   ? Nest({{.k = *rule_ks[g]}}, model.micro_steps, false).k[0]
                   : cycles.k[g];
    EstimateEffects(model, g, choice);
    advice.groups[g].choices.push_back(std::move(choice));
  }
}

}  // namespace

// Not by way of CV, its root, which would round it.
double NoiseScale(const Noise& noise) {
  return noise.variation_at_least ? noise.variation * noise.variation
                                  : noise.variance / noise.mean_squared;
}

ModelAdvice Advise(const ModelDescription& model,
                   std::optional<int64_t> batch_size) {
  ModelAdvice advice;
  advice.cycles_average = CyclesAverage(model.spec.optimizer);
  for (size_t g = 0; g < model.groups.size(); ++g) {
    const GroupPosition& group = model.groups[g];
    GroupAdvice& added = advice.groups.emplace_back();
    added.group = group.group;
    added.noise = group.noise;
    KChoice in_force{.by = "in force", .k = group.k, .rule_k = group.k};
    EstimateEffects(model, g, in_force);
    added.choices.push_back(std::move(in_force));
  }
  using MaybeK = std::optional<int64_t>;
  AddChoices(
      model, "CV",
      [](const GroupPosition& group) {
        return group.noise.has_value() ? CeilK(group.noise->variation)
                                       : MaybeK();
      },
      advice);
  AddChoices(
      model, "CV^2",
      [](const GroupPosition& group) {
        return group.noise.has_value() ? CeilK(NoiseScale(*group.noise))
                                       : MaybeK();
      },
      advice);
  if (!batch_size.has_value()) return advice;
  for (const int64_t k : ByBatchSize(*batch_size)) {
    AddChoices(
        model, "batch size", [k](const GroupPosition&) { return MaybeK(k); },
        advice);
  }
  return advice;
}

const std::vector<Branch>& DecisionTree() {
  static const auto& tree = *new std::vector<Branch>{
      {"memory",
       "update every k pushes with decay per_cycle and buffering embedded: no "
       "accumulation buffer; sliding decays beside it are optional"},
      {"stability",
       "decay sliding with update_every 1: more momentum, an update a push"},
      {"communication",
       "update every k pushes, and let workers sum up locally (micro_steps): "
       "then they send and pull once a k-th as often"},
      {"none", "k 1, as usual"},
  };
  return tree;
}

}  // namespace accrue::ctl
