#include "tests/fuzz/any_spec.h"

#include <cstdint>
#include <string>

#include "absl/strings/str_cat.h"
#include "server/rule/schedule.h"
#include "tests/fuzz/any_value.h"

namespace accrue::fuzz {
namespace {

// Any enumerator, or, now and then, a number that is none.
template <typename Enum>
Enum AnyOf(FuzzedDataProvider& in, int last) {
  const int value = in.ConsumeIntegralInRange(0, last - 1) + 1;
  return static_cast<Enum>(Changes(in) ? AnyInteger(in, value) : value);
}

bool Often(FuzzedDataProvider& in) {
  return in.ConsumeIntegral<uint8_t>() % 4 == 3;
}

v1::Schedule AnySchedule(FuzzedDataProvider& in) {
  v1::Schedule schedule;
  schedule.set_kind(AnyOf<v1::Schedule::Kind>(in, 6));
  schedule.set_warmup_updates(AnyInteger(in, in.ConsumeIntegralInRange(0, 3)));
  schedule.set_total_updates(AnyInteger(in, 5));
  schedule.set_step_updates(AnyInteger(in, 2));
  schedule.set_gamma(AnyNumber(in, 0.5));
  schedule.set_final_factor(AnyNumber(in, 0.1));
  return schedule;
}

v1::GroupSpec AnyGroup(FuzzedDataProvider& in, int index, int64_t k) {
  v1::GroupSpec group;
  group.set_name(Changes(in) ? in.ConsumeBytesAsString(3)
                             : absl::StrCat("g", index));
  group.set_k(AnyInteger(in, k));
  if (Changes(in)) group.set_update_every(AnyInteger(in, k));
  *group.mutable_hyperparameters() = AnyHyperparameters(in);
  if (Often(in)) {
    v1::AdaptiveK& adaptive = *group.mutable_adaptive_k();
    adaptive.set_min_k(AnyInteger(in, k));
    adaptive.set_max_k(AnyInteger(in, 4 * k));
    if (Changes(in)) adaptive.set_hysteresis(AnyNumber(in, 0.5));
  }
  return group;
}

// Mostly one that can be: what depends on something else is seldom other than
// what goes with anything.
v1::OptimizerSpec AnyOptimizer(FuzzedDataProvider& in) {
  v1::OptimizerSpec spec;
  spec.set_optimizer(AnyOf<v1::Optimizer>(in, 6));
  spec.set_buffering(AnyOf<v1::Buffering>(in, 3));
  const bool embedded = spec.buffering() == v1::BUFFERING_EMBEDDED;
  spec.set_decay(embedded || Changes(in) ? AnyOf<v1::Decay>(in, 4)
                                         : v1::DECAY_PER_CYCLE);
  const bool corrects =
      embedded && spec.decay() == v1::DECAY_PER_CYCLE && in.ConsumeBool();
  spec.set_second_moment(corrects ? AnyOf<v1::SecondMoment>(in, 3)
                                  : v1::SECOND_MOMENT_ARTICLE);
  spec.set_epsilon_place(AnyOf<v1::EpsilonPlace>(in, 2));
  spec.set_learning_rate_scaling(AnyOf<v1::LearningRateScaling>(in, 3));
  spec.set_clip_scope(Changes(in) ? v1::CLIP_SCOPE_MODEL
                                  : v1::CLIP_SCOPE_GROUP);
  spec.set_nesterov(Changes(in));
  if (Changes(in)) spec.set_slide_beta2(in.ConsumeBool());
  return spec;
}

void AddTensors(FuzzedDataProvider& in, int groups, v1::ModelSpec& spec) {
  const int tensors = in.ConsumeIntegralInRange(groups, groups + 2);
  for (int i = 0; i < tensors; ++i) {
    v1::TensorSpec& tensor = *spec.add_tensors();
    tensor.set_name(Changes(in) ? in.ConsumeBytesAsString(3)
                                : absl::StrCat("t", i));
    for (int rank = in.ConsumeIntegralInRange(0, 2); rank > 0; --rank) {
      tensor.add_shape(
          AnyInteger(in, in.ConsumeIntegralInRange<int64_t>(1, 17)));
    }
    // A first group's name may be left out.
    if (i % groups != 0 || Changes(in)) {
      tensor.set_group(absl::StrCat("g", i % groups));
    }
  }
}

}  // namespace

v1::Hyperparameters AnyHyperparameters(FuzzedDataProvider& in) {
  v1::Hyperparameters hyper;
  if (!Changes(in)) hyper.set_learning_rate(AnyNumber(in, 0.1));
  // Half of the groups have some others than by default.
  if (in.ConsumeBool()) return hyper;
  if (Often(in)) hyper.set_beta1(AnyNumber(in, 0.9));
  if (Often(in)) hyper.set_beta2(AnyNumber(in, 0.9));
  if (Often(in)) hyper.set_epsilon(AnyNumber(in, 1e-6));
  if (Changes(in)) hyper.set_dampening(AnyNumber(in, 0.9));
  if (Often(in)) hyper.set_weight_decay(AnyNumber(in, 0.01));
  if (Often(in)) hyper.set_clip_norm(AnyNumber(in, 1));
  if (Often(in)) hyper.set_clip_push_norm(AnyNumber(in, 1));
  if (Often(in)) *hyper.mutable_schedule() = AnySchedule(in);
  return hyper;
}

v1::ModelSpec AnySpec(FuzzedDataProvider& in) {
  v1::ModelSpec spec;
  spec.set_name(Changes(in) ? in.ConsumeBytesAsString(4) : "m");
  *spec.mutable_optimizer() = AnyOptimizer(in);
  const int groups = in.ConsumeIntegralInRange(1, 3);
  const auto k = in.ConsumeIntegralInRange<int64_t>(1, 4);
  for (int i = 0; i < groups; ++i) {
    *spec.add_groups() =
        AnyGroup(in, i, k * in.ConsumeIntegralInRange<int64_t>(1, 2));
  }
  AddTensors(in, groups, spec);
  spec.set_max_staleness(
      AnyInteger(in, in.ConsumeIntegralInRange<int64_t>(-1, 1)));
  spec.set_stale_policy(AnyOf<v1::StalePolicy>(in, 3));
  spec.set_durability(Changes(in) ? AnyOf<v1::Durability>(in, 2)
                                  : v1::DURABILITY_MEMORY);
  if (Changes(in)) spec.set_max_pushes_per_worker(AnyInteger(in, 4));
  if (Changes(in)) {
    spec.mutable_cycle_timeout()->set_seconds(AnyInteger(in, 1));
    spec.mutable_cycle_timeout()->set_nanos(
        static_cast<int32_t>(AnyInteger(in, 0)));
  }
  if (Changes(in)) spec.set_min_pushes(AnyInteger(in, 2));
  if (Changes(in)) spec.set_nominal_weight(AnyNumber(in, 2));
  if (Changes(in)) spec.set_max_publications(AnyInteger(in, 3));
  return spec;
}

v1::InitializeModelHeader AnyInitialization(FuzzedDataProvider& in,
                                            const v1::ModelSpec& spec) {
  v1::InitializeModelHeader header;
  header.set_model(spec.name());
  header.set_seed(AnyInteger(in, 1));
  for (const v1::TensorSpec& tensor : spec.tensors()) {
    v1::Initializer& initializer = *header.add_initializers();
    initializer.set_tensor(tensor.name());
    switch (in.ConsumeIntegralInRange(0, 2)) {
      case 0:
        initializer.set_constant(AnyNumber(in, 0.5));
        break;
      case 1:
        initializer.mutable_uniform()->set_low(AnyNumber(in, -1));
        initializer.mutable_uniform()->set_high(AnyNumber(in, 1));
        break;
      default:
        initializer.mutable_normal()->set_mean(AnyNumber(in, 0));
        initializer.mutable_normal()->set_stddev(AnyNumber(in, 1));
    }
  }
  return header;
}

bool IsTame(const rule::RuleSpec& rule) {
  const rule::Hyperparameters& hyper = rule.hyper;
  const double rate =
      hyper.learning_rate * rule::ScalingFactor(rule.lr_scaling, rule.k);
  return rate <= 1 && hyper.weight_decay <= 0.01 && hyper.epsilon >= 1e-6;
}

}  // namespace accrue::fuzz
