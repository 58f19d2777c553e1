#include "client/examples/experiments/training.h"

#include <cmath>
#include <numeric>

#include "absl/time/clock.h"
#include "client/examples/experiments/run.h"
#include "client/examples/fashion_mnist/evaluation.h"
#include "client/examples/fashion_mnist/share.h"
#include "server/base/status_macros.h"

namespace accrue::experiments {
namespace {

constexpr int64_t kNoiseEvery = 50;  // pushes
constexpr int64_t kFlatnessExamples = 2000;
constexpr int64_t kTrainExamples = 10'000;
// Half of fp16's smallest number, which is rounded to 0.
const double kUnderflow = std::ldexp(1, -25);

fashion_mnist::Batch FirstExamples(const fashion_mnist::Examples& examples,
                                   int64_t count) {
  std::vector<int64_t> indices(static_cast<size_t>(count));
  std::iota(indices.begin(), indices.end(), 0);
  fashion_mnist::Batch batch;
  fashion_mnist::Gather(examples, indices, &batch);
  return batch;
}

Flatness FlatnessAt(const std::vector<float>& parameters,
                    const std::vector<int64_t>& hidden, const Images& images) {
  fashion_mnist::Mlp<double> network(NetworkWidths(hidden));
  const fashion_mnist::Batch batch =
      FirstExamples(images.train, kFlatnessExamples);
  const Eigen::MatrixXd inputs = batch.inputs.cast<double>();
  const auto loss = [&](absl::Span<const double> at,
                        absl::Span<double> gradient) {
    return network.LossAndGradient(at, inputs, batch.labels, gradient);
  };
  return MeasureFlatness(loss, {parameters.begin(), parameters.end()}, {});
}

// Counts over gradients what fp16 makes 0.
class Underflow {
 public:
  void Add(absl::Span<const float> gradient) {
    for (const float element : gradient) {
      if (element == 0) continue;
      ++elements_;
      if (std::abs(element) <= kUnderflow) ++lost_;
    }
  }
  double part() const {
    return elements_ == 0
               ? 0
               : static_cast<double>(lost_) / static_cast<double>(elements_);
  }

 private:
  int64_t elements_ = 0;
  int64_t lost_ = 0;
};

absl::Status SeeNoise(const Run& run, int64_t push,
                      std::vector<SeenNoise>* seen) {
  ACCRUE_ASSIGN_OR_RETURN(const auto description, run.Describe());
  for (const client::GroupPosition& group : description.groups) {
    if (!group.noise.has_value()) continue;
    seen->push_back({push, group.group, group.k, *group.noise});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TrainingResult> Train(const client::Client& client,
                                     const Images& images,
                                     const TrainingJob& job) {
  const absl::Time start = absl::Now();
  const ImageSetting& setting = job.setting;
  Network network = MakeNetwork(setting.hidden);
  ACCRUE_ASSIGN_OR_RETURN(
      const client::ModelSpec spec,
      MakeImageSpec(setting, network, UniqueModelName("images")));
  ACCRUE_ASSIGN_OR_RETURN(
      Run run,
      Run::Start(client, spec, FirstParameters(network, job.seed),
                 {.encoding = setting.encoding, .error_feedback = false}));
  fashion_mnist::Share share(
      images.train.count(), 1, 0,
      fashion_mnist::BatchesPerEpoch(images.train.count(), 1, kImageBatchSize),
      job.seed);
  std::vector<float> gradient(run.parameters().size());
  fashion_mnist::Batch batch;
  Underflow underflow;
  TrainingResult result;
  for (int64_t push = 0; push < job.pushes && !result.diverged; ++push) {
    fashion_mnist::Gather(images.train, share.Batch(push), &batch);
    result.losses.push_back(network.LossAndGradient(run.parameters(),
                                                    batch.inputs, batch.labels,
                                                    absl::MakeSpan(gradient)));
    if (setting.encoding == client::Encoding::kF16) underflow.Add(gradient);
    ACCRUE_ASSIGN_OR_RETURN(const Pushed pushed, run.Push(gradient));
    result.diverged = pushed == Pushed::kNonFinite;
    if (setting.with_noise && (push + 1) % kNoiseEvery == 0) {
      ACCRUE_RETURN_IF_ERROR(SeeNoise(run, push + 1, &result.noise));
    }
  }
  const auto accuracy = [&](const fashion_mnist::Examples& examples,
                            int64_t count) {
    return fashion_mnist::Accuracy(network, run.parameters(), examples, count);
  };
  result.train_accuracy = accuracy(images.train, kTrainExamples);
  result.held_out_accuracy = accuracy(images.held_out, images.held_out.count());
  result.test_accuracy = accuracy(images.test, images.test.count());
  result.underflow = underflow.part();
  if (setting.with_flatness && !result.diverged) {
    result.flatness = FlatnessAt(run.parameters(), setting.hidden, images);
  }
  ACCRUE_ASSIGN_OR_RETURN(const auto description, run.Finish());
  result.accumulation_buffer_bytes =
      description.memory.accumulation_buffer_bytes;
  result.seconds = absl::ToDoubleSeconds(absl::Now() - start);
  return result;
}

}  // namespace accrue::experiments
