#include "tests/conformance/training_run.h"

#include <algorithm>
#include <random>

namespace accrue::kernels {
namespace {

bool IsAllowed(const GroupTraits& group) {
  if (rule::StepsBySign(group.optimizer) &&
      (group.nesterov || group.l2 ||
       group.epsilon_place == rule::EpsilonPlace::kInside)) {
    return false;
  }
  const bool adaptive = rule::HasSecondMoment(group.optimizer);
  const bool embedded = group.buffering == rule::Buffering::kEmbedded;
  if (group.mixes && embedded && group.clipped) return false;
  if (group.corrects && !(adaptive && embedded)) return false;
  if (adaptive && group.nesterov) return false;
  if (adaptive && embedded && group.l2) return false;
  return !(embedded && group.nesterov && group.clipped);
}

bool IsEmbedded(const GroupTraits& group) {
  return group.buffering == rule::Buffering::kEmbedded;
}
bool IsGather(const GroupTraits& group) {
  return group.buffering == rule::Buffering::kGather;
}

}  // namespace

std::vector<GroupTraits> AllGroupTraits() {
  std::vector<GroupTraits> all;
  for (const auto optimizer :
       {rule::Optimizer::kSgd, rule::Optimizer::kAdam, rule::Optimizer::kSignum,
        rule::Optimizer::kLion, rule::Optimizer::kLamb}) {
    for (const auto buffering :
         {rule::Buffering::kEmbedded, rule::Buffering::kClassic,
          rule::Buffering::kGather}) {
      for (int bits = 0; bits < 32; ++bits) {
        const GroupTraits group = {
            .optimizer = optimizer,
            .buffering = buffering,
            .epsilon_place = (bits & 1) != 0 ? rule::EpsilonPlace::kInside
                                             : rule::EpsilonPlace::kOutside,
            .nesterov = (bits & 2) != 0,
            .l2 = (bits & 4) != 0,
            .clipped = (bits & 8) != 0,
            .mixes = optimizer == rule::Optimizer::kLion,
            .corrects = (bits & 16) != 0};
        if (IsAllowed(group)) all.push_back(group);
      }
    }
  }
  return all;
}

ModelTraits RandomModel(Random& random) {
  constexpr int64_t kSizes[] = {0,
                                1,
                                3,
                                15,
                                16,
                                17,
                                4099,
                                kBlockElems - 1,
                                kBlockElems,
                                kBlockElems + 1,
                                5 * kBlockElems + 13};
  const std::vector<GroupTraits> all = AllGroupTraits();
  ModelTraits model;
  const auto group_count = static_cast<int32_t>(1 + random() % 3);
  const int64_t k_min = 1 + static_cast<int64_t>(random() % 7);
  const GroupTraits first = all[random() % all.size()];
  while (static_cast<int32_t>(model.groups.size()) < group_count) {
    GroupTraits group = all[random() % all.size()];
    if (group.buffering != first.buffering) continue;
    group.k = k_min * (1 + static_cast<int64_t>(random() % 2));
    model.groups.push_back(group);
  }
  // A norm over groups needs them to be clipped alike.
  if (!IsEmbedded(first) && random() % 2 == 0) {
    model.clip_over_groups = true;
    for (GroupTraits& group : model.groups) {
      group.clipped = true;
      group.k = k_min;
    }
  }
  const size_t tensor_count = 1 + random() % 5;
  for (size_t i = 0; i < tensor_count; ++i) {
    model.tensor_elems.push_back(kSizes[random() % std::size(kSizes)]);
    model.tensor_groups.push_back(
        static_cast<int32_t>(random() % static_cast<uint64_t>(group_count)));
  }
  return model;
}

std::vector<PassPlan> OneByOne(const PassPlan& plan) {
  const size_t count = plan.chains.size();
  if (count == 0) return {plan};
  std::vector<PassPlan> plans(count);
  for (size_t p = 0; p < count; ++p) {
    PassPlan& one = plans[p];
    one.chains = {plan.chains[p]};
    one.encodings = {plan.encodings[p]};
    one.clip_over_groups = plan.clip_over_groups;
    for (const GroupPass& group : plan.groups) {
      GroupPass part = group;
      const bool last = p + 1 == count;
      const bool embedded = group.buffering == rule::Buffering::kEmbedded;
      if (!group.pushes.empty()) part.pushes = {group.pushes[p]};
      if (embedded ? p != 0 : !last) part.look_ahead.reset();
      if (!last) {
        part.buffer_fold.reset();
        part.update.reset();
      }
      one.groups.push_back(part);
    }
  }
  return plans;
}

Pass Parameters::Bind(const PassPlan& plan) {
  Pass pass;
  pass.groups = plan.groups;
  pass.clip_over_groups = plan.clip_over_groups;
  for (size_t p = 0; p < plan.chains.size(); ++p) {
    pass.payloads.push_back({plan.chains[p].get(), plan.encodings[p]});
  }
  for (size_t g = 0; g < pass.groups.size(); ++g) {
    pass.groups[g].theta = theta[g].data();
    pass.groups[g].next = next[g].data();
  }
  return pass;
}

void Parameters::Publish(const PassPlan& plan) {
  for (size_t g = 0; g < plan.groups.size(); ++g) {
    if (plan.groups[g].update) theta[g].swap(next[g]);
  }
}

TrainingRun::TrainingRun(const ModelTraits& model, uint64_t seed)
    : model_(model),
      blocks_(std::make_shared<const BlockMap>(
          MakeBlockMap(model.tensor_elems, model.tensor_groups,
                       static_cast<int32_t>(model.groups.size())))),
      positions_(model.groups.size()),
      random_(seed) {}

ShardOptions TrainingRun::shard_options() const {
  ShardOptions options;
  options.blocks = blocks_;
  for (const GroupTraits& group : model_.groups) {
    options.has_variance |= rule::HasSecondMoment(group.optimizer);
    options.has_accumulation |= !IsEmbedded(group) && !IsGather(group);
  }
  return options;
}

Parameters TrainingRun::RandomParameters() {
  Parameters parameters;
  for (const int64_t elems : blocks_->group_elems) {
    parameters.theta.push_back(RandomFloats(elems, random_));
    parameters.next.push_back(RandomFloats(elems, random_));
  }
  return parameters;
}

PassPlan TrainingRun::NextPass(int64_t max_pushes) {
  if (IsGather(model_.groups[0])) return NextGatheringPass(max_pushes);
  // All groups are nested, so the one nearest to its end ends first.
  int64_t until_update = INT64_MAX;
  bool midway = true;
  for (size_t g = 0; g < model_.groups.size(); ++g) {
    until_update = std::min(until_update, model_.groups[g].k - positions_[g]);
    midway &= positions_[g] > 0;
  }
  const bool close = midway && random_() % 8 == 0;
  const int64_t pushes =
      close ? 0
            : 1 + static_cast<int64_t>(random_() %
                                       static_cast<uint64_t>(
                                           std::min(max_pushes, until_update)));
  PassPlan plan;
  plan.clip_over_groups = model_.clip_over_groups;
  AddPayloads(pushes, plan);
  for (size_t g = 0; g < model_.groups.size(); ++g) {
    const bool ends = close || positions_[g] + pushes == model_.groups[g].k;
    plan.groups.push_back(
        NextGroupPass(model_.groups[g], positions_[g], pushes, ends));
    positions_[g] = ends ? 0 : positions_[g] + pushes;
  }
  return plan;
}

// Whole cycles, each of some of the pushes that came since another's.
PassPlan TrainingRun::NextGatheringPass(int64_t max_pushes) {
  const int64_t count =
      1 + static_cast<int64_t>(random_() % static_cast<uint64_t>(max_pushes));
  PassPlan plan;
  plan.clip_over_groups = model_.clip_over_groups;
  AddPayloads(count, plan);
  for (const GroupTraits& traits : model_.groups) {
    std::vector<int32_t> payloads;
    for (int32_t p = 0; p < count; ++p) {
      if (p + 1 == count || random_() % 4 != 0) payloads.push_back(p);
    }
    if (plan.groups.size() + 1 < model_.groups.size() &&
        !model_.clip_over_groups && random_() % 4 == 0) {
      plan.groups.emplace_back();  // untouched
      continue;
    }
    const auto pushes = static_cast<int64_t>(payloads.size());
    GroupPass& group =
        plan.groups.emplace_back(NextGroupPass(traits, 0, pushes, true));
    if (pushes < count || random_() % 2 == 0) group.payloads = payloads;
  }
  return plan;
}

float TrainingRun::Pick(std::initializer_list<float> special, float low,
                        float high) {
  if (random_() % 2 == 0) {
    return *(special.begin() + random_() % special.size());
  }
  return std::uniform_real_distribution<float>(low, high)(random_);
}

void TrainingRun::AddPayloads(int64_t count, PassPlan& plan) {
  constexpr Encoding kEncodings[] = {Encoding::kF32, Encoding::kBf16,
                                     Encoding::kF16, Encoding::kInt8,
                                     Encoding::kTopK};
  constexpr int64_t kMaxSpans[] = {61, 1000, 50000, 1 << 24};
  for (int64_t p = 0; p < count; ++p) {
    const Encoding encoding = kEncodings[random_() % std::size(kEncodings)];
    const int64_t max_span = blocks_->elems < 1000 && random_() % 2 == 0
                                 ? 3
                                 : kMaxSpans[random_() % 4];
    plan.encodings.push_back(encoding);
    plan.chains.push_back(std::make_shared<const ByteChain>(
        CutIntoSpans(RandomBytes(blocks_->elems, encoding, random_), max_span,
                     static_cast<int64_t>(random_() % 4), random_)));
  }
}

GroupPass TrainingRun::NextGroupPass(const GroupTraits& traits,
                                     int64_t position, int64_t pushes,
                                     bool ends) {
  GroupPass group;
  group.optimizer = traits.optimizer;
  group.epsilon_place = traits.epsilon_place;
  group.buffering = traits.buffering;
  group.nesterov = traits.nesterov;
  for (int64_t p = 0; p < pushes; ++p) {
    group.pushes.push_back({.mult = Pick({1, 0.125f}, 0, 2),
                            .keep1 = Pick({0, 1}, 0, 1),
                            .gain1 = Pick({0, 1}, 0, 1),
                            .keep2 = Pick({0, 1}, 0, 1),
                            .gain2 = Pick({0, 1}, 0, 1),
                            .weight = Pick({1, 4}, 0, 3),
                            .first = position + p == 0});
  }
  const float l2 = traits.l2 ? Pick({0.5f}, 0, 0.1f) : 0;
  const bool adaptive = rule::HasSecondMoment(traits.optimizer);
  const bool classic = !IsEmbedded(traits);
  if (traits.nesterov && (classic ? ends : position == 0)) {
    group.look_ahead = {.ahead = Pick({0.5f}, 0, 0.1f), .l2 = l2};
  }
  if (!ends) return group;
  group.measure = random_() % 2 == 0;
  if (classic) {
    group.buffer_fold = {.mean = Pick({1, 0.25f}, 0, 1),
                         .keep1 = Pick({0}, 0, 1),
                         .gain1 = Pick({1}, 0, 1),
                         .keep2 = Pick({0}, 0, 1),
                         .gain2 = Pick({1}, 0, 1),
                         .grad_l2 = adaptive ? l2 : 0};
  }
  group.update = {.lr = Pick({0.125f}, 0, 0.1f),
                  .l2 = adaptive || traits.nesterov ? 0 : l2,
                  .decay = Pick({1}, 0.9f, 1),
                  .inv_mass2 = Pick({1}, 1, 1000),
                  .epsilon = Pick({1e-8f}, 1e-8f, 1e-3f)};
  if (traits.optimizer == rule::Optimizer::kLamb) {
    group.update->inv_mass1 = Pick({1}, 1, 10);
    group.update->weight_decay = Pick({0}, 0, 0.1f);
    group.update->rate = static_cast<double>(Pick({0.125f}, 0, 0.1f));
  }
  if (traits.corrects) {
    group.update->correction = {.inv_weight = Pick({1}, 1, 10),
                                .noise_gain = Pick({0}, 0, 1),
                                .noise_share = Pick({0.25f, 1}, 0, 2)};
  }
  if (traits.mixes && (classic || pushes > 0)) {
    group.update->mix_keep = Pick({0, 1}, 0, 1);
    group.update->mix_gain = Pick({1}, 0.1f, 1);
  }
  if (traits.clipped) {
    group.update->clip_norm = Pick({1e30f, 1e-3f}, 1, 100);
    group.update->norm_factor = Pick({1}, 1, 10);
  }
  return group;
}

}  // namespace accrue::kernels
