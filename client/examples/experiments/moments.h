// Moments: mean and variance of numbers that come one by one (Welford).
//
// Threading. compatible

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_MOMENTS_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_MOMENTS_H_

#include <cmath>
#include <cstdint>

namespace accrue::experiments {

class Moments {
 public:
  void Add(double value) {
    ++count_;
    const double distance = value - mean_;
    mean_ += distance / static_cast<double>(count_);
    squares_ += distance * (value - mean_);
  }

  int64_t count() const { return count_; }
  double mean() const { return mean_; }
  // Unbiased; 0 of fewer than two.
  double variance() const {
    return count_ < 2 ? 0 : squares_ / static_cast<double>(count_ - 1);
  }
  // Of the mean of independent numbers.
  double standard_error() const {
    return count_ < 2 ? 0 : std::sqrt(variance() / static_cast<double>(count_));
  }

 private:
  int64_t count_ = 0;
  double mean_ = 0;
  double squares_ = 0;
};

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_MOMENTS_H_
