#include "client/examples/experiments/method.h"

#include <utility>

namespace accrue::experiments {
namespace {

client::Decay DecayOf(Method method) {
  switch (method) {
    case Method::kBetaOnly:
    case Method::kFull:
      return client::Decay::kSliding;
    case Method::kSparseOnly:
      return client::Decay::kPerPush;
    case Method::kStandard:
    case Method::kAccumulation:
      break;
  }
  return client::Decay::kPerCycle;
}

}  // namespace

absl::string_view Name(Method method) {
  switch (method) {
    case Method::kStandard:
      return "standard";
    case Method::kBetaOnly:
      return "beta_only";
    case Method::kSparseOnly:
      return "sparse_only";
    case Method::kAccumulation:
      return "accumulation";
    case Method::kFull:
      return "full";
  }
  return "unknown";
}

int64_t PushesPerUpdate(const Setting& setting) {
  const bool every_push = setting.method == Method::kStandard ||
                          setting.method == Method::kBetaOnly;
  return every_push ? 1 : setting.k;
}

client::ModelSpec MakeSpec(const Setting& setting, const std::string& name,
                           std::vector<client::TensorSpec> tensors) {
  const int64_t k = setting.method == Method::kStandard ? 1 : setting.k;
  client::Hyperparameters hyperparameters;
  hyperparameters.learning_rate = setting.learning_rate;
  hyperparameters.beta1 = setting.beta;
  if (setting.optimizer == client::Optimizer::kSgd) {
    hyperparameters.dampening = setting.dampening.value_or(setting.beta);
  }
  hyperparameters.clip_norm = setting.clip_norm;
  hyperparameters.clip_push_norm = setting.clip_push_norm;
  hyperparameters.schedule = setting.schedule;
  client::ModelSpec spec;
  spec.name = name;
  spec.tensors = std::move(tensors);
  spec.groups = {{.name = "all",
                  .k = k * setting.workers,
                  .update_every = PushesPerUpdate(setting) * setting.workers,
                  .hyperparameters = hyperparameters,
                  .adaptive_k = setting.adaptive_k}};
  spec.optimizer.optimizer = setting.optimizer;
  spec.optimizer.decay = DecayOf(setting.method);
  spec.optimizer.learning_rate_scaling = setting.scaling;
  // The article's tables slide beta1 alone.
  if (spec.optimizer.decay == client::Decay::kSliding &&
      setting.optimizer != client::Optimizer::kSgd) {
    spec.optimizer.slide_beta2 = false;
  }
  spec.max_staleness = 0;
  // Where k changes, so does a worker's share: then it has none.
  if (!setting.adaptive_k.has_value()) {
    spec.max_pushes_per_worker = PushesPerUpdate(setting);
  }
  return spec;
}

}  // namespace accrue::experiments
