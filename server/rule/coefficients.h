// Coefficients: what one push does to one moment, as a keep and a gain.
//
// Equation.  moment <- keep*moment + gain*x, x being g or g^2.
//              decay           keep, i = 0   keep, i > 0   gain
//              kPerCycle       b             1             (1-d)/k
//              kPerPush        b             b             1-d
//              kSliding        B             B             (1-d)/k
//              kSlidingExact   B             B             (1-B)*(1-d)/(1-b)
//            kSliding: B = 1-(1-b)/k [article, eq. 33]; kSlidingExact:
//            B = b^(1/k). A push of n micro-steps counts as n pushes of their
//            mean: kPerCycle gain*n; the others keep^n and
//            gain*(1 + keep + ... + keep^(n-1)).
// Symbols.   b: the moment's beta. d: dampening; b for v and for adam's m. k:
//            accumulation count. n: micro-steps of the push, 1..k.
// Numerics.  evaluated in double. keep is narrowed to float first; where d is
//            b the gain is made from that float, so that gain = 1 - keep (or
//            k*gain = 1 - keep, kPerCycle) also of the narrowed numbers, and
//            a constant gradient is the moment's fixed point. The gain stays
//            double: weight and damping come on top, then it is narrowed once.
// Invariant. at k = 1 and n = 1 every decay gives the same bits, if the cycle
//            is as long: EffectiveDecay.
// Threading. safe.
#ifndef ACCRUE_SERVER_RULE_COEFFICIENTS_H_
#define ACCRUE_SERVER_RULE_COEFFICIENTS_H_

#include <cstdint>

#include "server/rule/rule_spec.h"

namespace accrue::rule {

// How one moment forgets and learns.
struct MomentRule {
  Decay decay = Decay::kPerCycle;
  double beta = 0.9;
  double dampening = 0.9;
  int64_t k = 1;
};

struct Coefficients {
  float keep = 1;
  double gain = 0;
};

// The rule of m (whose b is beta2 under lion) and of v; where a cycle folds its
// mean (FoldsMean), that of the single fold that ends it (k = 1).
MomentRule FirstMomentRule(const RuleSpec& spec, const Hyperparameters& hyper);
MomentRule SecondMomentRule(const RuleSpec& spec, const Hyperparameters& hyper);

// spec.decay; kPerCycle where a cycle is one push (k = update_every = 1).
Decay EffectiveDecay(const RuleSpec& spec);

// b of kPerCycle and kPerPush, B of the sliding decays; not narrowed.
double KeepPerPush(const MomentRule& rule);

// What a push of n micro-steps does; `first`: at i = 0 of its cycle.
Coefficients PushCoefficients(const MomentRule& rule, bool first,
                              int64_t micro_steps);

// sgd's coupled L2 by linearity: the gain with which a gradient weight_decay *
// theta at every push since the update would stand in m. `pushes`: s, those
// that were folded since; kPerCycle takes a full cycle's whatever came.
//   kPerCycle (1-d); else (1-d)*(1-b^s)/(1-b), (1-d)/k*(1-B^s)/(1-B)
double L2Coefficient(const MomentRule& rule, int64_t pushes);

// True where m holds nothing but the cycle's gradients: an optimizer without v
// whose m has b = 0, k > 1, embedded, kPerCycle. (At b = 0 kPerPush holds the
// last gradient only, and kSliding remembers earlier cycles.) The memory report
// then counts m as an accumulation buffer.
bool MomentIsAccumulator(const RuleSpec& spec);

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_COEFFICIENTS_H_
