// InitialValues: how a model's tensors get their first values, as people say
// it, made into the initializers that the daemon takes.

#ifndef ACCRUE_CLIENT_CTL_INITIAL_VALUES_H_
#define ACCRUE_CLIENT_CTL_INITIAL_VALUES_H_

#include <string>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "accrue/model.h"
#include "accrue/spec.h"

namespace accrue::ctl {

// Normal with mean 0 and variance 2 / fan_in (He et al.), for tensors that ReLU
// follows. The fan-in is the product of all extents but the first, as PyTorch
// lays out weights; tensors of fewer than two dimensions, biases, become 0.
struct Kaiming {};

using InitialValues =
    std::variant<client::Initializer::Constant, client::Initializer::Uniform,
                 client::Initializer::Normal, Kaiming>;

// For one tensor, or, with the name "*", for all that no other rule names.
struct TensorRule {
  std::string tensor;
  InitialValues values;
};

// What --initialize takes: "zeros", "constant:V", "uniform:LOW,HIGH",
// "normal:MEAN,STDDEV", "kaiming". UsageError for all else.
absl::StatusOr<InitialValues> ParseInitialValues(absl::string_view text);

// One initializer for every tensor, in the spec's order. UsageError: a rule for
// a tensor that is not there, two for one, a tensor without any.
absl::StatusOr<std::vector<client::Initializer>> ResolveInitializers(
    const client::ModelSpec& spec, const std::vector<TensorRule>& rules);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_INITIAL_VALUES_H_
