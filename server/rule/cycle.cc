#include "server/rule/cycle.h"

#include <algorithm>

#include "server/rule/coefficients.h"
#include "server/rule/correction.h"
#include "server/rule/noise.h"
#include "server/rule/schedule.h"

namespace accrue::rule {
namespace {

bool IsAdaptive(const RuleSpec& spec) {
  return HasSecondMoment(spec.optimizer);
}

// Where there is a choice of it: at k = 1 it may be any, and means nothing.
bool SecondMomentIs(SecondMoment chosen, const RuleSpec& spec) {
  return spec.second_moment == chosen && IsAdaptive(spec) &&
         EffectiveDecay(spec) == Decay::kPerCycle && !FoldsMean(spec);
}

bool IsCorrected(const RuleSpec& spec) {
  return SecondMomentIs(SecondMoment::kCorrected, spec);
}

// 1/scale, and the per-push clip's min(1, bound/norm).
float PayloadFactor(const Hyperparameters& hyper, const PushFacts& facts) {
  double clip = 1.0;
  if (hyper.clip_push_norm > 0 && facts.norm > hyper.clip_push_norm) {
    clip = hyper.clip_push_norm / facts.norm;
  }
  return static_cast<float>(clip / facts.scale);
}

// That of the gradient as it is folded.
double FoldedNorm(const Hyperparameters& hyper, const PushFacts& facts) {
  if (hyper.clip_push_norm == 0) return facts.norm;
  return std::min(facts.norm, hyper.clip_push_norm);
}

// The article's gain of g^2, times what the convention makes of it.
double SecondMomentGain(const RuleSpec& spec, double article_gain,
                        int64_t micro_steps) {
  if (!SecondMomentIs(SecondMoment::kAdama, spec)) return article_gain;
  return article_gain * static_cast<double>(micro_steps) /
         static_cast<double>(spec.k);
}

void FoldMass(float keep, double gain, double& mass) {
  mass = static_cast<double>(keep) * mass +
         static_cast<double>(static_cast<float>(gain));
}

// Scalars of a push that goes straight into the moments.
void FoldPush(const RuleSpec& spec, const PushFacts& facts, CycleState& state,
              PushScalars& push) {
  const int64_t n = facts.micro_steps;
  const Coefficients m =
      PushCoefficients(FirstMomentRule(spec, state.active), push.first, n);
  push.keep1 = m.keep;
  push.gain1 = static_cast<float>(m.gain * facts.weight * facts.gain_factor);
  const double norm = FoldedNorm(state.active, facts);
  FoldNoise(push.keep1, push.gain1, n, norm, state.noise.moment);
  FoldNoise(push.keep1, push.gain1, n, norm, state.noise.cycle);
  if (!IsAdaptive(spec)) return;

  const Coefficients v =
      PushCoefficients(SecondMomentRule(spec, state.active), push.first, n);
  push.keep2 = v.keep;
  push.gain2 =
      static_cast<float>(SecondMomentGain(spec, v.gain, n) * facts.weight);
  FoldMass(m.keep, m.gain * facts.weight, state.mass1);
  FoldMass(v.keep, v.gain * facts.weight, state.mass2);
  if (IsCorrected(spec)) {
    FoldPushShare(push.keep2, push.gain2, n, state.correction);
  }
}

void BufferPush(const PushFacts& facts, CycleState& state, PushScalars& push) {
  const double weight = static_cast<double>(facts.micro_steps) * facts.weight;
  push.weight = static_cast<float>(weight * facts.gain_factor);
  state.weight_sum += static_cast<double>(static_cast<float>(weight));
  FoldNoise(1.0f, push.weight, facts.micro_steps,
            FoldedNorm(state.active, facts), state.noise.cycle);
}

// The single fold of the cycle's mean: as a push at k = 1 with weight 1.
BufferFold PlanBufferFold(const RuleSpec& spec, CycleState& state) {
  BufferFold fold;
  fold.mean = static_cast<float>(1.0 / state.weight_sum);
  const Coefficients m =
      PushCoefficients(FirstMomentRule(spec, state.active), true, 1);
  fold.keep1 = m.keep;
  fold.gain1 = static_cast<float>(m.gain);
  FoldCycleNoise(
      fold.keep1,
      static_cast<double>(fold.gain1) * static_cast<double>(fold.mean),
      state.noise);
  if (!IsAdaptive(spec)) return fold;

  const Coefficients v =
      PushCoefficients(SecondMomentRule(spec, state.active), true, 1);
  fold.keep2 = v.keep;
  fold.gain2 = static_cast<float>(v.gain);
  FoldMass(m.keep, m.gain, state.mass1);
  FoldMass(v.keep, v.gain, state.mass2);
  if (spec.optimizer == Optimizer::kAdam) {
    fold.grad_l2 = static_cast<float>(state.active.weight_decay);
  }
  return fold;
}

float SgdL2(const RuleSpec& spec, const CycleState& state) {
  const double coefficient =
      L2Coefficient(FirstMomentRule(spec, state.active), state.since_update);
  return static_cast<float>(coefficient * state.active.weight_decay);
}

// Nesterov cycles decay once, so that L2 does not need to know s.
LookAhead PlanLookAhead(const RuleSpec& spec, const CycleState& state) {
  const double lr = LearningRate(spec, state.active, state.updates);
  LookAhead look_ahead;
  look_ahead.ahead = static_cast<float>(lr * state.active.beta1);
  look_ahead.l2 = SgdL2(spec, state);
  return look_ahead;
}

UpdateScalars PlanUpdate(const RuleSpec& spec, const CycleState& state) {
  const Hyperparameters& hyper = state.active;
  const double lr = LearningRate(spec, hyper, state.updates);
  UpdateScalars update;
  update.clip_norm = hyper.clip_norm;
  if (StepsBySign(spec.optimizer)) {
    update.lr = static_cast<float>(lr);
    update.decay = static_cast<float>(1.0 - lr * hyper.weight_decay);
    return update;
  }
  if (!IsAdaptive(spec)) {
    update.lr =
        static_cast<float>(spec.nesterov ? lr * (1.0 + hyper.beta1) : lr);
    if (!spec.nesterov) update.l2 = SgdL2(spec, state);
    return update;
  }
  if (spec.optimizer == Optimizer::kLamb) {
    update.rate = lr;
    update.inv_mass1 = static_cast<float>(1.0 / state.mass1);
    update.weight_decay = static_cast<float>(hyper.weight_decay);
  } else {
    update.lr = static_cast<float>(lr / state.mass1);
  }
  update.inv_mass2 = static_cast<float>(1.0 / state.mass2);
  if (IsCorrected(spec)) {
    update.correction =
        MakeCorrection(state.correction, state.noise.moment, state.mass2);
  }
  update.epsilon = static_cast<float>(hyper.epsilon);
  if (spec.optimizer == Optimizer::kAdamW) {
    update.decay = static_cast<float>(1.0 - lr * hyper.weight_decay);
  }
  if (!FoldsMean(spec)) {
    update.norm_factor = 1.0 / state.mass1;
  }
  return update;
}

// What lion looks at beside m: the gradient of the cycle's only fold, which
// `gain_factor` multiplies there as in m. Where the betas are equal, that is
// the m which this fold makes.
void PlanMix(const RuleSpec& spec, const CycleState& state, double gain_factor,
             UpdateScalars& update) {
  const Hyperparameters& hyper = state.active;
  if (spec.optimizer != Optimizer::kLion || hyper.beta1 == hyper.beta2) return;
  update.mix_keep = static_cast<float>(hyper.beta1);
  const double gain = 1.0 - static_cast<double>(update.mix_keep);
  update.mix_gain = static_cast<float>(gain * gain_factor);
}

ClosePlan EndCycle(const RuleSpec& spec, CycleState& state) {
  ClosePlan plan;
  if (FoldsMean(spec)) {
    if (spec.nesterov) plan.look_ahead = PlanLookAhead(spec, state);
    plan.buffer_fold = PlanBufferFold(spec, state);
  }
  if (IsCorrected(spec)) {
    const Coefficients v =
        PushCoefficients(SecondMomentRule(spec, state.active), true, 1);
    FoldCycleShare(v.keep, NoiseLeft(state.noise.cycle), state.correction);
  }
  plan.update = PlanUpdate(spec, state);
  if (plan.buffer_fold) PlanMix(spec, state, 1.0, plan.update);
  state.position = 0;
  state.micro_steps = 0;
  state.since_update = 0;
  state.weight_sum = 0;
  ++state.updates;
  return plan;
}

void BeginCycle(const RuleSpec& spec, int64_t micro_steps, CycleState& state) {
  state.active = spec.hyper;
  state.micro_steps = micro_steps;
  state.noise.cycle = {};
}

// True if the cycle is full.
bool CountPush(const RuleSpec& spec, int64_t micro_steps, CycleState& state) {
  state.position += micro_steps;
  state.since_update += micro_steps;
  return state.position >= spec.update_every;
}

}  // namespace

PushPlan PlanPush(const RuleSpec& spec, const PushFacts& facts,
                  CycleState& state) {
  PushPlan plan;
  plan.push.first = state.position == 0;
  if (plan.push.first) {
    BeginCycle(spec, facts.micro_steps, state);
    if (spec.nesterov && spec.buffering == Buffering::kEmbedded) {
      plan.look_ahead = PlanLookAhead(spec, state);
    }
  }
  plan.push.mult = PayloadFactor(state.active, facts);
  if (spec.buffering == Buffering::kClassic) {
    BufferPush(facts, state, plan.push);
  } else {
    FoldPush(spec, facts, state, plan.push);
  }
  if (!CountPush(spec, facts.micro_steps, state)) return plan;

  const ClosePlan end = EndCycle(spec, state);
  if (end.look_ahead.has_value()) plan.look_ahead = end.look_ahead;
  plan.buffer_fold = end.buffer_fold;
  plan.update = end.update;
  if (!plan.buffer_fold) {
    PlanMix(spec, state, facts.weight * facts.gain_factor, *plan.update);
  }
  return plan;
}

bool HoldPush(const RuleSpec& spec, int64_t micro_steps, CycleState& state) {
  if (state.position == 0) BeginCycle(spec, micro_steps, state);
  return CountPush(spec, micro_steps, state);
}

GatherPlan PlanGather(const RuleSpec& spec, const std::vector<PushFacts>& facts,
                      CycleState& state) {
  GatherPlan plan;
  plan.pushes.resize(facts.size());
  for (size_t p = 0; p < facts.size(); ++p) {
    PushScalars& push = plan.pushes[p];
    push.first = p == 0;
    push.mult = PayloadFactor(state.active, facts[p]);
    BufferPush(facts[p], state, push);
  }
  plan.close = EndCycle(spec, state);
  return plan;
}

ClosePlan PlanClose(const RuleSpec& spec, CycleState& state) {
  return EndCycle(spec, state);
}

float ClipFactor(double norm, double bound) {
  return norm > bound ? static_cast<float>(bound / norm) : 1.0f;
}

void ApplyClip(const RuleSpec& spec, double norm, CycleState& state) {
  if (state.active.clip_norm == 0) return;
  const float factor = ClipFactor(norm, state.active.clip_norm);
  ClipNoise(static_cast<double>(factor),
            /*of_cycle=*/FoldsMean(spec), state.noise);
}

void SkipPushes(int64_t pushes, CycleState& state) { state.position += pushes; }

}  // namespace accrue::rule
