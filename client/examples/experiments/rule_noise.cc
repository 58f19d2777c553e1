// The parts of RuleExperiment whose gradients are noise.

#include <cmath>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include "client/examples/experiments/method.h"
#include "client/examples/experiments/moments.h"
#include "client/examples/experiments/quadratic.h"
#include "client/examples/experiments/rule.h"
#include "client/examples/experiments/run.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

// Gradients of the same normal numbers for whoever asks with the same seed.
class NoisySource {
 public:
  NoisySource(int64_t size, double mean, double deviation)
      : noise_(mean, deviation), gradient_(static_cast<size_t>(size)) {}

  const std::vector<float>& Next() {
    for (float& element : gradient_) {
      element = static_cast<float>(noise_(random_));
    }
    return gradient_;
  }

 private:
  std::mt19937_64 random_{7};
  std::normal_distribution<double> noise_;
  std::vector<float> gradient_;
};

using Steps = std::vector<std::vector<double>>;

// What the parameters go at each update but the first `skip`, under gradients
// that do not depend on them.
absl::StatusOr<Steps> CollectSteps(const client::Client& client,
                                   client::ModelSpec spec, NoisySource source,
                                   int64_t skip, int64_t updates) {
  const int64_t size = client::ElementCount(spec);
  spec.name = UniqueModelName("noise");
  ACCRUE_ASSIGN_OR_RETURN(
      Run run, Run::Start(client, spec, std::vector<float>(size, 0.0F)));
  Steps steps;
  std::vector<float> before = run.parameters();
  for (int64_t update = 0; update < updates;) {
    ACCRUE_ASSIGN_OR_RETURN(const Pushed pushed, run.Push(source.Next()));
    if (pushed != Pushed::kUpdated) continue;
    if (++update > skip) {
      std::vector<double>& step = steps.emplace_back(size);
      for (int64_t i = 0; i < size; ++i) {
        step[i] = double{run.parameters()[i]} - before[i];
      }
    }
    before = run.parameters();
  }
  ACCRUE_RETURN_IF_ERROR(run.Finish().status());
  return steps;
}

double SquaredNorm(const Steps& steps) {
  double sum = 0;
  for (const auto& step : steps) {
    for (const double element : step) sum += element * element;
  }
  return sum;
}

double RelativeDifference(const Steps& steps, const Steps& reference) {
  double sum = 0;
  for (size_t u = 0; u < steps.size(); ++u) {
    for (size_t i = 0; i < steps[u].size(); ++i) {
      const double difference = steps[u][i] - reference[u][i];
      sum += difference * difference;
    }
  }
  return std::sqrt(sum / SquaredNorm(reference));
}

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
