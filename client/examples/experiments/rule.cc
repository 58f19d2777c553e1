#include "client/examples/experiments/rule.h"

#include <cmath>
#include <cstdint>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/examples/experiments/method.h"
#include "client/examples/experiments/run.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

// Elements alike, so that the roundings of their parameters average out.
constexpr int64_t kAlike = 1024;

absl::StatusOr<Run> StartAtZero(const client::Client& client,
                                const client::ModelSpec& spec) {
  return Run::Start(client, spec, std::vector<float>(kAlike, 0.0F));
}

client::ModelSpec AlikeSpec(const Setting& setting) {
  return MakeSpec(setting, UniqueModelName("rule"),
                  {{.name = "theta", .shape = {kAlike}}});
}

double Sum(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values) sum += value;
  return sum;
}

// The decay of m over a cycle: one cycle of gradients, then cycles of zeros.
// What the parameters go per cycle falls by that factor.
absl::StatusOr<double> DecayOfACycle(const client::Client& client,
                                     const Setting& setting,
                                     client::Decay decay) {
  constexpr int kCycles = 8;
  client::ModelSpec spec = AlikeSpec(setting);
  spec.optimizer.decay = decay;
  ACCRUE_ASSIGN_OR_RETURN(Run run, StartAtZero(client, spec));
  std::vector<float> gradient(kAlike);
  for (int64_t i = 0; i < kAlike; ++i) {
    gradient[i] = 0.5F + static_cast<float>(i) / (2 * kAlike);
  }
  double first_step = 0;
  double last_step = 0;
  double before = 0;
  for (int cycle = 0; cycle <= kCycles; ++cycle) {
    for (int64_t i = 0; i < setting.k; ++i) {
      ACCRUE_RETURN_IF_ERROR(run.Push(gradient).status());
    }
    gradient.assign(kAlike, 0.0F);
    const double now = Sum(run.parameters());
    last_step = now - before;
    if (cycle == 0) first_step = last_step;
    before = now;
  }
  ACCRUE_RETURN_IF_ERROR(run.Finish().status());
  return std::pow(last_step / first_step, 1.0 / kCycles);
}

// The parameters' way per push once the momentum has filled.
absl::StatusOr<double> Rate(const client::Client& client,
                            const Setting& setting) {
  constexpr int64_t kFill = 600;  // at beta = 0.975 e^-15 are missing
  constexpr int64_t kCounted = 80;
  ACCRUE_ASSIGN_OR_RETURN(Run run, StartAtZero(client, AlikeSpec(setting)));
  const std::vector<float> gradient(kAlike, 1.0F);
  double begin = 0;
  for (int64_t push = 1; push <= kFill + kCounted; ++push) {
    ACCRUE_RETURN_IF_ERROR(run.Push(gradient).status());
    if (push == kFill) begin = Sum(run.parameters());
  }
  const double way = begin - Sum(run.parameters());
  ACCRUE_RETURN_IF_ERROR(run.Finish().status());
  return way / (setting.learning_rate * kAlike * kCounted);
}

}  // namespace

absl::Status MeasureDecays(const client::Client& client, Csv* table) {
  struct Case {
    double beta;
    int64_t k;
  };
  constexpr Case kCases[] = {{0.9, 2},  {0.9, 4},  {0.9, 8},
                             {0.9, 16}, {0.9, 64}, {0.99, 4}};
  for (const auto& [beta, k] : kCases) {
    const Setting setting = {
        .method = Method::kFull, .k = k, .learning_rate = 1, .beta = beta};
    for (const bool exact : {false, true}) {
      ACCRUE_ASSIGN_OR_RETURN(const double decay,
                              DecayOfACycle(client, setting,
                                            exact ? client::Decay::kSlidingExact
                                                  : client::Decay::kSliding));
      table->Row("decay_error", exact ? "full_exact" : "full", beta, k,
                 "conservative", decay - beta);
    }
  }
  return absl::OkStatus();
}

absl::Status MeasureRates(const client::Client& client, Csv* table) {
  using Scaling = client::LearningRateScaling;
  for (const Method method : kAllMethods) {
    for (const Scaling scaling :
         {Scaling::kConservative, Scaling::kSqrt, Scaling::kLinear}) {
      const Setting setting = {.method = method, .k = 4, .scaling = scaling};
      ACCRUE_ASSIGN_OR_RETURN(const double rate, Rate(client, setting));
      table->Row("rate", Name(method), setting.beta, setting.k,
                 client::Name(scaling), rate);
    }
  }
  return absl::OkStatus();
}

absl::Status RuleExperiment(const Options& options) {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client,
                          client::Client::Connect(options.target));
  Csv table({"measurement", "method", "beta", "k", "scaling", "value"});
  ACCRUE_RETURN_IF_ERROR(MeasureDecays(client, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureRates(client, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureSteps(client, options.quick, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureSecondMoment(client, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureRest(client, options.quick, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureWeights(client, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureStillness(client, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureRateInNoise(client, &table));
  ACCRUE_RETURN_IF_ERROR(MeasurePushTimes(client, options.quick, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureOptimizers(client, &table));
  ACCRUE_RETURN_IF_ERROR(MeasureAdaptiveK(client, &table));
  return table.WriteTo(absl::StrCat(options.out, "/rule.csv"));
}

}  // namespace accrue::experiments
