#include "client/examples/experiments/flatness.h"

#include <vector>

#include <gtest/gtest.h>

namespace accrue::experiments {
namespace {

// f(x) = sum over i of c_i*x_i^2/2 + b*x_i, whose Hessian is diag(c).
struct Quadratic {
  std::vector<double> curvature;
  double slope = 0;

  double operator()(absl::Span<const double> at,
                    absl::Span<double> gradient) const {
    double loss = 0;
    for (size_t i = 0; i < at.size(); ++i) {
      gradient[i] = curvature[i] * at[i] + slope;
      loss += (curvature[i] * at[i] / 2 + slope) * at[i];
    }
    return loss;
  }
};

// After 20 iterations a share of the second eigenvalue of (5/10)^20 = 1e-6 is
// left of a direction that began as any other; of its square, that of the first
// is short. Differences of doubles: 1e-16/1e-4 of the gradient.
TEST(FlatnessTest, TheLargestEigenvalueIsThatOfTheHessian) {
  const Quadratic loss{{1, 10, 5, 2}, 3};
  const Flatness flatness = MeasureFlatness(loss, {1, -2, 3, 4}, {});
  EXPECT_NEAR(flatness.largest_eigenvalue, 10, 1e-4);
}

TEST(FlatnessTest, OfTheLargestMagnitudeWhereItIsDownhill) {
  const Quadratic loss{{1, -10, 5}, 0};
  EXPECT_NEAR(MeasureFlatness(loss, {1, 1, 1}, {}).largest_eigenvalue, 10,
              1e-4);
}

// Of a bowl that is alike in all directions exactly (r*|x|)^2*c/2, wherever on
// its side x is; a slope changes nothing.
TEST(FlatnessTest, TheRiseIsThatOfTheBowlAndNotOfItsSlope) {
  const std::vector<double> at = {3, 4};
  for (const double slope : {0.0, 7.0}) {
    const Quadratic loss{{6, 6}, slope};
    const Flatness flatness =
        MeasureFlatness(loss, at, {.relative_radius = 0.1});
    EXPECT_NEAR(flatness.loss_rise, 0.5 * 0.5 * 6 / 2, 1e-12) << slope;
  }
}

TEST(FlatnessTest, APlaneIsFlat) {
  const Quadratic loss{{0, 0, 0}, 0};
  const Flatness flatness = MeasureFlatness(loss, {1, 2, 3}, {});
  EXPECT_EQ(flatness.largest_eigenvalue, 0);
  EXPECT_EQ(flatness.loss_rise, 0);
}

}  // namespace
}  // namespace accrue::experiments
