#include "server/rule/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <sstream>

namespace accrue::rule {
namespace {

template <class... Parts>
std::string Sentence(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return out.str();
}

bool IsOneOf(Schedule::Kind kind, Schedule::Kind a, Schedule::Kind b) {
  return kind == a || kind == b;
}

}  // namespace

double ScheduleFactor(const Schedule& schedule, int64_t updates) {
  if (updates < schedule.warmup_updates) {
    return static_cast<double>(updates + 1) /
           static_cast<double>(schedule.warmup_updates);
  }
  const int64_t past = updates - schedule.warmup_updates;
  const auto x = static_cast<double>(past);
  switch (schedule.kind) {
    case Schedule::Kind::kConstant:
      return 1.0;
    case Schedule::Kind::kLinear: {
      const double done =
          std::min(x / static_cast<double>(schedule.total_updates), 1.0);
      return 1.0 + (schedule.final_factor - 1.0) * done;
    }
    case Schedule::Kind::kCosine: {
      const double done =
          std::min(x / static_cast<double>(schedule.total_updates), 1.0);
      const double wave = 0.5 * (1.0 + std::cos(std::numbers::pi * done));
      return schedule.final_factor + (1.0 - schedule.final_factor) * wave;
    }
    case Schedule::Kind::kStep: {
      const int64_t steps = past / schedule.step_updates;
      return std::pow(schedule.gamma, static_cast<double>(steps));
    }
    case Schedule::Kind::kExponential:
      return std::pow(schedule.gamma, x);
    case Schedule::Kind::kInverseSquareRoot:
      return 1.0 /
             std::sqrt(1.0 + x / static_cast<double>(schedule.step_updates));
  }
  return 1.0;
}

double ScalingFactor(LrScaling scaling, int64_t k) {
  switch (scaling) {
    case LrScaling::kConservative:
      return 1.0;
    case LrScaling::kSqrt:
      return std::sqrt(static_cast<double>(k));
    case LrScaling::kLinear:
      return static_cast<double>(k);
  }
  return 1.0;
}

double LearningRate(const RuleSpec& spec, const Hyperparameters& hyper,
                    int64_t updates) {
  return hyper.learning_rate * ScheduleFactor(hyper.schedule, updates) *
         ScalingFactor(spec.lr_scaling, spec.k);
}

std::string ValidateSchedule(const Schedule& schedule) {
  using Kind = Schedule::Kind;
  if (schedule.warmup_updates < 0) {
    return Sentence("schedule.warmup_updates: ", schedule.warmup_updates,
                    ", want 0 (no warm-up) or more");
  }
  if (IsOneOf(schedule.kind, Kind::kLinear, Kind::kCosine)) {
    if (schedule.total_updates < 1) {
      return Sentence("schedule.total_updates: ", schedule.total_updates,
                      ", want at least 1 for LINEAR and COSINE");
    }
    if (!(schedule.final_factor >= 0 && schedule.final_factor <= 1)) {
      return Sentence("schedule.final_factor: ", schedule.final_factor,
                      ", want a number in [0, 1]");
    }
  }
  if (IsOneOf(schedule.kind, Kind::kStep, Kind::kInverseSquareRoot) &&
      schedule.step_updates < 1) {
    return Sentence("schedule.step_updates: ", schedule.step_updates,
                    ", want at least 1 for STEP and INVERSE_SQUARE_ROOT");
  }
  if (IsOneOf(schedule.kind, Kind::kStep, Kind::kExponential) &&
      !(schedule.gamma > 0 && schedule.gamma <= 1)) {
    return Sentence("schedule.gamma: ", schedule.gamma,
                    ", want a number in (0, 1]");
  }
  // Without a meaning for this kind, but a NaN would make equal specs differ.
  if (!std::isfinite(schedule.gamma) || !std::isfinite(schedule.final_factor)) {
    return "schedule: gamma and final_factor must be finite numbers";
  }
  return "";
}

}  // namespace accrue::rule
