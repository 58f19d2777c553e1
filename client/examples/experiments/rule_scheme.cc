// The parts of RuleExperiment about what a cycle's pushes do: how much each
// weighs, what it moves, what it costs.

#include <algorithm>
#include <cstdint>
#include <vector>

#include "absl/time/clock.h"
#include "client/examples/experiments/method.h"
#include "client/examples/experiments/rule.h"
#include "client/examples/experiments/run.h"
#include "client/examples/experiments/steps.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

constexpr int64_t kK = 4;

absl::StatusOr<Run> StartAtZero(const client::Client& client,
                                const Setting& setting, int64_t size) {
  const std::vector<client::TensorSpec> tensors = {
      {.name = "theta", .shape = {size}}};
  return Run::Start(client,
                    MakeSpec(setting, UniqueModelName("scheme"), tensors),
                    std::vector<float>(static_cast<size_t>(size), 0.0F));
}

// Seconds of a push, over so many.
absl::StatusOr<double> PushSeconds(Run* run, absl::Span<const float> gradient,
                                   int64_t pushes) {
  const absl::Time start = absl::Now();
  for (int64_t i = 0; i < pushes; ++i) {
    ACCRUE_RETURN_IF_ERROR(run->Push(gradient).status());
  }
  return absl::ToDoubleSeconds(absl::Now() - start) /
         static_cast<double>(pushes);
}

}  // namespace

// Element i has a gradient in the cycle's push i alone, so that it goes by what
// that push weighs.
absl::Status MeasureWeights(const client::Client& client, Csv* table) {
  for (const Method method : {Method::kAccumulation, Method::kFull}) {
    const Setting setting = {.method = method, .k = kK, .learning_rate = 1};
    ACCRUE_ASSIGN_OR_RETURN(Run run, StartAtZero(client, setting, kK));
    for (int64_t push = 0; push < kK; ++push) {
      std::vector<float> gradient(kK, 0.0F);
      gradient[static_cast<size_t>(push)] = 1;
      ACCRUE_RETURN_IF_ERROR(run.Push(gradient).status());
    }
    // Steps are downhill: the heaviest is the least.
    const auto [heaviest, lightest] =
        std::minmax_element(run.parameters().begin(), run.parameters().end());
    table->Row("weight", Name(method), setting.beta, kK, "conservative",
               double{*lightest} / *heaviest);
    ACCRUE_RETURN_IF_ERROR(run.Finish().status());
  }
  return absl::OkStatus();
}

absl::Status MeasureStillness(const client::Client& client, Csv* table) {
  constexpr int64_t kSize = 4096;
  constexpr int64_t kPushes = 80;
  const Setting setting = {.method = Method::kSparseOnly, .k = kK};
  ACCRUE_ASSIGN_OR_RETURN(Run run, StartAtZero(client, setting, kSize));
  NoisySource source(kSize, 1, 1);
  int64_t between = 0;
  int64_t moved = 0;
  std::vector<float> before = run.parameters();
  for (int64_t push = 0; push < kPushes; ++push) {
    ACCRUE_ASSIGN_OR_RETURN(const Pushed pushed, run.Push(source.Next()));
    ACCRUE_RETURN_IF_ERROR(run.ReadAgain());
    if (pushed == Pushed::kFolded) {
      ++between;
      if (run.parameters() != before) ++moved;
    }
    before = run.parameters();
  }
  table->Row("moved", Name(setting.method), setting.beta, kK, "conservative",
             static_cast<double>(moved) / static_cast<double>(between));
  return run.Finish().status();
}

// If the rate adapted to noise, it would be another than without.
absl::Status MeasureRateInNoise(const client::Client& client, Csv* table) {
  constexpr int64_t kSize = 10'000;
  constexpr int64_t kSkip = 20;  // updates; of 0.9^80 the momentum has filled
  constexpr int64_t kUpdates = 60;
  const Setting setting = {.method = Method::kSparseOnly, .k = kK};
  const client::ModelSpec spec =
      MakeSpec(setting, "", {{.name = "theta", .shape = {kSize}}});
  ACCRUE_ASSIGN_OR_RETURN(
      const Steps steps,
      CollectSteps(client, spec, NoisySource(kSize, 1, 3), kSkip, kUpdates));
  double way = 0;
  for (const auto& step : steps) {
    for (const double element : step) way -= element;
  }
  const double pushes = static_cast<double>(steps.size()) * kK * kSize;
  table->Row("rate_in_noise", Name(setting.method), setting.beta, kK,
             "conservative", way / (setting.learning_rate * pushes));
  return absl::OkStatus();
}

// Turn and turn about, so that what slows the machine slows both.
absl::Status MeasurePushTimes(const client::Client& client, bool quick,
                              Csv* table) {
  constexpr int64_t kSize = int64_t{1} << 20;
  const int repetitions = quick ? 6 : 16;
  const int64_t pushes = quick ? 40 : 100;
  const Setting with_chi = {.method = Method::kAccumulation, .k = kK};
  const Setting without = {.method = Method::kFull, .k = kK};
  ACCRUE_ASSIGN_OR_RETURN(Run run_with, StartAtZero(client, with_chi, kSize));
  ACCRUE_ASSIGN_OR_RETURN(Run run_without, StartAtZero(client, without, kSize));
  const std::vector<float> gradient(kSize, 1e-3F);
  // One repetition more, to warm up.
  for (int i = -1; i < repetitions; ++i) {
    for (int j = 0; j < 2; ++j) {
      const bool has_chi = (i + j) % 2 == 0;
      ACCRUE_ASSIGN_OR_RETURN(
          const double seconds,
          PushSeconds(has_chi ? &run_with : &run_without, gradient, pushes));
      if (i < 0) continue;
      const Setting& setting = has_chi ? with_chi : without;
      table->Row("push_seconds", Name(setting.method), setting.beta, kK,
                 "conservative", seconds);
    }
  }
  ACCRUE_RETURN_IF_ERROR(run_with.Finish().status());
  return run_without.Finish().status();
}

}  // namespace accrue::experiments
