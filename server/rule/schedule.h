// Schedule: the learning rate as a function of updates.
//
// Equation.  lr(u) = learning_rate * factor(u) * scaling(k) [sec. 7.1, 7.2].
// Symbols.   u: the group's updates so far, base 0: never pushes. W:
//            warmup_updates. x: u - W, where the schedule proper starts. T:
//            total_updates. S: step_updates. e: final_factor.
//              u < W                (u + 1)/W
//              kConstant            1
//              kLinear              1 + (e - 1)*min(x/T, 1)
//              kCosine              e + (1 - e)*(1 + cos(pi*min(x/T, 1)))/2
//              kStep                gamma^floor(x/S)
//              kExponential         gamma^x
//              kInverseSquareRoot   1/sqrt(1 + x/S)
// Numerics.  double; cos and pow of libm may differ between hosts in the last
//            bit, so what a plan narrows from it is what a journal keeps.
// Threading. safe.
#ifndef ACCRUE_SERVER_RULE_SCHEDULE_H_
#define ACCRUE_SERVER_RULE_SCHEDULE_H_

#include <cstdint>
#include <string>

#include "server/rule/rule_spec.h"

namespace accrue::rule {

// In [0, 1].
double ScheduleFactor(const Schedule& schedule, int64_t updates);

// scaling(k): 1, sqrt(k) or k.
double ScalingFactor(LrScaling scaling, int64_t k);

// lr(u) under `hyper`, which may be other than the spec's newest.
double LearningRate(const RuleSpec& spec, const Hyperparameters& hyper,
                    int64_t updates);

// Empty if allowed, else one sentence.
std::string ValidateSchedule(const Schedule& schedule);

}  // namespace accrue::rule

#endif  // ACCRUE_SERVER_RULE_SCHEDULE_H_
