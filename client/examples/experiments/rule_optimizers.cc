// The parts of RuleExperiment about which optimizers gradients can accumulate
// in, and about a k that follows the noise.

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/examples/experiments/method.h"
#include "client/examples/experiments/rule.h"
#include "client/examples/experiments/run.h"
#include "client/examples/experiments/steps.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

constexpr int64_t kK = 4;

client::ModelSpec AccumulatingSpec(client::Optimizer optimizer, int64_t size) {
  return MakeSpec({.method = Method::kAccumulation,
                   .k = kK,
                   .optimizer = optimizer,
                   .learning_rate = 1e-3},
                  "", {{.name = "theta", .shape = {size}}});
}

// Whether the daemon refuses the spec since the step needs a gradient that is
// gone once it is folded: but where beta1 = beta2.
absl::StatusOr<bool> IsRefused(const client::Client& client,
                               client::ModelSpec spec) {
  spec.name = UniqueModelName("refused");
  const auto model = client.CreateModel(spec);
  if (absl::IsInvalidArgument(model.status()) &&
      absl::StrContains(model.status().message(), "beta1 = beta2")) {
    return true;
  }
  ACCRUE_RETURN_IF_ERROR(model.status());
  ACCRUE_RETURN_IF_ERROR(client.DeleteModel(spec.name));
  return false;
}

}  // namespace

absl::Status MeasureOptimizers(const client::Client& client, Csv* table) {
  using client::Optimizer;
  constexpr int64_t kSize = 2000;
  constexpr int64_t kSkip = 20;
  constexpr int64_t kUpdates = 60;
  const NoisySource source(kSize, std::sqrt(0.1), 1);
  for (const Optimizer optimizer :
       {Optimizer::kSgd, Optimizer::kAdam, Optimizer::kAdamW,
        Optimizer::kSignum, Optimizer::kLamb, Optimizer::kLion}) {
    const std::string name(client::Name(optimizer));
    client::ModelSpec spec = AccumulatingSpec(optimizer, kSize);
    ACCRUE_ASSIGN_OR_RETURN(const bool refused, IsRefused(client, spec));
    table->Row("refused", name, 0.9, kK, "conservative", refused ? 1 : 0);
    if (refused) continue;
    client::ModelSpec classic = spec;
    classic.optimizer.buffering = client::Buffering::kClassic;
    ACCRUE_ASSIGN_OR_RETURN(
        const Steps wanted,
        CollectSteps(client, classic, source, kSkip, kUpdates));
    const auto measure = [&](const std::string& method) -> absl::Status {
      ACCRUE_ASSIGN_OR_RETURN(
          const Steps steps,
          CollectSteps(client, spec, source, kSkip, kUpdates));
      table->Row("classic_difference", method, 0.9, kK, "conservative",
                 RelativeDifference(steps, wanted));
      return absl::OkStatus();
    };
    ACCRUE_RETURN_IF_ERROR(measure(name));
    if (optimizer != Optimizer::kAdamW) continue;
    spec.optimizer.second_moment = client::SecondMoment::kCorrected;
    ACCRUE_RETURN_IF_ERROR(measure("corrected"));
  }
  return absl::OkStatus();
}

absl::Status MeasureAdaptiveK(const client::Client& client, Csv* table) {
  constexpr int64_t kSize = 20'000;
  struct Stretch {
    const char* name;
    double deviation;
    int64_t pushes;
  };
  // The momentum remembers 10 updates, of 12 pushes each where the noise is.
  constexpr Stretch kStretches[] = {
      {"little", 2, 200}, {"much", 12, 800}, {"little_again", 2, 800}};
  client::ModelSpec spec = MakeSpec(
      {.method = Method::kAccumulation,
       .k = kK,
       .adaptive_k = client::AdaptiveK{.min_k = 1, .max_k = 64}},
      UniqueModelName("adaptive"), {{.name = "theta", .shape = {kSize}}});
  ACCRUE_ASSIGN_OR_RETURN(
      Run run, Run::Start(client, spec, std::vector<float>(kSize, 0.0F)));
  for (const auto& [name, deviation, pushes] : kStretches) {
    NoisySource source(kSize, 1, deviation);
    for (int64_t push = 0; push < pushes; ++push) {
      ACCRUE_RETURN_IF_ERROR(run.Push(source.Next()).status());
    }
    ACCRUE_ASSIGN_OR_RETURN(const auto description, run.Describe());
    table->Row("adaptive_k", name, 0.9, kK, "conservative",
               description.groups[0].k);
  }
  return run.Finish().status();
}

}  // namespace accrue::experiments
