#include "tests/oracle/oracle.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <sstream>

namespace accrue::oracle {
namespace {

using rule::Buffering;
using rule::Optimizer;

Bounded Number(float x) { return Bounded::Exact(x); }

bool IsAdaptive(const rule::RuleSpec& spec) {
  return rule::HasSecondMoment(spec.optimizer);
}
bool IsClassic(const rule::RuleSpec& spec) {
  return spec.buffering == Buffering::kClassic;
}
bool IsGather(const rule::RuleSpec& spec) {
  return spec.buffering == Buffering::kGather;
}

// Of the whole vector, after its scale is undone.
rule::PushFacts WithNorm(rule::PushFacts facts, const std::vector<float>& x) {
  double squares = 0;
  for (const float element : x) {
    squares += static_cast<double>(element) * static_cast<double>(element);
  }
  facts.norm = std::sqrt(squares) / facts.scale;
  return facts;
}

// m <- keep1*m + gain1*g, v <- keep2*v + gain2*g^2 of one element. `S` has
// keeps and gains: PushScalars or BufferFold.
template <class S>
void FoldElement(const rule::RuleSpec& spec, const S& s, const Bounded& g,
                 Bounded& m, Bounded& v) {
  m = Number(s.keep1) * m + Number(s.gain1) * g;
  if (!IsAdaptive(spec)) return;
  v = Number(s.keep2) * v + Number(s.gain2) * (g * g);
}

// Lion: beta1*m + (1 - beta1)*g, of the m before the fold.
Bounded Mix(const rule::UpdateScalars& u, const Bounded& m, const Bounded& g) {
  return Number(u.mix_keep) * m + Number(u.mix_gain) * g;
}

// Known to within the bounds of its elements (triangle inequality), and to
// 2^-40 of itself however its squares are summed.
Bounded Norm(const std::vector<Bounded>& x) {
  double squares = 0, errors = 0;
  for (const Bounded& element : x) {
    squares += element.value * element.value;
    errors += element.error * element.error;
  }
  const double norm = std::sqrt(squares);
  return {norm, std::sqrt(errors) + 0x1p-40 * norm};
}

std::vector<double> Errors(const std::vector<Bounded>& x) {
  std::vector<double> errors;
  errors.reserve(x.size());
  for (const Bounded& element : x) errors.push_back(element.error);
  return errors;
}

double Shrink(double bound, double norm) {
  return norm <= bound ? 1.0 : bound / norm;
}

// The float nearest to min(1, bound/norm).
Bounded ClipFactor(double bound, const Bounded& norm) {
  const double factor = Shrink(bound, norm.value);
  const double high = Shrink(bound, std::max(norm.value - norm.error, 0.0));
  const double low = Shrink(bound, norm.value + norm.error);
  return Bounded::Narrowed(factor, std::max(high - factor, factor - low));
}

}  // namespace

// lr*|theta|/|r|, or lr where a norm is 0; narrowed once.
Bounded TrustRate(double lr, const Bounded& theta, const Bounded& r) {
  const auto is_zero = [](const Bounded& x) {
    return x.value == 0 && x.error == 0;
  };
  if (is_zero(theta) || is_zero(r)) return Bounded::Narrowed(lr, 0);
  if (r.value <= r.error) {
    return {lr, std::numeric_limits<double>::infinity()};
  }
  const double ratio = theta.value / r.value;
  double moved = (theta.value * r.error + r.value * theta.error) /
                 (r.value * (r.value - r.error));
  if (theta.value <= theta.error) moved = std::max(moved, 1 - ratio);
  return Bounded::Narrowed(lr * ratio, lr * moved);
}

Oracle::Oracle(const std::vector<Group>& groups) {
  for (const Group& group : groups) {
    State state;
    state.spec = group.spec;
    state.tensors = group.tensors;
    if (state.tensors.empty()) state.tensors = {group.theta.size()};
    for (const float x : group.theta) state.theta.push_back(Number(x));
    state.next = state.theta;
    state.m.resize(group.theta.size());
    state.v.resize(group.theta.size());
    state.a.resize(group.theta.size());
    state.mixed.resize(group.theta.size());
    at_.push_back(std::move(state));
  }
}

void Oracle::Push(const Payload& payload, const rule::PushFacts& facts) {
  std::vector<Ending> endings;
  for (size_t g = 0; g < at_.size(); ++g) {
    State& state = at_[g];
    if (IsGather(state.spec)) {
      state.held.push_back(payload[g]);
      state.held_facts.push_back(WithNorm(facts, payload[g]));
      if (rule::HoldPush(state.spec, facts.micro_steps, state.cycle)) {
        endings.push_back({g, EndOf(state)});
      }
      continue;
    }
    rule::PushPlan plan;
    Fold(payload[g], facts, state, plan);
    if (!plan.update.has_value()) continue;
    rule::ClosePlan end;
    if (IsClassic(at_[g].spec)) end.look_ahead = plan.look_ahead;
    end.buffer_fold = plan.buffer_fold;
    end.update = *plan.update;
    endings.push_back({g, end});
  }
  End(endings);
}

void Oracle::Fold(const std::vector<float>& x, rule::PushFacts facts,
                  State& state, rule::PushPlan& plan) {
  facts = WithNorm(facts, x);
  const double weight = state.cycle.noise.moment.mass;
  plan = rule::PlanPush(state.spec, facts, state.cycle);
  if (!IsClassic(state.spec)) {  // what is new in the weights is exact
    state.clip_slack *= static_cast<double>(plan.push.keep1) * weight /
                        state.cycle.noise.moment.mass;
  }
  const Bounded mult = Factor(plan.push, facts, state);
  const std::vector<double> errors = Errors(state.m);
  for (size_t e = 0; e < x.size(); ++e) {
    const Bounded g = mult * Number(x[e]);
    if (IsClassic(state.spec)) {
      const Bounded term = Number(plan.push.weight) * g;
      state.a[e] = plan.push.first ? term : state.a[e] + term;
      continue;
    }
    if (plan.look_ahead.has_value()) {
      state.next[e] =
          state.theta[e] + Number(plan.look_ahead->ahead) * state.m[e];
    }
    if (plan.update.has_value()) {
      state.mixed[e] = Mix(*plan.update, state.m[e], g);
    }
    FoldElement(state.spec, plan.push, g, state.m[e], state.v[e]);
    if (plan.look_ahead.has_value() && plan.look_ahead->l2 != 0) {
      state.m[e] = state.m[e] + Number(plan.look_ahead->l2) * state.theta[e];
    }
  }
  if (!IsClassic(state.spec)) {
    TrackDistance(static_cast<double>(plan.push.keep1), errors, state);
  }
}

Bounded Oracle::Factor(const rule::PushScalars& push,
                       const rule::PushFacts& facts, const State& state) {
  // The last bit of a norm, and with it of the float made from it, depends on
  // the order of its sum.
  Bounded mult = Number(push.mult);
  const double bound = state.cycle.active.clip_push_norm;
  if (bound > 0 && facts.norm > bound * (1 - 0x1p-40)) {
    mult.error = 0x1p-23 * std::abs(mult.value);
    ++clipped_pushes_;
  }
  return mult;
}

rule::ClosePlan Oracle::EndOf(State& state) {
  if (!IsGather(state.spec)) return rule::PlanClose(state.spec, state.cycle);
  const rule::GatherPlan plan =
      rule::PlanGather(state.spec, state.held_facts, state.cycle);
  for (size_t p = 0; p < plan.pushes.size(); ++p) {
    const Bounded mult = Factor(plan.pushes[p], state.held_facts[p], state);
    for (size_t e = 0; e < state.a.size(); ++e) {
      const Bounded term =
          Number(plan.pushes[p].weight) * (mult * Number(state.held[p][e]));
      state.a[e] = p == 0 ? term : state.a[e] + term;
    }
  }
  state.held.clear();
  state.held_facts.clear();
  return plan.close;
}

void Oracle::TrackDistance(double keep, const std::vector<double>& errors,
                           State& state) {
  double squares = 0;
  for (size_t e = 0; e < errors.size(); ++e) {
    const double gained = state.m[e].error - keep * errors[e];
    squares += gained * gained;
  }
  // Widened for the roundings of double.
  state.m_distance =
      (1 + 0x1p-40) * (keep * state.m_distance + std::sqrt(squares));
}

void Oracle::ClipMomentum(const Bounded& clip, State& state) {
  double squares = 0;
  for (Bounded& m : state.m) {
    m = clip * m;
    squares += m.value * m.value;
  }
  // The factor is rounded, and so is each product; 2^-40 as in Norm.
  const double roundings = 2 * 0x1p-24 * (1 + 0x1p-10) + 0x1p-40;
  state.m_distance +=
      roundings * (std::sqrt(squares) + state.m_distance) + 0x1p-140;
  for (Bounded& m : state.m) m.error = std::min(m.error, state.m_distance);
}

void Oracle::End(const std::vector<Ending>& endings) {
  // What each group's clip measures: the mean gradient, or the moment.
  std::vector<Bounded> norms;
  std::vector<Bounded> all;
  for (const Ending& ending : endings) {
    const State& state = at_[ending.group];
    std::vector<Bounded> measured = state.m;
    double factor = ending.plan.update.norm_factor;
    if (rule::FoldsMean(state.spec)) {
      const Bounded mean = Number(ending.plan.buffer_fold->mean);
      for (size_t e = 0; e < state.a.size(); ++e) {
        measured[e] = mean * state.a[e];
      }
      factor = 1;
    }
    const Bounded norm = Norm(measured);
    norms.push_back({norm.value * factor, norm.error * factor});
    all.insert(all.end(), measured.begin(), measured.end());
  }
  for (size_t i = 0; i < endings.size(); ++i) {
    State& state = at_[endings[i].group];
    const rule::ClosePlan& plan = endings[i].plan;
    Bounded clip = Number(1);
    if (plan.update.clip_norm > 0) {
      const bool over_groups = state.spec.clip_scope == rule::ClipScope::kModel;
      clip =
          ClipFactor(plan.update.clip_norm, over_groups ? Norm(all) : norms[i]);
      if (clip.value < 1) ++clipped_updates_;
      state.clip_slack += clip.error / clip.value;
    }
    Update(plan, clip, state);
  }
}

void Oracle::Update(const rule::ClosePlan& plan, const Bounded& clip,
                    State& state) {
  const rule::UpdateScalars& u = plan.update;
  const bool clips = u.clip_norm > 0;
  const bool classic = plan.buffer_fold.has_value();
  if (clips) rule::ClipNoise(clip.value, classic, state.cycle.noise);
  const std::vector<Bounded> unclipped = state.m;
  if (clips && !classic) ClipMomentum(clip, state);
  const std::vector<double> errors = Errors(state.m);
  for (size_t e = 0; e < state.theta.size(); ++e) {
    Bounded& theta = state.theta[e];
    Bounded& next = state.next[e];
    Bounded& m = state.m[e];
    Bounded& v = state.v[e];
    if (classic) {
      Bounded g = Number(plan.buffer_fold->mean) * state.a[e];
      if (clips) g = clip * g;
      if (plan.buffer_fold->grad_l2 != 0) {
        g = g + Number(plan.buffer_fold->grad_l2) * theta;
      }
      if (plan.look_ahead.has_value()) {
        next = theta + Number(plan.look_ahead->ahead) * m;
      }
      state.mixed[e] = Mix(u, m, g);
      FoldElement(state.spec, *plan.buffer_fold, g, m, v);
      if (plan.look_ahead.has_value() && plan.look_ahead->l2 != 0) {
        m = m + Number(plan.look_ahead->l2) * theta;
      }
    }
    if (IsAdaptive(state.spec)) {
      const Bounded v_hat = VarianceHat(u, unclipped[e], v, state.clip_slack);
      const Bounded epsilon = Number(u.epsilon);
      const Bounded den =
          state.spec.epsilon_place == rule::EpsilonPlace::kInside
              ? Sqrt(v_hat + epsilon)
              : Sqrt(v_hat) + epsilon;
      if (state.spec.optimizer == Optimizer::kLamb) {
        next = Number(u.inv_mass1) * (m / den);
        if (u.weight_decay != 0) next = next + Number(u.weight_decay) * theta;
        continue;
      }
      next = theta * Number(u.decay) - Number(u.lr) * (m / den);
    } else if (rule::StepsBySign(state.spec.optimizer)) {
      const Bounded& c = u.mix_gain != 0 ? state.mixed[e] : m;
      next = theta * Number(u.decay) - Number(u.lr) * Sign(c);
    } else if (state.spec.nesterov) {
      next = next - Number(u.lr) * m;
    } else {
      if (u.l2 != 0) m = m + Number(u.l2) * theta;
      next = theta - Number(u.lr) * m;
    }
    theta = next;
  }
  if (state.spec.optimizer == Optimizer::kLamb) StepByTrust(u.rate, state);
  if (!classic) TrackDistance(1, errors, state);
}

// A float backend's noise sums differ from ours by what its clip factors do:
// W by `slack` of itself, R by no more than twice as much. Hence rho = R/W^2 by
// 4 of them and, since dc/c = drho/rho * q/(q - rho), noise_gain
// c = rho/(q - rho) by 4*(1 + c) of them. No clip touches p and q.
Bounded Oracle::VarianceHat(const rule::UpdateScalars& u, const Bounded& m,
                            const Bounded& v, double slack) {
  const Bounded v_hat = v * Number(u.inv_mass2);
  const rule::Correction& correction = u.correction;
  if (correction.noise_share == 1) return v_hat;
  const auto slackened = [slack](float x, double times) {
    Bounded result = Number(x);
    // Narrowed anew, it may be the next float.
    if (slack > 0) {
      result.error = (times * slack + 0x1p-23) * std::abs(result.value);
    }
    return result;
  };
  const double spread = 4 * (1 + static_cast<double>(correction.noise_gain));
  const Bounded mean = m * slackened(correction.inv_weight, 1);
  const Bounded square = Clamp(mean * mean, v_hat);
  const Bounded signal = Clamp(
      square + slackened(correction.noise_gain, spread) * (square - v_hat),
      v_hat);
  return signal + (v_hat - signal) * Number(correction.noise_share);
}

void Oracle::StepByTrust(double rate, State& state) {
  auto theta = state.theta.begin();
  auto r = state.next.begin();
  for (const size_t size : state.tensors) {
    const auto count = static_cast<std::ptrdiff_t>(size);
    const Bounded scale =
        TrustRate(rate, Norm({theta, theta + count}), Norm({r, r + count}));
    for (size_t e = 0; e < size; ++e, ++theta, ++r)
      *theta = *theta - scale * *r;
  }
  state.next = state.theta;
}

void Oracle::Close() {
  std::vector<Ending> endings;
  for (size_t g = 0; g < at_.size(); ++g) {
    if (at_[g].cycle.position == 0) continue;
    endings.push_back({g, EndOf(at_[g])});
  }
  End(endings);
}

void Oracle::CloseNearest() {
  int64_t nearest = std::numeric_limits<int64_t>::max();
  for (const State& state : at_) {
    if (state.cycle.position == 0) continue;
    nearest = std::min(nearest, state.spec.update_every - state.cycle.position);
  }
  std::vector<Ending> endings;
  for (size_t g = 0; g < at_.size(); ++g) {
    State& state = at_[g];
    if (state.cycle.position == 0) continue;
    if (state.spec.update_every - state.cycle.position == nearest) {
      endings.push_back({g, EndOf(state)});
    } else {
      rule::SkipPushes(nearest, state.cycle);
    }
  }
  End(endings);
}

void Oracle::SetHyperparameters(size_t group,
                                const rule::Hyperparameters& hyper) {
  at_[group].spec.hyper = hyper;
}

std::string Mismatch(const char* what, const std::vector<Bounded>& want,
                     const float* got, size_t count) {
  std::ostringstream out;
  out.precision(9);
  if (count != want.size()) {
    out << what << ": got " << count << " elements, want " << want.size();
    return out.str();
  }
  for (size_t e = 0; e < count; ++e) {
    if (want[e].Contains(got[e])) continue;
    out << what << "[" << e << "]: got " << got[e] << ", want " << want[e].value
        << " within " << want[e].error;
    return out.str();
  }
  return "";
}

}  // namespace accrue::oracle
