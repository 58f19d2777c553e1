#include "client/examples/fashion_mnist/mlp.h"

#include <cmath>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace accrue::fashion_mnist {
namespace {

constexpr unsigned kSeed = 7;

// A small network, its parameters and a batch, all random.
template <typename Scalar>
struct Case {
  Mlp<Scalar> network{{5, 7, 4, 3}};
  std::vector<Scalar> parameters;
  typename Mlp<Scalar>::Matrix inputs{5, 6};
  std::vector<uint8_t> labels;

  Case() {
    std::mt19937 random(kSeed);
    std::normal_distribution<double> normal;
    parameters.resize(network.parameter_count());
    for (Scalar& value : parameters)
      value = static_cast<Scalar>(normal(random));
    for (Eigen::Index i = 0; i < inputs.size(); ++i) {
      inputs.data()[i] = static_cast<Scalar>(normal(random));
    }
    for (int i = 0; i < 6; ++i) labels.push_back(random() % 3);
  }

  double Loss(const std::vector<Scalar>& at) {
    std::vector<Scalar> ignored(at.size());
    return network.LossAndGradient(at, inputs, labels, absl::MakeSpan(ignored));
  }
};

TEST(MlpTest, ParametersAreLayersOfWeightsAndBiases) {
  const Mlp<float> network({784, 256, 128, 10});
  EXPECT_EQ(network.parameter_count(), 235146);
  ASSERT_EQ(network.tensors().size(), 6);
  EXPECT_EQ(network.tensors()[0].name, "layer1.weight");
  EXPECT_EQ(network.tensors()[0].shape, (std::vector<int64_t>{256, 784}));
  EXPECT_EQ(network.tensors()[5].name, "layer3.bias");
  EXPECT_EQ(network.tensors()[5].shape, (std::vector<int64_t>{10}));
}

TEST(MlpTest, GradientAgreesWithFiniteDifferences) {
  SCOPED_TRACE(kSeed);
  Case<double> c;
  std::vector<double> gradient(c.parameters.size());
  c.network.LossAndGradient(c.parameters, c.inputs, c.labels,
                            absl::MakeSpan(gradient));
  constexpr double kStep = 1e-6;
  // Central differences are wrong by step^2/6 times the third derivative, here
  // of order 10, and by rounding, 2^-53 * loss / step, a loss of at most 100:
  // 2e-12 + 1e-8.
  constexpr double kTolerance = 2e-8;
  for (size_t i = 0; i < gradient.size(); ++i) {
    std::vector<double> at = c.parameters;
    at[i] = c.parameters[i] + kStep;
    const double above = c.Loss(at);
    at[i] = c.parameters[i] - kStep;
    const double below = c.Loss(at);
    EXPECT_NEAR(gradient[i], (above - below) / (2 * kStep), kTolerance) << i;
  }
}

TEST(MlpTest, SinglePrecisionComputesTheSame) {
  SCOPED_TRACE(kSeed);
  Case<float> single;
  Case<double> exact;
  // The same point: floats are doubles.
  exact.parameters.assign(single.parameters.begin(), single.parameters.end());
  exact.inputs = single.inputs.cast<double>();
  std::vector<float> gradient(single.parameters.size());
  std::vector<double> exact_gradient(gradient.size());
  const double loss =
      single.network.LossAndGradient(single.parameters, single.inputs,
                                     single.labels, absl::MakeSpan(gradient));
  const double exact_loss = exact.network.LossAndGradient(
      exact.parameters, exact.inputs, exact.labels,
      absl::MakeSpan(exact_gradient));
  // Sums of at most 7 terms a layer, three layers forward and three back, of
  // magnitudes below 100.
  const double tolerance = 6 * 7 * 100 * std::ldexp(1, -24);
  EXPECT_NEAR(loss, exact_loss, tolerance);
  for (size_t i = 0; i < gradient.size(); ++i) {
    EXPECT_NEAR(gradient[i], exact_gradient[i], tolerance) << i;
  }
}

TEST(MlpTest, EqualOutputsLoseTheLogarithmOfTheirNumber) {
  Case<double> c;
  const std::vector<double> zeros(c.parameters.size());
  EXPECT_NEAR(c.Loss(zeros), std::log(3.0), 1e-15);
}

TEST(MlpTest, LargeOutputsDoNotOverflow) {
  Case<float> c;
  for (float& value : c.parameters) value *= 1e4F;
  std::vector<float> gradient(c.parameters.size());
  EXPECT_TRUE(std::isfinite(c.network.LossAndGradient(
      c.parameters, c.inputs, c.labels, absl::MakeSpan(gradient))));
  for (const float value : gradient) EXPECT_TRUE(std::isfinite(value));
}

TEST(MlpTest, TheLargestOutputIsTheAnswer) {
  // One layer that passes its inputs on.
  Mlp<float> network({2, 2});
  const std::vector<float> identity = {1, 0, 0, 1, 0, 0};
  Mlp<float>::Matrix inputs(2, 3);
  inputs << 1, 0, 5,  //
      0, 1, 4;
  EXPECT_EQ(
      network.CountCorrect(identity, inputs, std::vector<uint8_t>{0, 1, 0}), 3);
  EXPECT_EQ(
      network.CountCorrect(identity, inputs, std::vector<uint8_t>{1, 1, 1}), 1);
}

TEST(MlpTest, StepsAgainstTheGradientLowerTheLoss) {
  SCOPED_TRACE(kSeed);
  Case<double> c;
  std::vector<double> gradient(c.parameters.size());
  const double before = c.Loss(c.parameters);
  for (int step = 0; step < 200; ++step) {
    c.network.LossAndGradient(c.parameters, c.inputs, c.labels,
                              absl::MakeSpan(gradient));
    for (size_t i = 0; i < gradient.size(); ++i) {
      c.parameters[i] -= 0.05 * gradient[i];
    }
  }
  EXPECT_LT(c.Loss(c.parameters), before / 2);
}

}  // namespace
}  // namespace accrue::fashion_mnist
