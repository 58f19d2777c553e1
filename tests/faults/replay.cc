#include "tests/faults/replay.h"

#include <cmath>
#include <utility>

namespace accrue::faults {
namespace {

using client::Hyperparameters;

float Narrow(double x) { return static_cast<float>(x); }
double Widen(float x) { return static_cast<double>(x); }

// 1 - d; where d is b, of the narrowed b.
double OneMinusDampening(double b, double d) {
  return d == b ? 1.0 - Widen(Narrow(b)) : 1.0 - d;
}

double Beta1(const Hyperparameters& hyper, bool adaptive) {
  return hyper.beta1.value_or(adaptive ? 0.9 : 0.0);
}

double Beta2(const Hyperparameters& hyper) {
  return hyper.beta2.value_or(0.999);
}

double Dampening(const Hyperparameters& hyper, bool adaptive) {
  return adaptive ? Beta1(hyper, adaptive) : hyper.dampening.value_or(0);
}

}  // namespace

Replay::Replay(const client::ModelSpec& spec, std::vector<float> theta)
    : optimizer_(spec.optimizer),
      stale_policy_(spec.stale_policy),
      max_staleness_(spec.max_staleness),
      theta_(std::move(theta)),
      m_(theta_.size()),
      v_(theta_.size()) {
  for (const client::GroupSpec& group : spec.groups) {
    groups_.push_back({.spec = group});
  }
  size_t element = 0;
  for (const client::TensorSpec& tensor : spec.tensors) {
    for (Group& group : groups_) {
      if (group.spec.name != tensor.group) continue;
      for (int64_t i = 0; i < client::ElementCount(tensor); ++i) {
        group.elements.push_back(element++);
      }
    }
  }
}

bool Replay::Push(const ReplayedPush& push) {
  const int64_t staleness = version_ - push.version;
  double damping = 1;
  if (stale_policy_ == client::StalePolicy::kDampen && max_staleness_ >= 0 &&
      staleness > max_staleness_) {
    damping = 1.0 / static_cast<double>(1 + staleness);
  }
  bool publishes = false;
  for (Group& group : groups_) {
    Fold(push, damping, group);
    group.position += push.micro_steps;
    if (group.position < group.spec.k) continue;
    Update(group);
    publishes = true;
  }
  t_ += push.micro_steps;
  if (publishes) ++version_;
  return publishes;
}

bool Replay::Close() {
  bool publishes = false;
  for (Group& group : groups_) {
    if (group.position == 0) continue;
    Update(group);
    publishes = true;
  }
  if (publishes) ++version_;
  return publishes;
}

void Replay::Fold(const ReplayedPush& push, double damping, Group& group) {
  const Hyperparameters& hyper = group.spec.hyperparameters;
  const bool first = group.position == 0;
  const auto n = static_cast<double>(push.micro_steps);
  const auto k = static_cast<double>(group.spec.k);

  const double beta1 = Beta1(hyper, adaptive());
  const float keep1 = first ? Narrow(beta1) : 1.0f;
  const double gain =
      OneMinusDampening(beta1, Dampening(hyper, adaptive())) * n / k;
  const float gain1 = Narrow(gain * push.weight * damping);
  group.mass1 = Widen(keep1) * group.mass1 + Widen(Narrow(gain * push.weight));

  const float keep2 = first ? Narrow(Beta2(hyper)) : 1.0f;
  const double article = OneMinusDampening(Beta2(hyper), Beta2(hyper)) * n / k;
  const bool adama = optimizer_.second_moment == client::SecondMoment::kAdamA;
  const float gain2 = Narrow((adama ? article * n / k : article) * push.weight);
  group.mass2 =
      Widen(keep2) * group.mass2 + Widen(Narrow(article * push.weight));

  const float factor = Narrow(1.0 / push.scale);
  for (const size_t e : group.elements) {
    const float g = factor * push.gradient[e];
    m_[e] = keep1 * m_[e] + gain1 * g;
    if (adaptive()) v_[e] = keep2 * v_[e] + gain2 * (g * g);
  }
}

void Replay::Update(Group& group) {
  if (adaptive()) {
    UpdateAdam(group);
  } else {
    UpdateSgd(group);
  }
  group.position = 0;
}

void Replay::UpdateSgd(const Group& group) {
  const Hyperparameters& hyper = group.spec.hyperparameters;
  const float lr = Narrow(*hyper.learning_rate);
  const float l2 =
      Narrow(OneMinusDampening(Beta1(hyper, false), Dampening(hyper, false)) *
             hyper.weight_decay.value_or(0));
  for (const size_t e : group.elements) {
    if (l2 != 0) m_[e] = m_[e] + l2 * theta_[e];
    theta_[e] = theta_[e] - lr * m_[e];
  }
}

void Replay::UpdateAdam(const Group& group) {
  const Hyperparameters& hyper = group.spec.hyperparameters;
  const double rate = *hyper.learning_rate;
  const float lr = Narrow(rate / group.mass1);
  const float inv_mass2 = Narrow(1.0 / group.mass2);
  const float epsilon = Narrow(hyper.epsilon.value_or(1e-8));
  const bool decoupled = optimizer_.optimizer == client::Optimizer::kAdamW;
  const float decay =
      decoupled ? Narrow(1.0 - rate * hyper.weight_decay.value_or(0)) : 1.0f;
  for (const size_t e : group.elements) {
    const float denominator = std::sqrt(v_[e] * inv_mass2) + epsilon;
    theta_[e] = theta_[e] * decay - lr * (m_[e] / denominator);
  }
}

}  // namespace accrue::faults
