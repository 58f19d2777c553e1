#include "client/examples/experiments/images.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "client/examples/experiments/classifier.h"
#include "client/examples/experiments/csv.h"
#include "client/examples/experiments/image_settings.h"
#include "client/examples/experiments/run.h"
#include "client/examples/fashion_mnist/evaluation.h"
#include "client/examples/fashion_mnist/share.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

constexpr int64_t kHidden = 64;
// 5.1's, which is small on purpose.
constexpr int64_t kBatchSize = 16;
constexpr int64_t kLossWindow = 100;

struct Job {
  ImageSetting setting;
  uint64_t seed = 0;
};

struct Result {
  std::vector<double> losses;  // of every push
  bool diverged = false;
  double test_accuracy = 0;
  int64_t accumulation_buffer_bytes = 0;
  double seconds = 0;
};

absl::StatusOr<Result> Train(const client::Client& client, const Images& images,
                             const Job& job, int64_t pushes) {
  const absl::Time start = absl::Now();
  Network network = MakeNetwork(kHidden);
  ACCRUE_ASSIGN_OR_RETURN(
      Run run,
      Run::Start(client,
                 MakeSpec(job.setting.setting, UniqueModelName("images"),
                          TensorsOf(network)),
                 FirstParameters(network, job.seed)));
  fashion_mnist::Share share(
      images.train.count(), 1, 0,
      fashion_mnist::BatchesPerEpoch(images.train.count(), 1, kBatchSize),
      job.seed);
  std::vector<float> gradient(run.parameters().size());
  fashion_mnist::Batch batch;
  Result result;
  for (int64_t push = 0; push < pushes && !result.diverged; ++push) {
    fashion_mnist::Gather(images.train, share.Batch(push), &batch);
    result.losses.push_back(network.LossAndGradient(run.parameters(),
                                                    batch.inputs, batch.labels,
                                                    absl::MakeSpan(gradient)));
    ACCRUE_ASSIGN_OR_RETURN(const Pushed pushed, run.Push(gradient));
    result.diverged = pushed == Pushed::kNonFinite;
  }
  result.test_accuracy = fashion_mnist::Accuracy(
      network, run.parameters(), images.test, images.test.count());
  ACCRUE_ASSIGN_OR_RETURN(const auto description, run.Finish());
  result.accumulation_buffer_bytes =
      description.memory.accumulation_buffer_bytes;
  result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return result;
}

// Trains all, so many at once; results in the order of the jobs.
absl::StatusOr<std::vector<Result>> TrainAll(const Options& options,
                                             const Images& images,
                                             const std::vector<Job>& jobs,
                                             int64_t pushes) {
  std::vector<absl::StatusOr<Result>> results(
      jobs.size(), absl::CancelledError("an earlier run failed"));
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (int64_t i = 0; i < options.threads; ++i) {
    threads.emplace_back([&] {
      const auto client = client::Client::Connect(options.target);
      for (size_t job = next++; job < jobs.size(); job = next++) {
        results[job] = client.ok() ? Train(*client, images, jobs[job], pushes)
                                   : client.status();
        if (!results[job].ok()) next = jobs.size();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::vector<Result> all;
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

absl::Status Write(const std::string& folder, const std::vector<Job>& jobs,
                   const std::vector<Result>& results) {
  Csv runs({"setting", "optimizer", "method", "k", "scaling", "learning_rate",
            "dampening", "seed", "pushes", "samples", "diverged",
            "test_accuracy", "accumulation_buffer_bytes", "seconds"});
  Csv losses({"setting", "seed", "push", "loss"});
  for (size_t i = 0; i < jobs.size(); ++i) {
    const auto& [name, setting] = jobs[i].setting;
    const auto pushes = static_cast<int64_t>(results[i].losses.size());
    runs.Row(name, client::Name(setting.optimizer), Name(setting.method),
             setting.k, client::Name(setting.scaling), setting.learning_rate,
             setting.dampening.value_or(setting.beta), jobs[i].seed, pushes,
             pushes * kBatchSize, results[i].diverged ? 1 : 0,
             results[i].test_accuracy, results[i].accumulation_buffer_bytes,
             results[i].seconds);
    for (int64_t end = kLossWindow; end <= pushes; end += kLossWindow) {
      losses.Row(name, jobs[i].seed, end,
                 Mean(absl::MakeConstSpan(results[i].losses)
                          .subspan(end - kLossWindow, kLossWindow)));
    }
  }
  ACCRUE_RETURN_IF_ERROR(runs.WriteTo(absl::StrCat(folder, "/images.csv")));
  return losses.WriteTo(absl::StrCat(folder, "/images_loss.csv"));
}

}  // namespace

absl::Status ImagesExperiment(const Options& options) {
  ACCRUE_ASSIGN_OR_RETURN(const Images images, LoadImages(options.dataset));
  const int64_t by_default = options.quick ? 3 : 6;
  const int64_t seeds = options.seeds > 0 ? options.seeds : by_default;
  const int64_t pushes = options.quick ? 600 : 3700;
  std::vector<Job> jobs;
  for (const ImageSetting& setting : ImageSettings(options.quick)) {
    for (int64_t i = 0; i < seeds; ++i) {
      jobs.push_back({.setting = setting,
                      .seed = static_cast<uint64_t>(options.first_seed + i)});
    }
  }
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<Result> results,
                          TrainAll(options, images, jobs, pushes));
  return Write(options.out, jobs, results);
}

}  // namespace accrue::experiments
