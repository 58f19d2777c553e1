// Method, Setting: how the article's methods are asked of the daemon.
//
//   standard      an update every push
//   beta_only     beta slid to 1-(1-beta)/k, still an update every push
//   sparse_only   beta as it was, an update every k pushes
//   accumulation  the mean of k gradients in one step (eq. 9, 10)
//   full          beta slid, and an update every k pushes
//
// [article, 4.1, 5.1, 6.1 and 6.3]

#ifndef ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_METHOD_H_
#define ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_METHOD_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "accrue/spec.h"

namespace accrue::experiments {

enum class Method { kStandard, kBetaOnly, kSparseOnly, kAccumulation, kFull };

inline constexpr Method kAllMethods[] = {Method::kStandard, Method::kBetaOnly,
                                         Method::kSparseOnly,
                                         Method::kAccumulation, Method::kFull};

// As in the table above.
absl::string_view Name(Method method);

struct Setting {
  Method method = Method::kStandard;
  // Of every method but kStandard, whose k is 1.
  int64_t k = 1;
  client::Optimizer optimizer = client::Optimizer::kSgd;
  double learning_rate = 0.1;
  double beta = 0.9;
  // SGD's; beta if unset, which is the article's SGDM (eq. 6).
  std::optional<double> dampening = {};
  client::LearningRateScaling scaling =
      client::LearningRateScaling::kConservative;
  // k and the updates are of this many workers' pushes each.
  int64_t workers = 1;
  // Of the accumulated gradient, and of every push; unset: none.
  std::optional<double> clip_norm = {};
  std::optional<double> clip_push_norm = {};
  // Unset: constant.
  std::optional<client::Schedule> schedule = {};
  // From k on; unset: k stays.
  std::optional<client::AdaptiveK> adaptive_k = {};
};

// Pushes of one worker between two updates.
int64_t PushesPerUpdate(const Setting& setting);

// Synchronous, one group; each worker has its share of every version.
client::ModelSpec MakeSpec(const Setting& setting, const std::string& name,
                           std::vector<client::TensorSpec> tensors);

}  // namespace accrue::experiments

#endif  // ACCRUE_CLIENT_EXAMPLES_EXPERIMENTS_METHOD_H_
