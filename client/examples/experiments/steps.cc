#include "client/examples/experiments/steps.h"

#include <cmath>

#include "client/examples/experiments/run.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {

const std::vector<float>& NoisySource::Next() {
  for (float& element : gradient_) {
    element = static_cast<float>(noise_(random_));
  }
  return gradient_;
}

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

}  // namespace accrue::experiments
