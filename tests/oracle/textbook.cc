#include "tests/oracle/textbook.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace accrue::oracle {
namespace {

using rule::Buffering;
using rule::Decay;
using rule::Optimizer;

bool IsSgdLike(const rule::RuleSpec& spec) {
  return spec.optimizer == Optimizer::kSgd ||
         spec.optimizer == Optimizer::kSignum;
}

double Norm(const std::vector<double>& x) {
  double squares = 0;
  for (const double element : x) squares += element * element;
  return std::sqrt(squares);
}

void Clip(double bound, double measured, std::vector<double>& x) {
  if (bound == 0 || measured <= bound) return;
  for (double& element : x) element *= bound / measured;
}

double RepeatedProduct(double factor, int64_t times) {
  double product = 1;
  for (int64_t i = 0; i < times; ++i) product *= factor;
  return product;
}

}  // namespace

double TextbookScheduleFactor(const rule::Schedule& s, int64_t updates) {
  using Kind = rule::Schedule::Kind;
  if (updates < s.warmup_updates) {
    return static_cast<double>(1 + updates) / s.warmup_updates;
  }
  const int64_t x = updates - s.warmup_updates;
  const int64_t left = std::max<int64_t>(s.total_updates - x, 0);
  const double part_left = static_cast<double>(left) / s.total_updates;
  switch (s.kind) {
    case Kind::kConstant:
      return 1;
    case Kind::kLinear:
      return part_left + s.final_factor * (1 - part_left);
    case Kind::kCosine: {
      const double sine = std::sin(std::numbers::pi / 2 * part_left);
      const double share = sine * sine;
      return share + s.final_factor * (1 - share);
    }
    case Kind::kStep:
      return RepeatedProduct(s.gamma, x / s.step_updates);
    case Kind::kExponential:
      return RepeatedProduct(s.gamma, x);
    case Kind::kInverseSquareRoot: {
      const auto step = static_cast<double>(s.step_updates);
      return std::sqrt(step / (step + static_cast<double>(x)));
    }
  }
  return 1;
}

Textbook::Textbook(const rule::RuleSpec& spec, const std::vector<double>& theta)
    : spec_(spec),
      newest_(spec.hyper),
      hyper_(spec.hyper),
      theta_(theta),
      m_(theta.size()),
      v_(theta.size()),
      l2_(theta.size()),
      last_mean_(theta.size()),
      looked_at_(theta.size()),
      largest_signed_(theta.size()),
      least_sign_share_(theta.size(), 1.0) {}

void Textbook::SetHyperparameters(const rule::Hyperparameters& hyper) {
  newest_ = hyper;
}

bool Textbook::FoldsOnceACycle() const {
  return spec_.buffering != Buffering::kEmbedded ||
         spec_.decay == Decay::kPerCycle ||
         (spec_.k == 1 && spec_.update_every == 1);
}

void Textbook::Push(const std::vector<double>& payload,
                    const rule::PushFacts& facts) {
  if (position_ == 0) hyper_ = newest_;
  std::vector<double> gradient = payload;
  for (double& g : gradient) g /= facts.scale;
  Clip(hyper_.clip_push_norm, Norm(gradient), gradient);
  if (FoldsOnceACycle()) {
    const auto n = static_cast<double>(facts.micro_steps);
    cycle_.push_back({gradient, n * facts.weight, facts.gain_factor, n});
  } else {
    for (int64_t i = 0; i < facts.micro_steps; ++i) {
      FoldMicroStep(gradient, facts);
    }
  }
  position_ += facts.micro_steps;
  if (position_ == spec_.update_every) Close();
}

void Textbook::FoldMicroStep(const std::vector<double>& gradient,
                             const rule::PushFacts& facts) {
  const bool lion = spec_.optimizer == Optimizer::kLion;
  const double b1 = lion ? hyper_.beta2 : hyper_.beta1, b2 = hyper_.beta2;
  const double d = IsSgdLike(spec_) ? hyper_.dampening : b1;
  const auto k = static_cast<double>(spec_.k);
  double keep1 = b1, gain1 = 1 - d, keep2 = b2;
  if (spec_.decay == Decay::kSliding) {
    keep1 = 1 - (1 - b1) / k;
    gain1 = (1 - d) / k;
    if (spec_.slide_beta2) keep2 = 1 - (1 - b2) / k;
  } else if (spec_.decay == Decay::kSlidingExact) {
    keep1 = std::pow(b1, 1 / k);
    gain1 = (1 - keep1) * (1 - d) / (1 - b1);
    if (spec_.slide_beta2) keep2 = std::pow(b2, 1 / k);
  }
  const double gain2 = 1 - keep2;
  const double w = facts.weight;
  for (size_t e = 0; e < theta_.size(); ++e) {
    const double g = gradient[e];
    m_[e] = keep1 * m_[e] + gain1 * w * facts.gain_factor * g;
    l2_[e] = keep1 * l2_[e] + gain1 * hyper_.weight_decay * theta_[e];
    v_[e] = keep2 * v_[e] + gain2 * w * g * g;
    looked_at_[e] = m_[e];
  }
  mass1_ = keep1 * mass1_ + gain1 * w;
  mass2_ = keep2 * mass2_ + gain2 * w;
}

void Textbook::FoldCycle() {
  const bool classic = spec_.buffering != Buffering::kEmbedded;
  const bool lion = spec_.optimizer == Optimizer::kLion;
  const double b1 = lion ? hyper_.beta2 : hyper_.beta1, b2 = hyper_.beta2;
  const double one_minus_d = 1 - (IsSgdLike(spec_) ? hyper_.dampening : b1);
  double weights = 0;
  for (const Received& push : cycle_) weights += push.weight;
  const double divisor = classic ? weights : static_cast<double>(spec_.k);

  std::vector<double> mean(theta_.size()), square(theta_.size());
  for (const Received& push : cycle_) {
    const double adama = spec_.second_moment == rule::SecondMoment::kAdama
                             ? push.micro_steps / divisor
                             : 1;
    for (size_t e = 0; e < theta_.size(); ++e) {
      const double g = push.gradient[e];
      mean[e] += push.weight * push.gain_factor * g / divisor;
      square[e] += push.weight * adama * g * g / divisor;
    }
  }
  if (classic) {
    Clip(hyper_.clip_norm, Norm(mean), mean);
    for (size_t e = 0; e < theta_.size(); ++e) {
      if (spec_.optimizer == Optimizer::kAdam) {
        mean[e] += hyper_.weight_decay * theta_[e];
      }
      square[e] = mean[e] * mean[e];
    }
  }
  for (size_t e = 0; e < theta_.size(); ++e) {
    const double interpolated =
        hyper_.beta1 * m_[e] + (1 - hyper_.beta1) * mean[e];
    m_[e] = b1 * m_[e] + one_minus_d * mean[e];
    looked_at_[e] = lion ? interpolated : m_[e];
    v_[e] = b2 * v_[e] + (1 - b2) * square[e];
    l2_[e] = one_minus_d * hyper_.weight_decay * theta_[e];
    last_mean_[e] = one_minus_d * mean[e];
  }
  mass1_ = b1 * mass1_ + one_minus_d * weights / divisor;
  mass2_ = b2 * mass2_ + (1 - b2) * weights / divisor;
  if (spec_.second_moment == rule::SecondMoment::kCorrected) {
    std::vector<History::Push> pushes;
    for (const Received& push : cycle_) {
      pushes.push_back({.in_v = push.weight / divisor,
                        .in_m = push.weight * push.gain_factor / divisor,
                        .micro_steps = push.micro_steps});
    }
    history_.Add(b1, b2, pushes);
  }
  cycle_.clear();
}

double Textbook::VarianceHat(size_t element) const {
  const double v_hat = v_[element] / mass2_;
  if (spec_.second_moment != rule::SecondMoment::kCorrected) return v_hat;
  return history_.OfMeans(m_[element], v_hat);
}

void Textbook::Close() {
  if (FoldsOnceACycle()) FoldCycle();
  Step();
  std::fill(l2_.begin(), l2_.end(), 0.0);
  position_ = 0;
  ++updates_;
}

void Textbook::Step() {
  const double lr = LearningRate();
  const bool sgd = spec_.optimizer == Optimizer::kSgd;
  std::vector<double> v_hats(theta_.size());
  for (size_t e = 0; e < theta_.size(); ++e) v_hats[e] = VarianceHat(e);
  if (spec_.buffering == Buffering::kEmbedded) {
    const double before = Norm(m_);
    const bool corrects_bias = spec_.optimizer == Optimizer::kAdam ||
                               spec_.optimizer == Optimizer::kAdamW ||
                               spec_.optimizer == Optimizer::kLamb;
    const double mass = corrects_bias ? mass1_ : 1;
    Clip(hyper_.clip_norm, before / mass, m_);
    if (before > 0) history_.Clip(Norm(m_) / before);
  }
  std::vector<double> direction(theta_.size());
  for (size_t e = 0; e < theta_.size(); ++e) {
    double& theta = theta_[e];
    if (spec_.optimizer == Optimizer::kSignum ||
        spec_.optimizer == Optimizer::kLion) {
      theta *= 1 - lr * hyper_.weight_decay;
      theta -= lr * SignOf(e, looked_at_[e]);
      continue;
    }
    if (sgd) {
      m_[e] += l2_[e];
      const double gradient = last_mean_[e] + l2_[e];
      theta -= lr * (spec_.nesterov ? gradient + hyper_.beta1 * m_[e] : m_[e]);
      continue;
    }
    const double m_hat = m_[e] / mass1_;
    const double v_hat = v_hats[e];
    const double den = spec_.epsilon_place == rule::EpsilonPlace::kInside
                           ? std::sqrt(v_hat + hyper_.epsilon)
                           : std::sqrt(v_hat) + hyper_.epsilon;
    direction[e] = m_hat / den;
    if (spec_.optimizer == Optimizer::kLamb) continue;
    if (spec_.optimizer == Optimizer::kAdamW) {
      theta *= 1 - lr * hyper_.weight_decay;
    }
    theta -= lr * direction[e];
  }
  if (spec_.optimizer == Optimizer::kLamb) StepLamb(direction);
}

void Textbook::StepLamb(const std::vector<double>& adam_direction) {
  std::vector<double> r = adam_direction;
  for (size_t e = 0; e < r.size(); ++e) {
    r[e] += hyper_.weight_decay * theta_[e];
  }
  const double own = Norm(theta_), moved = Norm(r);
  const double trust = own > 0 && moved > 0 ? own / moved : 1;
  for (size_t e = 0; e < r.size(); ++e) {
    theta_[e] -= LearningRate() * trust * r[e];
  }
}

double Textbook::SignOf(size_t element, double x) {
  double& largest = largest_signed_[element];
  double& share = least_sign_share_[element];
  largest = std::max(largest, std::abs(x));
  if (largest > 0) share = std::min(share, std::abs(x) / largest);
  return x > 0 ? 1 : (x < 0 ? -1 : 0);
}

double Textbook::LearningRate() const {
  double scaling = 1;
  const auto k = static_cast<double>(spec_.k);
  if (spec_.lr_scaling == rule::LrScaling::kSqrt) scaling = std::sqrt(k);
  if (spec_.lr_scaling == rule::LrScaling::kLinear) scaling = k;
  return scaling * hyper_.learning_rate *
         TextbookScheduleFactor(hyper_.schedule, updates_);
}

}  // namespace accrue::oracle
