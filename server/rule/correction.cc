#include "server/rule/correction.h"

namespace accrue::rule {

void FoldPushShare(float keep2, float gain2, int64_t micro_steps,
                   CorrectionState& state) {
  state.push_shares =
      static_cast<double>(keep2) * state.push_shares +
      static_cast<double>(gain2) / static_cast<double>(micro_steps);
}

void FoldCycleShare(float keep2, double share, CorrectionState& state) {
  const auto keep = static_cast<double>(keep2);
  const double gain = 1.0 - keep;
  state.cycle_shares = keep * state.cycle_shares + gain * share;
  state.cycle_mass = keep * state.cycle_mass + gain;
}

Correction MakeCorrection(const CorrectionState& state, const NoiseSums& moment,
                          double mass2) {
  Correction correction;
  const double q = state.push_shares / mass2;
  const double p = state.cycle_shares / state.cycle_mass;
  correction.noise_share = static_cast<float>(p / q);
  if (correction.noise_share == 1.0f) return correction;
  const double rho = NoiseLeft(moment);
  correction.inv_weight = static_cast<float>(1.0 / moment.mass);
  if (NoiseIsSeparable(rho, q)) {
    correction.noise_gain = static_cast<float>(rho / (q - rho));
  }
  return correction;
}

}  // namespace accrue::rule
