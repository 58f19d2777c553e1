#include "client/examples/experiments/images.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "client/examples/experiments/csv.h"
#include "client/examples/experiments/training.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

constexpr int64_t kLossWindow = 100;

// Trains all, so many at once; results in the order of the jobs.
absl::StatusOr<std::vector<TrainingResult>> TrainAll(
    const Options& options, const Images& images,
    const std::vector<TrainingJob>& jobs) {
  std::vector<absl::StatusOr<TrainingResult>> results(
      jobs.size(), absl::CancelledError("an earlier run failed"));
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < options.threads; ++i) {
    threads.emplace_back([&] {
      const auto client = client::Client::Connect(options.target);
      for (size_t job = next++; job < jobs.size(); job = next++) {
        results[job] =
            client.ok() ? Train(*client, images, jobs[job]) : client.status();
        if (!results[job].ok()) next = jobs.size();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<TrainingResult> all;
  absl::Status failure;
  for (auto& result : results) {
    // One that was cancelled is nobody's cause.
    if (!result.ok() && (failure.ok() || absl::IsCancelled(failure))) {
      failure = result.status();
    }
    if (result.ok()) all.push_back(*std::move(result));
  }
  if (!failure.ok()) return failure;
  return all;
}

double Mean(absl::Span<const double> values) {
  return values.empty() ? 0
                        : std::accumulate(values.begin(), values.end(), 0.0) /
                              static_cast<double>(values.size());
}

void AddRun(const TrainingJob& job, const TrainingResult& result, Csv* runs) {
  const Setting& setting = job.setting.setting;
  const auto pushes = static_cast<int64_t>(result.losses.size());
  runs->Row(job.setting.name, client::Name(setting.optimizer),
            Name(setting.method), setting.k, client::Name(setting.scaling),
            setting.learning_rate, setting.dampening.value_or(setting.beta),
            job.seed, pushes, pushes * kImageBatchSize, result.diverged ? 1 : 0,
            result.train_accuracy, result.held_out_accuracy,
            result.test_accuracy, result.underflow,
            result.flatness.largest_eigenvalue, result.flatness.loss_rise,
            result.accumulation_buffer_bytes, result.seconds);
}

void AddLosses(const TrainingJob& job, const TrainingResult& result,
               Csv* losses) {
  const auto pushes = static_cast<int64_t>(result.losses.size());
  for (int64_t end = kLossWindow; end <= pushes; end += kLossWindow) {
    losses->Row(job.setting.name, job.seed, end,
                Mean(absl::MakeConstSpan(result.losses)
                         .subspan(end - kLossWindow, kLossWindow)));
  }
}

absl::Status Write(const std::string& folder,
                   const std::vector<TrainingJob>& jobs,
                   const std::vector<TrainingResult>& results) {
  Csv runs({"setting", "optimizer", "method", "k", "scaling", "learning_rate",
            "dampening", "seed", "pushes", "samples", "diverged",
            "train_accuracy", "held_out_accuracy", "test_accuracy", "underflow",
            "largest_eigenvalue", "loss_rise", "accumulation_buffer_bytes",
            "seconds"});
  Csv losses({"setting", "seed", "push", "loss"});
  Csv noise({"setting", "seed", "push", "group", "k", "variance",
             "mean_squared", "noise_left"});
  for (size_t i = 0; i < jobs.size(); ++i) {
    AddRun(jobs[i], results[i], &runs);
    AddLosses(jobs[i], results[i], &losses);
    for (const SeenNoise& seen : results[i].noise) {
      noise.Row(jobs[i].setting.name, jobs[i].seed, seen.push, seen.group,
                seen.k, seen.noise.variance, seen.noise.mean_squared,
                seen.noise.noise_left);
    }
  }
  ACCRUE_RETURN_IF_ERROR(runs.WriteTo(absl::StrCat(folder, "/images.csv")));
  ACCRUE_RETURN_IF_ERROR(
      losses.WriteTo(absl::StrCat(folder, "/images_loss.csv")));
  return noise.WriteTo(absl::StrCat(folder, "/images_noise.csv"));
}

}  // namespace

absl::Status ImagesExperiment(const Options& options) {
  ACCRUE_ASSIGN_OR_RETURN(const Images images, LoadImages(options.dataset));
  const int64_t by_default = options.quick ? 3 : 6;
  const int64_t seeds = options.seeds > 0 ? options.seeds : by_default;
  std::vector<TrainingJob> jobs;
  for (const ImageSetting& setting : ImageSettings(options.quick)) {
    for (int64_t i = 0; i < seeds; ++i) {
      jobs.push_back({.setting = setting,
                      .seed = static_cast<uint64_t>(options.first_seed + i),
                      .pushes = ImagePushes(options.quick)});
    }
  }
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<TrainingResult> results,
                          TrainAll(options, images, jobs));
  return Write(options.out, jobs, results);
}

}  // namespace accrue::experiments
