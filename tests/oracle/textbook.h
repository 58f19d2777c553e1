// Textbook: what the rule means, from the spec alone, in double: PyTorch's
// optimizers on the mean gradient, and the article's recursions push by push.
// It knows no keeps, gains or masses of server/rule; it shares only the types.
//
// Equation.  kPerCycle, kClassic and kGather keep a cycle's gradients in a list
//            and take one step at its end, of
//              sgd    buf <- b*buf + (1-d)*g';  theta <- theta - lr*buf;
//                     with Nesterov lr*((1-d)*g' + b*buf);  g' = g + wd*theta
//              adam   m <- b1*m + (1-b1)*g;  v <- b2*v + (1-b2)*h;
//                     theta <- theta - lr*(m/D1)/(sqrt(v/D2) + eps)
//              adamw  the same, from theta*(1 - lr*wd)
//              signum buf as sgd's; theta <- theta*(1 - lr*wd) - lr*sign(buf)
//              lion   theta <- theta*(1 - lr*wd) - lr*sign(b1*m + (1-b1)*g);
//                     m <- b2*m + (1-b2)*g
//              lamb   adam's m and v; r = (m/D1)/(sqrt(v/D2) + eps) + wd*theta;
//                     theta <- theta - lr*|theta|/|r|*r, or lr*r where a norm
//                     is 0; the group is one tensor
//            on the mean gradient g; h is g^2 under kClassic and kGather, the
//            mean of the pushes' squares under kPerCycle (over k more: ADAMA).
//            CORRECTED takes for v/D2 what it would be of mean gradients, by
//            the weights of every push there ever was (history.h).
//            The other decays fold every micro-step by itself, as written.
// Symbols.   D1, D2: what m and v would be had every gradient been 1, which
//            is what m and v are divided by to be averages.
// Numerics.  double, no narrowing: differs from floats also by the narrowing
//            of every scalar. No bounds: statements of equivalence derive
//            their own.
// Threading. compatible.
#ifndef ACCRUE_TESTS_ORACLE_TEXTBOOK_H_
#define ACCRUE_TESTS_ORACLE_TEXTBOOK_H_

#include <cstdint>
#include <vector>

#include "server/rule/cycle.h"
#include "server/rule/rule_spec.h"
#include "tests/oracle/history.h"

namespace accrue::oracle {

// factor(u) by a second way of writing it down.
double TextbookScheduleFactor(const rule::Schedule& schedule, int64_t updates);

// One group; clip_scope kModel is kGroup to it.
class Textbook {
 public:
  Textbook(const rule::RuleSpec& spec, const std::vector<double>& theta);

  // `facts.norm` is not read.
  void Push(const std::vector<double>& payload, const rule::PushFacts& facts);
  // Ends an open cycle early.
  void Close();
  void SetHyperparameters(const rule::Hyperparameters& hyper);

  const std::vector<double>& theta() const { return theta_; }
  const std::vector<double>& m() const { return m_; }
  const std::vector<double>& v() const { return v_; }
  double mass1() const { return mass1_; }
  double mass2() const { return mass2_; }
  int64_t updates() const { return updates_; }
  // Of the numbers whose signs were taken of this element, the smallest as a
  // share of the largest up to it; 1 if no signs were taken.
  double least_sign_share(size_t element) const {
    return least_sign_share_[element];
  }

 private:
  struct Received {
    std::vector<double> gradient;
    double weight;       // of all its micro-steps together
    double gain_factor;  // staleness
    double micro_steps;
  };

  bool FoldsOnceACycle() const;
  void FoldMicroStep(const std::vector<double>& gradient,
                     const rule::PushFacts& facts);
  void FoldCycle();
  void Step();
  double VarianceHat(size_t element) const;
  void StepLamb(const std::vector<double>& adam_direction);
  double LearningRate() const;
  double SignOf(size_t element, double x);

  rule::RuleSpec spec_;
  rule::Hyperparameters newest_, hyper_;
  std::vector<double> theta_, m_, v_;
  std::vector<double> l2_;         // wd*theta's share in m since the update
  std::vector<double> last_mean_;  // (1-d)*g of the step at hand
  std::vector<double> looked_at_;  // whose sign signum and lion step by
  std::vector<double> largest_signed_, least_sign_share_;
  History history_;  // CORRECTED
  double mass1_ = 0, mass2_ = 0;
  std::vector<Received> cycle_;
  int64_t position_ = 0, updates_ = 0;
};

}  // namespace accrue::oracle

#endif  // ACCRUE_TESTS_ORACLE_TEXTBOOK_H_
