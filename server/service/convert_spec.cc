#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/service/api_enum.h"
#include "server/service/convert.h"
#include "server/service/field_count.h"

namespace accrue {
namespace {

constexpr EnumRow<v1::Optimizer, rule::Optimizer> kOptimizers[] = {
    {v1::OPTIMIZER_SGD, rule::Optimizer::kSgd},
    {v1::OPTIMIZER_ADAM, rule::Optimizer::kAdam},
    {v1::OPTIMIZER_ADAMW, rule::Optimizer::kAdamW},
    {v1::OPTIMIZER_SIGNUM, rule::Optimizer::kSignum},
    {v1::OPTIMIZER_LION, rule::Optimizer::kLion},
    {v1::OPTIMIZER_LAMB, rule::Optimizer::kLamb},
};
constexpr EnumRow<v1::Decay, rule::Decay> kDecays[] = {
    {v1::DECAY_PER_CYCLE, rule::Decay::kPerCycle},
    {v1::DECAY_PER_PUSH, rule::Decay::kPerPush},
    {v1::DECAY_SLIDING, rule::Decay::kSliding},
    {v1::DECAY_SLIDING_EXACT, rule::Decay::kSlidingExact},
};
constexpr EnumRow<v1::Buffering, rule::Buffering> kBufferings[] = {
    {v1::BUFFERING_EMBEDDED, rule::Buffering::kEmbedded},
    {v1::BUFFERING_CLASSIC, rule::Buffering::kClassic},
    {v1::BUFFERING_GATHER, rule::Buffering::kGather},
};
constexpr EnumRow<v1::SecondMoment, rule::SecondMoment> kSecondMoments[] = {
    {v1::SECOND_MOMENT_ARTICLE, rule::SecondMoment::kArticle},
    {v1::SECOND_MOMENT_ADAMA, rule::SecondMoment::kAdama},
    {v1::SECOND_MOMENT_CORRECTED, rule::SecondMoment::kCorrected},
};
constexpr EnumRow<v1::EpsilonPlace, rule::EpsilonPlace> kEpsilonPlaces[] = {
    {v1::EPSILON_PLACE_OUTSIDE, rule::EpsilonPlace::kOutside},
    {v1::EPSILON_PLACE_INSIDE, rule::EpsilonPlace::kInside},
};
constexpr EnumRow<v1::LearningRateScaling, rule::LrScaling> kScalings[] = {
    {v1::LEARNING_RATE_SCALING_CONSERVATIVE, rule::LrScaling::kConservative},
    {v1::LEARNING_RATE_SCALING_SQRT, rule::LrScaling::kSqrt},
    {v1::LEARNING_RATE_SCALING_LINEAR, rule::LrScaling::kLinear},
};
constexpr EnumRow<v1::ClipScope, rule::ClipScope> kClipScopes[] = {
    {v1::CLIP_SCOPE_GROUP, rule::ClipScope::kGroup},
    {v1::CLIP_SCOPE_MODEL, rule::ClipScope::kModel},
};
constexpr EnumRow<v1::StalePolicy, StalePolicy> kStalePolicies[] = {
    {v1::STALE_POLICY_REJECT, StalePolicy::kReject},
    {v1::STALE_POLICY_ACCEPT, StalePolicy::kAccept},
    {v1::STALE_POLICY_DAMPEN, StalePolicy::kDampen},
};
constexpr EnumRow<v1::Durability, Durability> kDurabilities[] = {
    {v1::DURABILITY_MEMORY, Durability::kMemory},
    {v1::DURABILITY_JOURNAL, Durability::kJournal},
};
constexpr EnumRow<v1::Schedule::Kind, rule::Schedule::Kind> kScheduleKinds[] = {
    {v1::Schedule::KIND_CONSTANT, rule::Schedule::Kind::kConstant},
    {v1::Schedule::KIND_LINEAR, rule::Schedule::Kind::kLinear},
    {v1::Schedule::KIND_COSINE, rule::Schedule::Kind::kCosine},
    {v1::Schedule::KIND_STEP, rule::Schedule::Kind::kStep},
    {v1::Schedule::KIND_EXPONENTIAL, rule::Schedule::Kind::kExponential},
    {v1::Schedule::KIND_INVERSE_SQUARE_ROOT,
     rule::Schedule::Kind::kInverseSquareRoot},
};

absl::Status Invalid(absl::string_view message) {
  return MakeError(absl::StatusCode::kInvalidArgument, Reason::kInvalidSpec,
                   message);
}

absl::StatusOr<rule::Schedule> ScheduleFromApi(const v1::Schedule& api,
                                               const std::string& field) {
  rule::Schedule schedule;
  ACCRUE_ASSIGN_OR_RETURN(schedule.kind,
                          FromApi(kScheduleKinds, api.kind(), field + ".kind"));
  schedule.warmup_updates = api.warmup_updates();
  schedule.total_updates = api.total_updates();
  schedule.step_updates = api.step_updates();
  if (schedule.kind == rule::Schedule::Kind::kStep ||
      schedule.kind == rule::Schedule::Kind::kExponential) {
    schedule.gamma = api.gamma();
  }
  schedule.final_factor = api.final_factor();
  return schedule;
}

v1::Schedule ToApi(const rule::Schedule& schedule) {
  v1::Schedule api;
  api.set_kind(ToApi(kScheduleKinds, schedule.kind));
  api.set_warmup_updates(schedule.warmup_updates);
  api.set_total_updates(schedule.total_updates);
  api.set_step_updates(schedule.step_updates);
  api.set_gamma(schedule.gamma);
  api.set_final_factor(schedule.final_factor);
  return api;
}

// The fields that are set, ready to replace those of any group.
absl::StatusOr<std::function<void(rule::Hyperparameters&)>> FieldChange(
    const v1::Hyperparameters& api, const std::string& field) {
  std::optional<rule::Schedule> schedule;
  if (api.has_schedule()) {
    ACCRUE_ASSIGN_OR_RETURN(
        schedule, ScheduleFromApi(api.schedule(), field + ".schedule"));
  }
  return [api, schedule](rule::Hyperparameters& hyper) {
    if (api.has_learning_rate()) hyper.learning_rate = api.learning_rate();
    if (api.has_beta1()) hyper.beta1 = api.beta1();
    if (api.has_beta2()) hyper.beta2 = api.beta2();
    if (api.has_epsilon()) hyper.epsilon = api.epsilon();
    if (api.has_dampening()) hyper.dampening = api.dampening();
    if (api.has_weight_decay()) hyper.weight_decay = api.weight_decay();
    if (api.has_clip_norm()) hyper.clip_norm = api.clip_norm();
    if (api.has_clip_push_norm()) hyper.clip_push_norm = api.clip_push_norm();
    if (schedule) hyper.schedule = *schedule;
  };
}

absl::StatusOr<OptimizerSpec> OptimizerFromApi(const v1::OptimizerSpec& api) {
  const std::string field = "spec.optimizer.";
  OptimizerSpec spec;
  ACCRUE_ASSIGN_OR_RETURN(spec.optimizer, FromApi(kOptimizers, api.optimizer(),
                                                  field + "optimizer"));
  ACCRUE_ASSIGN_OR_RETURN(spec.decay,
                          FromApi(kDecays, api.decay(), field + "decay"));
  ACCRUE_ASSIGN_OR_RETURN(spec.buffering, FromApi(kBufferings, api.buffering(),
                                                  field + "buffering"));
  ACCRUE_ASSIGN_OR_RETURN(
      spec.second_moment,
      FromApi(kSecondMoments, api.second_moment(), field + "second_moment"));
  ACCRUE_ASSIGN_OR_RETURN(
      spec.epsilon_place,
      FromApi(kEpsilonPlaces, api.epsilon_place(), field + "epsilon_place"));
  ACCRUE_ASSIGN_OR_RETURN(spec.lr_scaling,
                          FromApi(kScalings, api.learning_rate_scaling(),
                                  field + "learning_rate_scaling"));
  ACCRUE_ASSIGN_OR_RETURN(
      spec.clip_scope,
      FromApi(kClipScopes, api.clip_scope(), field + "clip_scope"));
  spec.nesterov = api.nesterov();
  if (api.has_slide_beta2()) spec.slide_beta2 = api.slide_beta2();
  return spec;
}

v1::OptimizerSpec ToApi(const OptimizerSpec& spec) {
  v1::OptimizerSpec api;
  api.set_optimizer(ToApi(kOptimizers, spec.optimizer));
  api.set_decay(ToApi(kDecays, spec.decay));
  api.set_buffering(ToApi(kBufferings, spec.buffering));
  api.set_second_moment(ToApi(kSecondMoments, spec.second_moment));
  api.set_epsilon_place(ToApi(kEpsilonPlaces, spec.epsilon_place));
  api.set_learning_rate_scaling(ToApi(kScalings, spec.lr_scaling));
  api.set_clip_scope(ToApi(kClipScopes, spec.clip_scope));
  api.set_nesterov(spec.nesterov);
  api.set_slide_beta2(spec.slide_beta2);
  return api;
}

absl::StatusOr<GroupSpec> GroupFromApi(const v1::GroupSpec& api,
                                       rule::Optimizer optimizer,
                                       const std::string& field) {
  GroupSpec group;
  group.name = api.name();
  group.k = api.k();
  if (api.has_update_every()) {
    // 0 would mean "k" below.
    if (api.update_every() < 1) {
      return Invalid(absl::StrCat(field, ".update_every: ", api.update_every(),
                                  ", want at least 1"));
    }
    group.update_every = api.update_every();
  }
  if (!api.hyperparameters().has_learning_rate()) {
    return Invalid(absl::StrCat(
        field, ".hyperparameters.learning_rate: unset, want a number"));
  }
  if (rule::HasDampening(optimizer)) group.hyper.beta1 = 0;
  if (optimizer == rule::Optimizer::kLion) group.hyper.beta2 = 0.99;
  ACCRUE_ASSIGN_OR_RETURN(
      const auto change,
      FieldChange(api.hyperparameters(), field + ".hyperparameters"));
  change(group.hyper);
  if (api.has_adaptive_k()) {
    rule::AdaptiveK& adaptive = group.adaptive_k.emplace();
    adaptive.min_k = api.adaptive_k().min_k();
    adaptive.max_k = api.adaptive_k().max_k();
    if (api.adaptive_k().has_hysteresis()) {
      adaptive.hysteresis = api.adaptive_k().hysteresis();
    }
  }
  return group;
}

v1::GroupSpec ToApi(const GroupSpec& group, rule::Optimizer optimizer) {
  v1::GroupSpec api;
  api.set_name(group.name);
  api.set_k(group.k);
  api.set_update_every(group.update_every);
  v1::Hyperparameters& hyper = *api.mutable_hyperparameters();
  hyper.set_learning_rate(group.hyper.learning_rate);
  hyper.set_beta1(group.hyper.beta1);
  if (rule::HasDampening(optimizer)) {
    hyper.set_dampening(group.hyper.dampening);
  } else {
    hyper.set_beta2(group.hyper.beta2);
  }
  if (rule::HasSecondMoment(optimizer)) {
    hyper.set_epsilon(group.hyper.epsilon);
  }
  hyper.set_weight_decay(group.hyper.weight_decay);
  hyper.set_clip_norm(group.hyper.clip_norm);
  hyper.set_clip_push_norm(group.hyper.clip_push_norm);
  *hyper.mutable_schedule() = ToApi(group.hyper.schedule);
  if (group.adaptive_k) {
    v1::AdaptiveK& adaptive = *api.mutable_adaptive_k();
    adaptive.set_min_k(group.adaptive_k->min_k);
    adaptive.set_max_k(group.adaptive_k->max_k);
    adaptive.set_hysteresis(group.adaptive_k->hysteresis);
  }
  return api;
}

TensorSpec TensorFromApi(const v1::TensorSpec& api) {
  return {.name = api.name(),
          .shape = {api.shape().begin(), api.shape().end()},
          .group = api.group()};
}

v1::TensorSpec ToApi(const TensorSpec& tensor) {
  v1::TensorSpec api;
  api.set_name(tensor.name);
  api.mutable_shape()->Add(tensor.shape.begin(), tensor.shape.end());
  api.set_group(tensor.group);
  return api;
}

}  // namespace

absl::StatusOr<ModelSpec> FromApi(const v1::ModelSpec& api,
                                  const SpecLimits& limits) {
  ACCRUE_RETURN_IF_ERROR(
      CheckCount("spec.tensors", api.tensors_size(), limits.max_tensors));
  ACCRUE_RETURN_IF_ERROR(
      CheckCount("spec.groups", api.groups_size(), limits.max_groups));
  ModelSpec spec;
  spec.name = api.name();
  ACCRUE_ASSIGN_OR_RETURN(spec.optimizer, OptimizerFromApi(api.optimizer()));
  spec.tensors.reserve(static_cast<size_t>(api.tensors_size()));
  for (int i = 0; i < api.tensors_size(); ++i) {
    const v1::TensorSpec& tensor = api.tensors(i);
    if (tensor.shape_size() > kMaxRank) {
      return CheckCount(absl::StrCat("spec.tensors[", i, "].shape"),
                        tensor.shape_size(), kMaxRank);
    }
    spec.tensors.push_back(TensorFromApi(tensor));
  }
  for (int i = 0; i < api.groups_size(); ++i) {
    ACCRUE_ASSIGN_OR_RETURN(
        GroupSpec group, GroupFromApi(api.groups(i), spec.optimizer.optimizer,
                                      absl::StrCat("spec.groups[", i, "]")));
    spec.groups.push_back(std::move(group));
  }
  spec.max_staleness = api.max_staleness();
  ACCRUE_ASSIGN_OR_RETURN(
      spec.stale_policy,
      FromApi(kStalePolicies, api.stale_policy(), "spec.stale_policy"));
  spec.max_pushes_per_worker = api.max_pushes_per_worker();
  if (api.has_cycle_timeout()) {
    ACCRUE_ASSIGN_OR_RETURN(spec.cycle_timeout,
                            FromApi(api.cycle_timeout(), "spec.cycle_timeout"));
  }
  if (api.has_min_pushes()) spec.min_pushes = api.min_pushes();
  if (api.has_nominal_weight()) spec.nominal_weight = api.nominal_weight();
  if (api.has_max_publications()) {
    spec.max_publications = api.max_publications();
  }
  ACCRUE_ASSIGN_OR_RETURN(
      spec.durability,
      FromApi(kDurabilities, api.durability(), "spec.durability"));
  return spec;
}

v1::ModelSpec ToApi(const ModelSpec& spec) {
  v1::ModelSpec api;
  api.set_name(spec.name);
  for (const TensorSpec& tensor : spec.tensors) {
    *api.add_tensors() = ToApi(tensor);
  }
  for (const GroupSpec& group : spec.groups) {
    *api.add_groups() = ToApi(group, spec.optimizer.optimizer);
  }
  *api.mutable_optimizer() = ToApi(spec.optimizer);
  api.set_max_staleness(spec.max_staleness);
  api.set_stale_policy(ToApi(kStalePolicies, spec.stale_policy));
  api.set_max_pushes_per_worker(spec.max_pushes_per_worker);
  if (spec.cycle_timeout != absl::InfiniteDuration()) {
    *api.mutable_cycle_timeout() = ToApi(spec.cycle_timeout);
  }
  api.set_min_pushes(spec.min_pushes);
  api.set_nominal_weight(spec.nominal_weight);
  api.set_max_publications(spec.max_publications);
  api.set_durability(ToApi(kDurabilities, spec.durability));
  return api;
}

absl::StatusOr<std::vector<HyperparameterUpdate>> FromApi(
    const v1::UpdateHyperparametersRequest& api, int64_t group_count) {
  // One of every group, and one of each.
  ACCRUE_RETURN_IF_ERROR(
      CheckCount("updates", api.updates_size(), group_count + 1));
  std::vector<HyperparameterUpdate> updates;
  for (int i = 0; i < api.updates_size(); ++i) {
    HyperparameterUpdate update;
    update.group = api.updates(i).group();
    ACCRUE_ASSIGN_OR_RETURN(
        update.change,
        FieldChange(api.updates(i).hyperparameters(),
                    absl::StrCat("updates[", i, "].hyperparameters")));
    updates.push_back(std::move(update));
  }
  return updates;
}

}  // namespace accrue
