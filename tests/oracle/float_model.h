// FloatModel: one group folded by its plans, in plain floats, as rule/cycle.h
// says; the smallest thing that can show what the rule alone promises.
//
// Threading. compatible.
#ifndef ACCRUE_TESTS_ORACLE_FLOAT_MODEL_H_
#define ACCRUE_TESTS_ORACLE_FLOAT_MODEL_H_

#include <cstddef>
#include <vector>

#include "server/rule/cycle.h"
#include "server/rule/rule_spec.h"

namespace accrue::oracle {

struct FloatModel {
  FloatModel(const rule::RuleSpec& spec, const std::vector<float>& theta);

  // `facts.norm` is computed here. Under gather buffering pushes are folded in
  // the order in which they come, and only a full cycle's plan is filled in.
  rule::PushPlan Push(const std::vector<float>& x, rule::PushFacts facts = {});
  rule::ClosePlan Close();
  double MomentumSquares() const;

  rule::RuleSpec spec;
  rule::CycleState cycle;
  std::vector<float> theta, next, m, v, a;
  std::vector<float> mixed;  // lion: what the step looks at

 private:
  rule::PushPlan Hold(const std::vector<float>& x,
                      const rule::PushFacts& facts);
  rule::ClosePlan Gather();
  void Accumulate(const rule::PushScalars& push, const std::vector<float>& x);
  void LookAheadOf(const rule::LookAhead& look_ahead);
  void AddL2(float l2);
  void Fold(const std::vector<float>& g, float keep1, float gain1, float keep2,
            float gain2);
  void End(const rule::ClosePlan& plan);
  void Mix(const rule::UpdateScalars& update, const std::vector<float>& g);
  float Clip(const rule::UpdateScalars& update, const std::vector<float>& x);

  std::vector<std::vector<float>> held_;
  std::vector<rule::PushFacts> held_facts_;
};

}  // namespace accrue::oracle

#endif  // ACCRUE_TESTS_ORACLE_FLOAT_MODEL_H_
