// The parts of RuleExperiment whose gradients are noise.

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "client/examples/experiments/method.h"
#include "client/examples/experiments/moments.h"
#include "client/examples/experiments/quadratic.h"
#include "client/examples/experiments/rule.h"
#include "client/examples/experiments/steps.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

client::ModelSpec FlatSpec(const Setting& setting, int64_t size) {
  return MakeSpec(setting, "", {{.name = "theta", .shape = {size}}});
}

}  // namespace

absl::Status MeasureSteps(const client::Client& client, bool quick,
                          Csv* table) {
  const int64_t size = quick ? 10'000 : 50'000;
  constexpr int64_t kSkip = 60;  // of 0.9^60 the mean of squares has forgotten
  constexpr int64_t kUpdates = 90;
  const NoisySource source(size, 0, 1);
  const auto steps_of = [&](const Setting& setting) {
    return CollectSteps(client, FlatSpec(setting, size), source, kSkip,
                        kUpdates);
  };
  ACCRUE_ASSIGN_OR_RETURN(const Steps standard, steps_of({}));
  const double reference = SquaredNorm(standard);
  for (const int64_t k : {2, 4, 8}) {
    Steps accumulation;
    for (const Method method :
         {Method::kAccumulation, Method::kSparseOnly, Method::kFull}) {
      const Setting setting = {.method = method, .k = k};
      ACCRUE_ASSIGN_OR_RETURN(Steps steps, steps_of(setting));
      table->Row("step_variance", Name(method), setting.beta, k, "conservative",
                 SquaredNorm(steps) / reference);
      if (method == Method::kAccumulation) {
        accumulation = std::move(steps);
      } else if (method == Method::kFull) {
        table->Row("difference", Name(method), setting.beta, k, "conservative",
                   RelativeDifference(steps, accumulation));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status MeasureSecondMoment(const client::Client& client, Csv* table) {
  constexpr int64_t kSize = 2000;
  constexpr double kBeta2 = 0.99;
  constexpr int64_t kSkip = 60;
  constexpr int64_t kUpdates = 160;
  const NoisySource source(kSize, std::sqrt(0.1), 1);
  for (const int64_t k : {2, 4, 8}) {
    // Without a first moment to remember, both step along the same mean
    // gradient: their steps tell their second moments apart.
    client::ModelSpec spec = FlatSpec({.method = Method::kAccumulation,
                                       .k = k,
                                       .optimizer = client::Optimizer::kAdam,
                                       .beta = 0},
                                      kSize);
    spec.groups[0].hyperparameters.beta2 = kBeta2;
    ACCRUE_ASSIGN_OR_RETURN(
        const Steps embedded,
        CollectSteps(client, spec, source, kSkip, kUpdates));
    spec.optimizer.buffering = client::Buffering::kClassic;
    ACCRUE_ASSIGN_OR_RETURN(
        const Steps classic,
        CollectSteps(client, spec, source, kSkip, kUpdates));
    table->Row("second_moment", "accumulation", kBeta2, k, "conservative",
               SquaredNorm(embedded) / SquaredNorm(classic));
  }
  return absl::OkStatus();
}

absl::Status MeasureRest(const client::Client& client, bool quick, Csv* table) {
  const QuadraticOptions options = {
      .pushes = quick ? 1000 : 3000, .start = 0, .seed = 11};
  // The slowest way back, of accumulation in the flat direction, takes 40
  // pushes to fall to 1/e.
  constexpr int64_t kSettle = 300;
  constexpr int64_t kApart = 20;
  for (const Method method : kAllMethods) {
    const Setting setting = {.method = method, .k = 4};
    Moments sharp;
    Moments flat;
    ACCRUE_RETURN_IF_ERROR(RunQuadratic(
        client, setting, options,
        [&](int64_t push, bool /*updated*/, absl::Span<const float> theta) {
          if (push < kSettle || push % kApart != 0) return;
          for (size_t i = 0; i < theta.size(); i += 2) {
            sharp.Add(theta[i]);
            flat.Add(theta[i + 1]);
          }
        }));
    table->Row("stationary_sharp", Name(method), setting.beta, setting.k,
               "conservative", sharp.variance());
    table->Row("stationary_flat", Name(method), setting.beta, setting.k,
               "conservative", flat.variance());
  }
  return absl::OkStatus();
}

}  // namespace accrue::experiments
