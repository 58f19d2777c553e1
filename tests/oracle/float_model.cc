#include "tests/oracle/float_model.h"

#include <algorithm>
#include <cmath>

namespace accrue::oracle {
namespace {

double Squares(const std::vector<float>& x) {
  double squares = 0;
  for (const float e : x) {
    squares += static_cast<double>(e) * static_cast<double>(e);
  }
  return squares;
}

double Norm(const std::vector<float>& x) { return std::sqrt(Squares(x)); }

}  // namespace

FloatModel::FloatModel(const rule::RuleSpec& spec,
                       const std::vector<float>& theta)
    : spec(spec),
      theta(theta),
      next(theta),
      m(theta.size()),
      v(theta.size()),
      a(theta.size()),
      mixed(theta.size()) {}

rule::PushPlan FloatModel::Push(const std::vector<float>& x,
                                rule::PushFacts facts) {
  facts.norm = Norm(x) / facts.scale;
  if (spec.buffering == rule::Buffering::kGather) return Hold(x, facts);
  const rule::PushPlan plan = rule::PlanPush(spec, facts, cycle);
  if (spec.buffering == rule::Buffering::kClassic) {
    Accumulate(plan.push, x);
  } else {
    std::vector<float> g(x.size());
    for (size_t e = 0; e < x.size(); ++e) g[e] = plan.push.mult * x[e];
    if (plan.look_ahead) LookAheadOf(*plan.look_ahead);
    if (plan.update) Mix(*plan.update, g);
    Fold(g, plan.push.keep1, plan.push.gain1, plan.push.keep2, plan.push.gain2);
    if (plan.look_ahead) AddL2(plan.look_ahead->l2);
  }
  if (plan.update) {
    rule::ClosePlan end;
    if (plan.buffer_fold) end.look_ahead = plan.look_ahead;
    end.buffer_fold = plan.buffer_fold;
    end.update = *plan.update;
    End(end);
  }
  return plan;
}

void FloatModel::Accumulate(const rule::PushScalars& push,
                            const std::vector<float>& x) {
  for (size_t e = 0; e < x.size(); ++e) {
    const float g = push.mult * x[e];
    const float term = push.weight * g;
    a[e] = push.first ? term : a[e] + term;
  }
}

rule::PushPlan FloatModel::Hold(const std::vector<float>& x,
                                const rule::PushFacts& facts) {
  held_.push_back(x);
  held_facts_.push_back(facts);
  rule::PushPlan plan;
  if (!rule::HoldPush(spec, facts.micro_steps, cycle)) return plan;
  const rule::ClosePlan end = Gather();
  plan.look_ahead = end.look_ahead;
  plan.buffer_fold = end.buffer_fold;
  plan.update = end.update;
  return plan;
}

rule::ClosePlan FloatModel::Gather() {
  const rule::GatherPlan plan = rule::PlanGather(spec, held_facts_, cycle);
  for (size_t p = 0; p < held_.size(); ++p) {
    Accumulate(plan.pushes[p], held_[p]);
  }
  held_.clear();
  held_facts_.clear();
  End(plan.close);
  return plan.close;
}

rule::ClosePlan FloatModel::Close() {
  if (spec.buffering == rule::Buffering::kGather) return Gather();
  const rule::ClosePlan plan = rule::PlanClose(spec, cycle);
  End(plan);
  return plan;
}

double FloatModel::MomentumSquares() const { return Squares(m); }

void FloatModel::LookAheadOf(const rule::LookAhead& look_ahead) {
  for (size_t e = 0; e < m.size(); ++e) {
    next[e] = theta[e] + look_ahead.ahead * m[e];
  }
}

void FloatModel::AddL2(float l2) {
  if (l2 == 0) return;
  for (size_t e = 0; e < m.size(); ++e) m[e] = m[e] + l2 * theta[e];
}

void FloatModel::Fold(const std::vector<float>& g, float keep1, float gain1,
                      float keep2, float gain2) {
  for (size_t e = 0; e < m.size(); ++e) {
    m[e] = keep1 * m[e] + gain1 * g[e];
    v[e] = keep2 * v[e] + gain2 * (g[e] * g[e]);
  }
}

void FloatModel::Mix(const rule::UpdateScalars& update,
                     const std::vector<float>& g) {
  for (size_t e = 0; e < m.size(); ++e) {
    mixed[e] = update.mix_keep * m[e] + update.mix_gain * g[e];
  }
}

float FloatModel::Clip(const rule::UpdateScalars& update,
                       const std::vector<float>& x) {
  const double norm = Norm(x) * update.norm_factor;
  rule::ApplyClip(spec, norm, cycle);
  if (update.clip_norm == 0 || norm <= update.clip_norm) return 1.0f;
  return static_cast<float>(update.clip_norm / norm);
}

void FloatModel::End(const rule::ClosePlan& plan) {
  const rule::UpdateScalars& u = plan.update;
  if (plan.buffer_fold) {
    const rule::BufferFold& fold = *plan.buffer_fold;
    std::vector<float> g(a.size());
    for (size_t e = 0; e < a.size(); ++e) g[e] = fold.mean * a[e];
    const float clip = Clip(u, g);
    for (size_t e = 0; e < a.size(); ++e) {
      g[e] = clip * g[e];
      if (fold.grad_l2 != 0) g[e] = g[e] + fold.grad_l2 * theta[e];
    }
    if (plan.look_ahead) LookAheadOf(*plan.look_ahead);
    Mix(u, g);
    Fold(g, fold.keep1, fold.gain1, fold.keep2, fold.gain2);
    if (plan.look_ahead) AddL2(plan.look_ahead->l2);
  }
  const std::vector<float> unclipped = m;
  if (!plan.buffer_fold) {
    const float clip = Clip(u, m);
    for (float& x : m) x = clip * x;
  }
  if (spec.optimizer == rule::Optimizer::kSgd && !spec.nesterov) AddL2(u.l2);
  std::vector<float> r(m.size());  // lamb, of a group that is one tensor
  for (size_t e = 0; e < m.size(); ++e) {
    if (rule::StepsBySign(spec.optimizer)) {
      const float c = u.mix_gain != 0 ? mixed[e] : m[e];
      const float sign = c > 0 ? 1.0f : (c < 0 ? -1.0f : 0.0f);
      next[e] = theta[e] * u.decay - u.lr * sign;
      continue;
    }
    if (spec.optimizer == rule::Optimizer::kSgd) {
      next[e] = (spec.nesterov ? next[e] : theta[e]) - u.lr * m[e];
      continue;
    }
    float v_hat = v[e] * u.inv_mass2;
    if (u.correction.noise_share != 1) {
      const float mean = unclipped[e] * u.correction.inv_weight;
      const float x = std::min(mean * mean, v_hat);
      const float s = std::max(x + u.correction.noise_gain * (x - v_hat), 0.0f);
      v_hat = s + (v_hat - s) * u.correction.noise_share;
    }
    const float den = spec.epsilon_place == rule::EpsilonPlace::kInside
                          ? std::sqrt(v_hat + u.epsilon)
                          : std::sqrt(v_hat) + u.epsilon;
    next[e] = theta[e] * u.decay - u.lr * (m[e] / den);
    r[e] = u.inv_mass1 * (m[e] / den);
    if (u.weight_decay != 0) r[e] = r[e] + u.weight_decay * theta[e];
  }
  if (spec.optimizer == rule::Optimizer::kLamb) {
    const double ratio =
        Norm(theta) == 0 || Norm(r) == 0 ? 1 : Norm(theta) / Norm(r);
    const auto rate = static_cast<float>(u.rate * ratio);
    for (size_t e = 0; e < m.size(); ++e) next[e] = theta[e] - rate * r[e];
  }
  theta = next;
}

}  // namespace accrue::oracle
