// What a model says of its gradients' noise.
#include "server/rule/noise.h"

#include <cmath>
#include <cstdint>
#include <iostream>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

constexpr uint32_t kSeed = 20211003;

std::optional<NoiseReading> NoiseOf(const Model& model, size_t group = 0) {
  return model.Describe().groups[group].noise;
}

// A worker whose gradients have the mean 1 and the variance 4 an element.
class NoisyWorker {
 public:
  NoisyWorker(Harness& harness, std::shared_ptr<Model> model)
      : harness_(harness),
        model_(std::move(model)),
        session_(harness.Open(*model_, "worker")->id),
        random_(kSeed) {}

  void Push(int pushes) {
    for (int push = 0; push < pushes; ++push) {
      std::vector<float> gradient(
          static_cast<size_t>(model_->layout()->elems()));
      for (float& g : gradient) g = normal_(random_);
      const auto pushed =
          harness_.PushNow(*model_, session_, ++sequence_, gradient);
      ASSERT_TRUE(pushed.ok()) << pushed.status();
    }
  }

 private:
  Harness& harness_;
  const std::shared_ptr<Model> model_;
  const std::string session_;
  int64_t sequence_ = 0;
  std::mt19937 random_;
  std::normal_distribution<float> normal_{1, 2};
};

ModelSpec Adam(int64_t elems, int64_t k) {
  ModelSpec spec = SimpleSpec(elems, k);
  spec.optimizer.optimizer = rule::Optimizer::kAdam;
  spec.groups[0].hyper = {};
  return spec;
}

// The reading is that of the m at hand. A relative 2^-50 is more than the order
// of the sum of 20000 squares can change.
void ExpectReadingOf(Harness& harness, Model& model, int64_t updates) {
  const StateImage image = harness.Image(model);
  double squares = 0;
  for (const float m : image.momentum) {
    squares += static_cast<double>(m) * static_cast<double>(m);
  }
  const auto want = rule::EstimateNoise(image.cycles[0].noise.moment, squares);
  const auto got = NoiseOf(model);
  ASSERT_TRUE(want.has_value());
  ASSERT_TRUE(got.has_value());
  EXPECT_EQ(got->updates, updates);
  EXPECT_NEAR(got->estimate.variance, want->variance, want->variance * 0x1p-36);
  EXPECT_NEAR(got->estimate.mean_squared, want->mean_squared,
              want->mean_squared * 0x1p-32);
  EXPECT_EQ(got->estimate.noise_left, want->noise_left);
}

TEST(ModelNoiseTest, IsThatOfTheMomentsAtTheLastUpdate) {
  std::cout << "seed " << kSeed << "\n";
  constexpr int64_t kElems = 20'000;
  Harness harness;
  auto model = harness.Make(Adam(kElems, 2));
  EXPECT_FALSE(NoiseOf(*model).has_value());
  NoisyWorker worker(harness, model);
  worker.Push(1);
  EXPECT_FALSE(NoiseOf(*model).has_value());
  worker.Push(31);
  ExpectReadingOf(harness, *model, 16);
  const auto reading = NoiseOf(*model);
  // sigma^2 = 4 N, mu^2 = N: here far less than 5 % off.
  EXPECT_NEAR(reading->estimate.variance, 4.0 * kElems, 0.05 * 4 * kElems);
  EXPECT_NEAR(reading->estimate.mean_squared, kElems, 0.05 * kElems);
  // In the middle of a cycle it is still the last update's.
  worker.Push(1);
  EXPECT_EQ(NoiseOf(*model)->updates, 16);
  EXPECT_EQ(NoiseOf(*model)->estimate, reading->estimate);
}

// Whether m is clipped in place or the mean gradient before it is folded.
TEST(ModelNoiseTest, CountsWhatAClipLeft) {
  for (const auto buffering :
       {rule::Buffering::kEmbedded, rule::Buffering::kClassic,
        rule::Buffering::kGather}) {
    constexpr int64_t kElems = 20'000;
    Harness harness;
    ModelSpec spec = Adam(kElems, 4);
    spec.optimizer.buffering = buffering;
    // The mean of four has the norm sqrt(2 N).
    spec.groups[0].hyper.clip_norm = std::sqrt(kElems);
    auto model = harness.Make(spec);
    NoisyWorker worker(harness, model);
    worker.Push(40);
    EXPECT_GT(model->Describe().groups[0].clip_norm_seen,
              spec.groups[0].hyper.clip_norm);
    ExpectReadingOf(harness, *model, 10);
    // Every gradient stands in m with its own, clipped, weight: what is
    // estimated is still the gradients' own noise.
    const auto reading = NoiseOf(*model);
    EXPECT_NEAR(reading->estimate.variance, 4.0 * kElems, 0.05 * 4 * kElems);
    EXPECT_NEAR(reading->estimate.mean_squared, kElems, 0.05 * kElems);
  }
}

TEST(ModelNoiseTest, OfALargeGroupIsMeasuredAtEveryEighthUpdate) {
  Harness harness;
  constexpr int64_t kLarge = (int64_t{1} << 20) + 1;
  ModelSpec spec = Adam(kLarge, 1);
  spec.tensors.push_back({"small", {1000}, "small"});
  spec.groups.push_back(spec.groups[0]);
  spec.groups[1].name = "small";
  auto model = harness.Make(spec);
  const std::string session = harness.Open(*model, "worker")->id;
  std::vector<float> gradient(kLarge + 1000, 1.0f);
  for (int64_t update = 1; update <= 17; ++update) {
    gradient[0] = gradient.back() = static_cast<float>(update);
    ASSERT_TRUE(harness.PushNow(*model, session, update, gradient).ok());
    const auto large = NoiseOf(*model, 0), small = NoiseOf(*model, 1);
    EXPECT_EQ(large.has_value(), update >= 8);
    EXPECT_EQ(large.value_or(NoiseReading()).updates, update / 8 * 8);
    // One push cannot tell.
    EXPECT_EQ(small.has_value(), update >= 2);
    EXPECT_EQ(small.value_or(NoiseReading()).updates, update < 2 ? 0 : update);
  }
}

}  // namespace
}  // namespace accrue
