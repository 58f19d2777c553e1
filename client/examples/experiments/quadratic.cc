#include "client/examples/experiments/quadratic.h"

#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/examples/experiments/csv.h"
#include "client/examples/experiments/moments.h"
#include "client/examples/experiments/run.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

constexpr int64_t kArticleK = 4;

Moments Losses(absl::Span<const float> theta) {
  Moments losses;
  for (size_t i = 0; i < theta.size(); i += 2) {
    const double sharp = theta[i];
    const double flat = theta[i + 1];
    losses.Add((kCurvature[0] * sharp * sharp + kCurvature[1] * flat * flat) /
               2);
  }
  return losses;
}

// Over the seeds, of both coordinates together.
double StepVariance(absl::Span<const float> from, absl::Span<const float> to) {
  Moments sharp;
  Moments flat;
  for (size_t i = 0; i < to.size(); i += 2) {
    sharp.Add(double{to[i]} - from[i]);
    flat.Add(double{to[i + 1]} - from[i + 1]);
  }
  return sharp.variance() + flat.variance();
}

absl::Status Follow(const client::Client& client, const Setting& setting,
                    Csv* table) {
  const QuadraticOptions options;
  std::vector<float> before(static_cast<size_t>(2 * options.seeds),
                            options.start);
  const auto observe = [&](int64_t push, bool updated,
                           absl::Span<const float> theta) {
    const Moments losses = Losses(theta);
    const double step_variance = updated ? StepVariance(before, theta) : 0;
    before.assign(theta.begin(), theta.end());
    table->Row(Name(setting.method), push, losses.mean(),
               losses.standard_error(), step_variance, theta[0], theta[1]);
  };
  observe(0, false, before);
  return RunQuadratic(client, setting, options, observe);
}

}  // namespace

absl::Status RunQuadratic(const client::Client& client, const Setting& setting,
                          const QuadraticOptions& options,
                          const QuadraticObserver& observer) {
  const std::vector<client::TensorSpec> tensors = {
      {.name = "theta", .shape = {options.seeds, 2}}};
  const auto size = static_cast<size_t>(2 * options.seeds);
  ACCRUE_ASSIGN_OR_RETURN(
      Run run,
      Run::Start(client,
                 MakeSpec(setting, UniqueModelName("quadratic"), tensors),
                 std::vector<float>(size, options.start)));
  std::mt19937_64 random(options.seed);
  std::normal_distribution<double> noise(0, options.noise);
  std::vector<float> gradient(size);
  for (int64_t push = 1; push <= options.pushes; ++push) {
    for (size_t i = 0; i < size; ++i) {
      gradient[i] = static_cast<float>(kCurvature[i % 2] * run.parameters()[i] +
                                       noise(random));
    }
    ACCRUE_ASSIGN_OR_RETURN(const Pushed pushed, run.Push(gradient));
    if (pushed == Pushed::kNonFinite) {
      return absl::OutOfRangeError(
          absl::StrCat(Name(setting.method), " diverged at push ", push));
    }
    observer(push, pushed == Pushed::kUpdated, run.parameters());
  }
  return run.Finish().status();
}

absl::Status QuadraticExperiment(const Options& options) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                          client::Client::Connect(options.target));
  Csv table({"method", "push", "loss", "loss_error", "step_variance", "theta1",
             "theta2"});
  for (const Method method : kAllMethods) {
    ACCRUE_RETURN_IF_ERROR(
        Follow(client, {.method = method, .k = kArticleK}, &table));
  }
  return table.WriteTo(absl::StrCat(options.out, "/quadratic.csv"));
}

}  // namespace accrue::experiments
