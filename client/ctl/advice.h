// Advice: which k would fit a group's noise, and what it would do.
//
// Equation.  by the coefficient of variation, ceil(CV) [article, eq. 48]; by
//            the noise scale, ceil(CV^2); by batch size [its section 7.1].
//            Where a cycle averages its k gradients (decay per_cycle, buffering
//            classic or gather), their mean has noise of CV^2/k times the
//            signal's power: eq. 48 leaves CV times it, the noise scale as much
//            as it. The momentum averages over cycles besides, and under the
//            other decays it alone averages: it has CV^2*rho, rho being the
//            share of variance that is left in it, measured at the k in force
//            (Noise::noise_left). At another k it is rho times the quotient of
//            what steady pushes leave,
//              per_cycle, classic, gather  1/k        per_push  1
//              sliding, sliding_exact      (1 - B)/(1 + B),
//                                          B = 1 - (1 - b)/k and b^(1/k).
//            Embedded Adam's second moment is a mean of squares, larger than
//            the square of the mean by 1/C_k: its steps are smaller by
//            sqrt(C_k).

#ifndef ACCRUE_CLIENT_CTL_ADVICE_H_
#define ACCRUE_CLIENT_CTL_ADVICE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "accrue/description.h"

namespace accrue::ctl {

// One k and its effect: estimates, of this very k, that are unset where no
// noise was measured.
struct KChoice {
  std::string by;  // "in force", "CV", "CV^2", "batch size"
  // Rounded up so that it nests with the other groups' k by the same rule, and
  // is a multiple of the micro_steps in use.
  int64_t k = 1;
  int64_t rule_k = 1;  // what the rule alone says
  bool nests = true;   // false: with the other groups' no k does
  // CV is only the least that it can be, and so are noise over signal and, by
  // CV and CV^2, k; C_k and its root are then the most that they can be.
  bool at_least = false;
  std::optional<double> noise_to_signal = {};           // CV^2/k
  std::optional<double> momentum_noise_to_signal = {};  // CV^2*rho
  std::optional<double> power_left = {};                // C_k
  std::optional<double> step_factor = {};  // sqrt(C_k); embedded Adam only
};

struct GroupAdvice {
  std::string group;
  std::optional<client::Noise> noise;
  std::vector<KChoice> choices;
};

struct ModelAdvice {
  std::vector<GroupAdvice> groups;
  // Whether a cycle's k gradients are averaged; else only the momentum does.
  bool cycles_average = true;
};

// `batch_size`: examples in a micro-batch, for the article's table; its ranges
// give a choice for each end.
ModelAdvice Advise(const client::ModelDescription& model,
                   std::optional<int64_t> batch_size);

// CV^2, of the least CV where that is all that is known.
double NoiseScale(const client::Noise& noise);

// The article's decision tree (section 7.1), in this system's terms.
struct Branch {
  std::string bottleneck;  // "memory", "stability", "communication", "none"
  std::string answer;
};
const std::vector<Branch>& DecisionTree();

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_ADVICE_H_
