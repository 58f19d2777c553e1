#include "tests/oracle/history.h"

#include <algorithm>

namespace accrue::oracle {

void History::Add(double beta1, double beta2, const std::vector<Push>& pushes) {
  cycles_.push_back({.beta1 = beta1, .beta2 = beta2, .pushes = pushes});
}

void History::Clip(double factor) {
  if (!cycles_.empty()) cycles_.back().clip *= factor;
}

double History::OfMeans(double m, double v_hat) const {
  double m_weights = 0, m_noise = 0;  // sum a, sum a^2/n
  double v_weights = 0, v_noise = 0;  // sum c, sum c/n
  double adam_weights = 0, adam_noise = 0;
  double decay1 = 1, decay2 = 1;  // since the cycle's end
  for (auto cycle = cycles_.rbegin(); cycle != cycles_.rend(); ++cycle) {
    decay1 *= cycle->clip;
    double mean_weights = 0, mean_noise = 0;
    for (const Push& push : cycle->pushes) {
      const double a = decay1 * (1 - cycle->beta1) * push.in_m;
      const double c = decay2 * (1 - cycle->beta2) * push.in_v;
      m_weights += a;
      m_noise += a * a / push.micro_steps;
      v_weights += c;
      v_noise += c / push.micro_steps;
      mean_weights += push.in_m;
      mean_noise += push.in_m * push.in_m / push.micro_steps;
    }
    const double adam = decay2 * (1 - cycle->beta2);
    adam_weights += adam;
    adam_noise += adam * mean_noise / (mean_weights * mean_weights);
    decay1 *= cycle->beta1;
    decay2 *= cycle->beta2;
  }
  const double rho = m_noise / (m_weights * m_weights);
  const double q = v_noise / v_weights;
  const double p = adam_noise / adam_weights;
  const double mean = m / m_weights;
  // Where the two equations are one, all of m is taken for signal.
  double signal = mean * mean;
  if (q - rho > 1e-3 * q) {
    const double variance = (v_hat - mean * mean) / (q - rho);
    signal = v_hat - q * variance;
  }
  signal = std::clamp(signal, 0.0, v_hat);
  const double variance = (v_hat - signal) / q;
  return signal + p * variance;
}

}  // namespace accrue::oracle
