// Oracle: a model folded slowly, in double, one element and one push after the
// other, with the distance that correct float arithmetic may have from it.
//
// Equation.  rule/cycle.h, per element and in its order of operations. The
//            scalars (keep, gain, lr, ...) are PlanPush's floats, so that only
//            the arithmetic's roundings differ; whether those scalars are the
//            right ones is Textbook's business.
// Shapes.    payload: [groups][elements of the group], decoded to float.
// Numerics.  every number carries a running forward error bound (bounded.h):
//            a backend agrees if each of its floats is within it. Adam's
//            m/den stays bounded where v is near 0, since den >= eps > 0.
//            Norms are known to within the bounds of what they measure, and
//            clip factors min(1, bound/norm) are continuous in them, so that
//            it does not matter on which side of the bound a float norm falls.
//            Signs are not: where 0 is within the bound of what is looked at,
//            theta's bound takes in every step that may be meant, and says
//            little of that element from then on.
// Invariant. a float computation by rule/cycle.h is within the bounds for any
//            number of pushes (oracle_test).
// Threading. compatible.
#ifndef ACCRUE_TESTS_ORACLE_ORACLE_H_
#define ACCRUE_TESTS_ORACLE_ORACLE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "server/rule/cycle.h"
#include "server/rule/rule_spec.h"
#include "tests/oracle/bounded.h"

namespace accrue::oracle {

// One group of a model, at its initialization.
struct Group {
  rule::RuleSpec spec;
  std::vector<float> theta;
  // Elements of its tensors, in order; empty: it is one tensor.
  std::vector<size_t> tensors = {};
};

using Payload = std::vector<std::vector<float>>;

class Oracle {
 public:
  explicit Oracle(const std::vector<Group>& groups);

  // A push that was accepted; under gather buffering in the order of the fold.
  // `facts.norm` is not read: the oracle computes every group's own.
  void Push(const Payload& payload, const rule::PushFacts& facts);

  // EndCycle: closes every open cycle.
  void Close();
  // A timeout: closes the cycles that are nearest to their end, and counts as
  // many pushes as absent toward the other open ones.
  void CloseNearest();

  // Takes effect at the group's next cycle.
  void SetHyperparameters(size_t group, const rule::Hyperparameters& hyper);

  // As published: changes with updates only.
  const std::vector<Bounded>& theta(size_t g) const { return at_[g].theta; }
  const std::vector<Bounded>& m(size_t g) const { return at_[g].m; }
  // Zeros without a second moment.
  const std::vector<Bounded>& v(size_t g) const { return at_[g].v; }
  // The accumulation buffer of classic buffering, the sum of gather's; what it
  // holds between cycles means nothing.
  const std::vector<Bounded>& a(size_t g) const { return at_[g].a; }
  const rule::CycleState& cycle(size_t g) const { return at_[g].cycle; }

  // How often a clip factor was below 1, for tests that clip: of updates
  // (clip_norm), of pushes (clip_push_norm).
  int64_t clipped_updates() const { return clipped_updates_; }
  int64_t clipped_pushes() const { return clipped_pushes_; }

 private:
  struct State {
    rule::RuleSpec spec;
    rule::CycleState cycle;
    std::vector<Bounded> theta, next, m, v, a;
    std::vector<Bounded> mixed;  // lion: what the step looks at
    std::vector<size_t> tensors;
    // Relative error of the noise sums' weights, which clips have scaled.
    double clip_slack = 0;
    // Gather: the open cycle's pushes.
    std::vector<std::vector<float>> held;
    std::vector<rule::PushFacts> held_facts;
    // Euclidean distance that a float m may have from m; embedded.
    double m_distance = 0;
  };
  // What ends a cycle of one group.
  struct Ending {
    size_t group;
    rule::ClosePlan plan;
  };

  void Fold(const std::vector<float>& x, rule::PushFacts facts, State& state,
            rule::PushPlan& plan);
  // A push's factor, with what its norm's last bit makes uncertain of it.
  Bounded Factor(const rule::PushScalars& push, const rule::PushFacts& facts,
                 const State& state);
  // Ends an open cycle: under gather buffering by summing what was held.
  rule::ClosePlan EndOf(State& state);
  void End(const std::vector<Ending>& endings);
  void Update(const rule::ClosePlan& plan, const Bounded& clip, State& state);
  // lamb: `next` is the direction, and becomes the step.
  static Bounded VarianceHat(const rule::UpdateScalars& u, const Bounded& m,
                             const Bounded& v, double slack);
  static void StepByTrust(double rate, State& state);
  // After m <- keep*m + ...: what its elements' errors have gained by that is
  // what the distance gains. `errors`: theirs before.
  static void TrackDistance(double keep, const std::vector<double>& errors,
                            State& state);
  static void ClipMomentum(const Bounded& clip, State& state);

  std::vector<State> at_;
  int64_t clipped_updates_ = 0, clipped_pushes_ = 0;
};

// Empty if every float is within its bound; else the first that is not, e.g.
// "theta[3]: got 1.5, want 1.25 within 1e-7".
std::string Mismatch(const char* what, const std::vector<Bounded>& want,
                     const float* got, size_t count);

}  // namespace accrue::oracle

#endif  // ACCRUE_TESTS_ORACLE_ORACLE_H_
