#include "client/examples/fashion_mnist/plan.h"

#include <cmath>

namespace accrue::fashion_mnist {

Mlp<float> MakeNetwork() { return Mlp<float>({kPixels, 256, 128, kClasses}); }

client::ModelSpec MakeSpec(const Plan& plan, int64_t batches_per_epoch) {
  client::ModelSpec spec;
  spec.name = plan.model;
  const Mlp<float> network = MakeNetwork();
  for (const auto& tensor : network.tensors()) {
    spec.tensors.push_back({.name = tensor.name, .shape = tensor.shape});
  }
  const int64_t warmup_updates = batches_per_epoch / 2;
  client::Hyperparameters hyperparameters;
  hyperparameters.learning_rate = plan.learning_rate;
  hyperparameters.weight_decay = 0.01;
  hyperparameters.schedule = client::Schedule{
      .kind = client::Schedule::Kind::kCosine,
      .warmup_updates = warmup_updates,
      .total_updates = plan.epochs * batches_per_epoch - warmup_updates,
      .final_factor = 0.01};
  spec.groups = {{.name = "all",
                  .k = plan.workers * plan.micro_steps,
                  .hyperparameters = hyperparameters}};
  spec.optimizer.optimizer = client::Optimizer::kAdamW;
  spec.optimizer.decay = client::Decay::kPerCycle;
  spec.optimizer.buffering = plan.buffering;
  spec.max_staleness = 0;
  spec.max_pushes_per_worker = plan.micro_steps;
  return spec;
}

std::vector<client::Initializer> MakeInitializers() {
  std::vector<client::Initializer> initializers;
  const Mlp<float> network = MakeNetwork();
  for (const auto& tensor : network.tensors()) {
    client::Initializer initializer{.tensor = tensor.name};
    if (tensor.shape.size() == 2) {
      const auto fan_in = static_cast<double>(tensor.shape[1]);
      initializer.kind = client::Initializer::Normal{
          .mean = 0, .stddev = std::sqrt(2 / fan_in)};
    }
    initializers.push_back(initializer);
  }
  return initializers;
}

}  // namespace accrue::fashion_mnist
