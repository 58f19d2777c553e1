#include "client/ctl/initial_values.h"

#include <cmath>
#include <map>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/ctl/failure.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

using client::Initializer;
using client::TensorSpec;

constexpr char kEveryOther[] = "*";

decltype(Initializer::kind) Resolve(const Initializer::Constant& constant,
                                    const TensorSpec&) {
  return constant;
}

decltype(Initializer::kind) Resolve(const Initializer::Uniform& uniform,
                                    const TensorSpec&) {
  return uniform;
}

decltype(Initializer::kind) Resolve(const Initializer::Normal& normal,
                                    const TensorSpec&) {
  return normal;
}

decltype(Initializer::kind) Resolve(const Kaiming&, const TensorSpec& tensor) {
  if (tensor.shape.size() < 2) return Initializer::Constant{.value = 0};
  const double fan_in = static_cast<double>(client::ElementCount(tensor)) /
                        static_cast<double>(tensor.shape[0]);
  return Initializer::Normal{.mean = 0, .stddev = std::sqrt(2 / fan_in)};
}

}  // namespace

absl::StatusOr<InitialValues> ParseInitialValues(absl::string_view text) {
  const std::pair<absl::string_view, absl::string_view> parts =
      absl::StrSplit(text, absl::MaxSplits(':', 1));
  std::vector<double> numbers;
  if (parts.second.data() != nullptr && !parts.second.empty()) {
    for (absl::string_view number : absl::StrSplit(parts.second, ',')) {
      if (!absl::SimpleAtod(number, &numbers.emplace_back()) ||
          !std::isfinite(numbers.back())) {
        return UsageError(absl::StrCat("initial values \"", text, "\": \"",
                                       number, "\" is no number"));
      }
    }
  }
  const absl::string_view kind = parts.first;
  if (kind == "zeros" && numbers.empty()) return Initializer::Constant{};
  if (kind == "kaiming" && numbers.empty()) return Kaiming{};
  if (kind == "constant" && numbers.size() == 1) {
    return Initializer::Constant{.value = numbers[0]};
  }
  if (kind == "uniform" && numbers.size() == 2) {
    return Initializer::Uniform{.low = numbers[0], .high = numbers[1]};
  }
  if (kind == "normal" && numbers.size() == 2) {
    return Initializer::Normal{.mean = numbers[0], .stddev = numbers[1]};
  }
  return UsageError(absl::StrCat(
      "initial values \"", text,
      "\": expected zeros, constant:V, uniform:LOW,HIGH, normal:MEAN,STDDEV or "
      "kaiming"));
}

absl::StatusOr<std::vector<Initializer>> ResolveInitializers(
    const client::ModelSpec& spec, const std::vector<TensorRule>& rules) {
  std::map<std::string, const InitialValues*> by_tensor;
  for (const TensorRule& rule : rules) {
    if (!by_tensor.emplace(rule.tensor, &rule.values).second) {
      return UsageError(
          absl::StrCat("two initializers for tensor \"", rule.tensor, "\""));
    }
  }
  std::vector<Initializer> initializers;
  const auto every_other = by_tensor.extract(kEveryOther);
  for (const TensorSpec& tensor : spec.tensors) {
    const auto rule = by_tensor.extract(tensor.name);
    if (rule.empty() && every_other.empty()) {
      return UsageError(absl::StrCat(
          "no initializer for tensor \"", tensor.name,
          "\"; one for tensor \"*\", or --initialize, serves all that have "
          "none"));
    }
    const InitialValues& values =
        rule.empty() ? *every_other.mapped() : *rule.mapped();
    initializers.push_back(
        {.tensor = tensor.name,
         .kind = std::visit(
             [&](const auto& kind) { return Resolve(kind, tensor); }, values)});
  }
  if (!by_tensor.empty()) {
    return UsageError(absl::StrCat("an initializer for tensor \"",
                                   by_tensor.begin()->first,
                                   "\", which the model does not have"));
  }
  return initializers;
}

}  // namespace accrue::ctl
