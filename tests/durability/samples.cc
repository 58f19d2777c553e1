#include "tests/durability/samples.h"

#include <string>

namespace accrue {
namespace {

rule::Hyperparameters Hyper(double learning_rate) {
  return {.learning_rate = learning_rate,
          .beta1 = 0.875,
          .beta2 = 0.99,
          .epsilon = 1e-7,
          .dampening = 0.0,
          .weight_decay = 0.01,
          .clip_norm = 2.5,
          .clip_push_norm = 3.5,
          .schedule = {.kind = rule::Schedule::Kind::kCosine,
                       .warmup_updates = 3,
                       .total_updates = 100,
                       .step_updates = 7,
                       .gamma = 0.5,
                       .final_factor = 0.1}};
}

GroupState Group(int64_t k, double odd) {
  GroupState group;
  group.hyper = Hyper(1e-3 * odd);
  group.k = k;
  group.update_every = k;
  group.cycle = {.position = 1,
                 .updates = 5,
                 .since_update = 1,
                 .micro_steps = 1,
                 .mass1 = 0.1 * odd,
                 .mass2 = 0.01 * odd,
                 .noise = {.moment = {1.0 / 3, 0.25, 1e-30, 0.5},
                           .cycle = {0.2, 0.125, 1e30, 0.75},
                           .before = {0.3, 0.1, 5e-324, 0.7}},
                 .correction = {.push_shares = 0.6,
                                .cycle_shares = 0.7,
                                .cycle_mass = 0.8},
                 .active = Hyper(2e-3)};
  group.version = 4;
  group.gather_begin = 0;
  group.clip_norm = 1.75;
  group.noise = NoiseReading{.estimate = {1.5, 2.5, 0.5},
                             .variation = {.value = 9.5, .at_least = true},
                             .updates = 5};
  return group;
}

}  // namespace

ModelSpec SampleSpec() {
  ModelSpec spec;
  spec.name = "mnist-1.2_b";
  spec.tensors = {{.name = "layer/1.weight", .shape = {2, 3}, .group = "all"},
                  {.name = "layer/1.bias", .shape = {3}, .group = "bias"},
                  {.name = "scale", .shape = {}, .group = "all"}};
  spec.groups = {{.name = "all", .k = 2, .update_every = 2, .hyper = Hyper(1)},
                 {.name = "bias",
                  .k = 4,
                  .update_every = 4,
                  .hyper = Hyper(0.1),
                  .adaptive_k = rule::AdaptiveK{
                      .min_k = 2, .max_k = 8, .hysteresis = 0.5}}};
  spec.optimizer = {.optimizer = rule::Optimizer::kLamb,
                    .decay = rule::Decay::kSliding,
                    .buffering = rule::Buffering::kEmbedded,
                    .second_moment = rule::SecondMoment::kArticle,
                    .epsilon_place = rule::EpsilonPlace::kInside,
                    .lr_scaling = rule::LrScaling::kSqrt,
                    .clip_scope = rule::ClipScope::kGroup,
                    .nesterov = false,
                    .slide_beta2 = false};
  spec.max_staleness = 3;
  spec.stale_policy = StalePolicy::kDampen;
  spec.max_pushes_per_worker = 100;
  spec.cycle_timeout = absl::Minutes(1) + absl::Nanoseconds(1500000001);
  spec.min_pushes = 2;
  spec.nominal_weight = 32;
  spec.max_publications = 5;
  spec.durability = Durability::kJournal;
  return spec;
}

ModelSpec GatheringSpec() {
  ModelSpec spec = SampleSpec();
  spec.optimizer.buffering = rule::Buffering::kGather;
  spec.optimizer.decay = rule::Decay::kPerCycle;
  spec.groups[1].adaptive_k.reset();
  spec.max_staleness = 0;
  return spec;
}

TrainingState SampleState() {
  const std::string lineage(32, 'a');
  TrainingState state;
  state.version = Version{.lineage = lineage, .number = 4};
  state.folded_pushes = 13;
  state.published_folded_pushes = 12;
  state.groups = {Group(2, 1.1), Group(4, 1.3)};
  state.sessions = {
      {.worker = "ann",
       .id = std::string(32, '1'),
       .last_outcome = std::nullopt},
      {.worker = "bob",
       .id = std::string(32, '2'),
       .last_sequence = 7,
       .last_outcome = PushOutcome{.folded_pushes = 13,
                                   .version = {lineage, 4},
                                   .published = true,
                                   .duplicate = false,
                                   .groups = {{5, 1, 2}, {3, 0, 4}}},
       .last_hash = 0xfedcba9876543210}};
  state.fenced_sessions = {std::string(32, '3'), std::string(32, '0')};
  state.pushes_this_version = {{"ann", 1}, {"bob", 2}};
  state.window = 6;
  state.window_pushes = 1;
  state.loss_sum = 0.7;
  state.loss_count = 1;
  state.last_loss = 0.30000000000000004;
  state.short_cycles = 2;
  state.received_bytes = int64_t{1} << 60;
  state.micro_steps = 1;
  state.recent_micro_steps = {{1, 6}, {2, 3}};
  state.k_changes = {{.group = 1,
                      .from = 2,
                      .to = 4,
                      .variation = {.value = 3.5, .at_least = false},
                      .updates = 2}};
  return state;
}

}  // namespace accrue
