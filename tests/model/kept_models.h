// KeptModels: models that are stored, appended and taken up again in tests:
// whatever a rule keeps between pushes, one of them has it.
#ifndef ACCRUE_TESTS_MODEL_KEPT_MODELS_H_
#define ACCRUE_TESTS_MODEL_KEPT_MODELS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "server/model/spec.h"
#include "tests/model/harness.h"

namespace accrue {

// Two groups with cycles of 2 and 4, of tensors that take turns.
inline ModelSpec TwoGroups(const std::string& name) {
  ModelSpec spec = SimpleSpec(7, 2);
  spec.name = name;
  GroupSpec slow = spec.groups[0];
  slow.name = "slow";
  slow.k = slow.update_every = 4;
  spec.groups.push_back(slow);
  spec.tensors.push_back({.name = "v", .shape = {3, 5}, .group = "slow"});
  spec.tensors.push_back({.name = "u", .shape = {9}, .group = "all"});
  for (GroupSpec& group : spec.groups) {
    group.hyper.learning_rate = 0.05;
    group.hyper.beta1 = 0.875;
    group.hyper.schedule.kind = rule::Schedule::Kind::kCosine;
    group.hyper.schedule.total_updates = 50;
    group.hyper.schedule.warmup_updates = 3;
  }
  return spec;
}
inline constexpr int64_t kTwoGroupsElems = 7 + 15 + 9;

struct KeptModel {
  std::string name;
  std::function<void(ModelSpec&)> change;  // of TwoGroups
};

inline std::vector<KeptModel> KeptModels() {
  const auto sgd = [](ModelSpec& spec) {
    for (GroupSpec& group : spec.groups) group.hyper.weight_decay = 0.01;
  };
  return {KeptModel{"sgd", sgd},
          KeptModel{"adam",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kAdam;
                    }},
          KeptModel{"signum",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kSignum;
                    }},
          KeptModel{"lion",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kLion;
                      spec.optimizer.buffering = rule::Buffering::kClassic;
                    }},
          KeptModel{"lamb",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kLamb;
                    }},
          KeptModel{"nesterov",
                    [sgd](ModelSpec& spec) {
                      sgd(spec);
                      spec.optimizer.nesterov = true;
                    }},
          KeptModel{"adamw",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                      spec.groups[0].hyper.clip_norm = 0.25;
                      spec.groups[1].hyper.clip_push_norm = 1;
                    }},
          KeptModel{"corrected",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kAdam;
                      spec.optimizer.second_moment =
                          rule::SecondMoment::kCorrected;
                    }},
          KeptModel{"sliding",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                      spec.optimizer.decay = rule::Decay::kSliding;
                    }},
          KeptModel{"classic",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kAdam;
                      spec.optimizer.buffering = rule::Buffering::kClassic;
                    }},
          KeptModel{"classic_nesterov",
                    [sgd](ModelSpec& spec) {
                      sgd(spec);
                      spec.optimizer.nesterov = true;
                      spec.optimizer.buffering = rule::Buffering::kClassic;
                    }},
          KeptModel{"gather",
                    [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                      spec.optimizer.buffering = rule::Buffering::kGather;
                    }},
          KeptModel{"adaptive_k", [](ModelSpec& spec) {
                      spec.optimizer.optimizer = rule::Optimizer::kAdamW;
                      for (GroupSpec& group : spec.groups) {
                        group.adaptive_k = {
                            .min_k = 1, .max_k = 8, .hysteresis = 0};
                      }
                    }}};
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_KEPT_MODELS_H_
