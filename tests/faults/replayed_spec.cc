#include "tests/faults/replayed_spec.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "tests/faults/gradient.h"

namespace accrue::faults {
namespace {

using client::Optimizer;

client::Hyperparameters RandomHyper(Optimizer optimizer,
                                    std::mt19937_64& random) {
  client::Hyperparameters hyper = {.learning_rate = 0.01};
  if (optimizer == Optimizer::kSgd) {
    hyper.beta1 = 0.9;
    hyper.dampening = random() % 2 == 0 ? 0.9 : 0.0;
    hyper.weight_decay = random() % 2 == 0 ? 0.01 : 0.0;
  } else {
    hyper.beta2 = random() % 2 == 0 ? 0.999 : 0.95;
    hyper.epsilon = 1e-8;
  }
  if (optimizer == Optimizer::kAdamW) hyper.weight_decay = 0.1;
  return hyper;
}

}  // namespace

ReplayedSpec MakeReplayedSpec(const std::string& name, uint64_t seed,
                              int64_t size) {
  std::mt19937_64 random(MixSeed(seed, 0));
  ReplayedSpec made;
  client::ModelSpec& spec = made.spec;
  spec.name = name;
  constexpr Optimizer kOptimizers[] = {Optimizer::kSgd, Optimizer::kAdam,
                                       Optimizer::kAdamW};
  spec.optimizer.optimizer = kOptimizers[random() % 3];
  spec.optimizer.second_moment =
      random() % 2 == 0 || spec.optimizer.optimizer == Optimizer::kSgd
          ? client::SecondMoment::kArticle
          : client::SecondMoment::kAdamA;
  // Stale pushes are folded, so that no worker waits for another.
  const bool dampens = random() % 2 == 0;
  spec.max_staleness = dampens ? 1 : -1;
  spec.stale_policy =
      dampens ? client::StalePolicy::kDampen : client::StalePolicy::kReject;

  made.micro_steps = random() % 4 == 0 ? 2 : 1;
  made.description = absl::StrCat(client::Name(spec.optimizer.optimizer), ", ",
                                  client::Name(spec.optimizer.second_moment),
                                  dampens ? ", dampens" : "", ", micro-steps ",
                                  made.micro_steps, ", k");
  const bool shared = random() % 2 == 0;
  for (const char* group : {"a", "b", "c"}) {
    if (shared && *group == 'c') break;
    const int64_t k = made.micro_steps * static_cast<int64_t>(1 + random() % 5);
    spec.groups.push_back(
        {.name = group,
         .k = k,
         .hyperparameters = RandomHyper(spec.optimizer.optimizer, random)});
    absl::StrAppend(&made.description, " ", k);
  }
  spec.tensors = {
      {.name = "first", .shape = {size, 7}, .group = "a"},
      {.name = "second", .shape = {size, 33}, .group = "b"},
      {.name = "third", .shape = {size, 5}, .group = shared ? "a" : "c"}};
  made.initial = Gradient::Random(MixSeed(seed, 1), client::Encoding::kF32,
                                  client::ElementCount(spec))
                     .floats();
  return made;
}

}  // namespace accrue::faults
