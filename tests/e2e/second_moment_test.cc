// Real training through the daemon, three models side by side on the same
// batches: Adam that is embedded with CORRECTED stays closer to Adam on mean
// gradients (CLASSIC buffering) than with ARTICLE.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <memory>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "client/examples/fashion_mnist/dataset.h"
#include "client/examples/fashion_mnist/mlp.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using fashion_mnist::Batch;
using fashion_mnist::Examples;

constexpr int64_t kBatch = 16;
constexpr int64_t kPushesPerUpdate = 4;
constexpr int64_t kEpochs = 2;
constexpr int64_t kTrained = 2048;  // examples
constexpr int64_t kJudged = 256;    // more of them, whose loss is the curve

fashion_mnist::Mlp<float> MakeNetwork() {
  return fashion_mnist::Mlp<float>(
      {fashion_mnist::kPixels, 32, fashion_mnist::kClasses});
}

client::ModelSpec SpecOf(const std::string& name, client::Buffering buffering,
                         client::SecondMoment second_moment) {
  client::ModelSpec spec;
  spec.name = name;
  const auto network = MakeNetwork();
  for (const auto& tensor : network.tensors()) {
    spec.tensors.push_back({.name = tensor.name, .shape = tensor.shape});
  }
  spec.groups = {{.name = "all",
                  .k = kPushesPerUpdate,
                  .hyperparameters = {.learning_rate = 1e-3}}};
  spec.optimizer = {.optimizer = client::Optimizer::kAdam,
                    .buffering = buffering,
                    .second_moment = second_moment};
  return spec;
}

// He et al., as the example's.
std::vector<float> FirstValues(uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> values;
  const auto network = MakeNetwork();
  for (const auto& tensor : network.tensors()) {
    if (tensor.shape.size() == 1) {
      values.resize(values.size() + static_cast<size_t>(tensor.shape[0]));
      continue;
    }
    const auto fan_in = static_cast<double>(tensor.shape[1]);
    std::normal_distribution<double> normal(0, std::sqrt(2 / fan_in));
    for (int64_t i = 0; i < tensor.shape[0] * tensor.shape[1]; ++i) {
      values.push_back(static_cast<float>(normal(random)));
    }
  }
  return values;
}

// The loss after each update.
std::vector<double> Curve(const client::Client& client,
                          const Examples& examples,
                          const client::ModelSpec& spec, uint32_t seed) {
  auto model = client.CreateModel(spec);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return {};
  EXPECT_TRUE(model->InitializeValues(FirstValues(seed)).ok());
  auto worker = model->OpenWorker({.name = "w"});
  EXPECT_TRUE(worker.ok()) << worker.status();
  if (!worker.ok()) return {};

  auto network = MakeNetwork();
  std::vector<float> parameters(network.parameter_count());
  std::vector<float> gradient(network.parameter_count());
  std::vector<int64_t> judged(kJudged), order(kTrained);
  std::iota(judged.begin(), judged.end(), kTrained);
  std::iota(order.begin(), order.end(), 0);
  Batch sample, batch;
  Gather(examples, judged, &sample);
  std::mt19937 random(seed);
  std::vector<double> curve;
  for (int64_t epoch = 0; epoch < kEpochs; ++epoch) {
    std::shuffle(order.begin(), order.end(), random);
    for (int64_t at = 0; at < kTrained; at += kBatch) {
      if (at % (kBatch * kPushesPerUpdate) == 0) {
        EXPECT_TRUE(worker->Pull(&parameters).ok());
      }
      Gather(examples, absl::MakeSpan(order).subspan(at, kBatch), &batch);
      network.LossAndGradient(parameters, batch.inputs, batch.labels,
                              absl::MakeSpan(gradient));
      const auto pushed = worker->Push(gradient);
      EXPECT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
      if (!pushed.ok() || !pushed->published) continue;
      EXPECT_TRUE(worker->Pull(&parameters).ok());
      curve.push_back(network.LossAndGradient(
          parameters, sample.inputs, sample.labels, absl::MakeSpan(gradient)));
    }
  }
  EXPECT_TRUE(client.DeleteModel(spec.name).ok());
  return curve;
}

double MeanDistance(const std::vector<double>& a,
                    const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += std::abs(a[i] - b[i]);
  return sum / static_cast<double>(a.size());
}

TEST(SecondMomentTest, CorrectedIsCloserToAdamOnMeanGradientsThanArticle) {
  if (!std::filesystem::exists(fashion_mnist::kDefaultFolder)) {
    GTEST_SKIP() << "no dataset in " << fashion_mnist::kDefaultFolder
                 << ": it is in the Debian package dataset-fashion-mnist";
  }
  const auto examples = fashion_mnist::LoadTrainingExamples(
      fashion_mnist::kDefaultFolder, kTrained + kJudged);
  ASSERT_TRUE(examples.ok()) << examples.status();
  const auto daemon = Daemon::Start({"--log_level=warn"});
  auto client = client::Client::Connect(daemon->uds());
  ASSERT_TRUE(client.ok()) << client.status();
  using client::Buffering, client::SecondMoment;
  for (const uint32_t seed : {1u, 2u, 3u}) {
    const auto curve = [&](Buffering buffering, SecondMoment second_moment) {
      return Curve(*client, *examples, SpecOf("m", buffering, second_moment),
                   seed);
    };
    const auto classic = curve(Buffering::kClassic, SecondMoment::kArticle);
    const auto article = curve(Buffering::kEmbedded, SecondMoment::kArticle);
    const auto corrected =
        curve(Buffering::kEmbedded, SecondMoment::kCorrected);
    ASSERT_EQ(classic.size(), kEpochs * kTrained / kBatch / kPushesPerUpdate);
    ASSERT_EQ(article.size(), classic.size());
    ASSERT_EQ(corrected.size(), classic.size());
    const double of_article = MeanDistance(article, classic);
    const double of_corrected = MeanDistance(corrected, classic);
    std::cout << "seed " << seed << ": loss " << classic.front() << " to "
              << classic.back() << "; mean distance of ARTICLE " << of_article
              << ", of CORRECTED " << of_corrected << "\n";
    EXPECT_LT(of_corrected, of_article / 2);
  }
}

}  // namespace
}  // namespace accrue
