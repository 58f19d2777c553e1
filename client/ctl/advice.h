// Advice: which k would fit a group's noise, and what it would do.
//
// Equation.  by the coefficient of variation, ceil(CV) [article, eq. 48]; by
//            the noise scale, ceil(CV^2); by batch size [its section 7.1].
//            Averaging k gradients leaves noise of CV^2/k times the signal's
//            power: eq. 48 leaves CV times it, the noise scale as much as it.
//            Embedded Adam's second moment is a mean of squares, larger than
//            the square of the mean by 1/C_k: its steps are smaller by
//            sqrt(C_k).

#ifndef ACCRUE_CLIENT_CTL_ADVICE_H_
#define ACCRUE_CLIENT_CTL_ADVICE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "accrue/description.h"
#include "nlohmann/json.hpp"

namespace accrue::ctl {

// One k and its effect; the effect is unset where no noise was measured.
struct KChoice {
  std::string by;  // "in force", "CV", "CV^2", "batch size"
  int64_t k = 1;
  bool at_least = false;  // CV, and with it k, is only the least it can be
  std::optional<double> noise_to_signal = {};  // CV^2/k
  std::optional<double> power_left = {};       // C_k
  std::optional<double> step_factor = {};      // sqrt(C_k); embedded Adam only
};

struct GroupAdvice {
  std::string group;
  std::optional<client::Noise> noise;
  std::vector<KChoice> choices;
};

// `batch_size`: examples in a micro-batch, for the article's table; its ranges
// give a choice for each end.
std::vector<GroupAdvice> Advise(const client::ModelDescription& model,
                                std::optional<int64_t> batch_size);

// The article's decision tree (section 7.1), in this system's terms.
struct Branch {
  std::string bottleneck;  // "memory", "stability", "communication", "none"
  std::string answer;
};
const std::vector<Branch>& DecisionTree();

// `bottleneck`: one of the tree's, or empty: the whole tree.
std::string AdviceText(const std::vector<GroupAdvice>& advice,
                       absl::string_view bottleneck);
nlohmann::ordered_json AdviceJson(const std::vector<GroupAdvice>& advice,
                                  absl::string_view bottleneck);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_ADVICE_H_
