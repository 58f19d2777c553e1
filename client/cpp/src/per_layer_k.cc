#include "accrue/per_layer_k.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace accrue::client {
namespace {

// The daemon's bound on k.
constexpr int64_t kMaxK = int64_t{1} << 20;

template <typename... Parts>
absl::Status Invalid(const Parts&... parts) {
  return absl::InvalidArgumentError(absl::StrCat("per_layer_k: ", parts...));
}

absl::Status Check(const PerLayerK& per_layer) {
  if (per_layer.k_min < 1 || per_layer.max_k < per_layer.k_min ||
      per_layer.max_k > kMaxK) {
    return Invalid("k_min = ", per_layer.k_min, ", max_k = ", per_layer.max_k,
                   ", want 1 <= k_min <= max_k <= ", kMaxK);
  }
  std::set<std::string> names;
  for (const PerLayerK::Depth& depth : per_layer.depths) {
    if (depth.depth < 0) {
      return Invalid("depth ", depth.depth, " of \"", depth.tensors,
                     "\", want 0 or more");
    }
    if (!names.insert(depth.tensors).second) {
      return Invalid("\"", depth.tensors, "\" has two depths");
    }
  }
  return absl::OkStatus();
}

// Of the name itself, else the longest beginning; null if there is none.
const PerLayerK::Depth* Find(const PerLayerK& per_layer,
                             const std::string& tensor) {
  const PerLayerK::Depth* found = nullptr;
  for (const PerLayerK::Depth& depth : per_layer.depths) {
    if (depth.tensors == tensor) return &depth;
    absl::string_view beginning = depth.tensors;
    if (!absl::ConsumeSuffix(&beginning, "*")) continue;
    if (!absl::StartsWith(tensor, beginning)) continue;
    if (found == nullptr || depth.tensors.size() > found->tensors.size()) {
      found = &depth;
    }
  }
  return found;
}

// Doubled until the cap would be passed: no power overflows.
int64_t KAt(const PerLayerK& per_layer, int64_t above) {
  int64_t k = per_layer.k_min;
  for (int64_t i = 0; i < above / 2 && 2 * k <= per_layer.max_k; ++i) k *= 2;
  return k;
}

}  // namespace

absl::StatusOr<ModelSpec> SplitByDepth(const ModelSpec& spec,
                                       const PerLayerK& per_layer) {
  if (absl::Status status = Check(per_layer); !status.ok()) return status;
  if (spec.groups.empty()) return Invalid("the spec has no groups");
  std::map<std::string, const GroupSpec*> groups;
  for (const GroupSpec& group : spec.groups) {
    if (group.update_every.has_value() || group.adaptive_k.has_value()) {
      return Invalid(
          "group \"", group.name, "\" has ",
          group.adaptive_k.has_value() ? "adaptive_k" : "update_every",
          ", which says otherwise what k is");
    }
    if (group.k != GroupSpec().k) {
      return Invalid("group \"", group.name, "\" has k = ", group.k,
                     ", which its tensors' depths would replace");
    }
    groups[group.name] = &group;
  }

  std::vector<const PerLayerK::Depth*> found;
  int64_t deepest = 0;
  for (const TensorSpec& tensor : spec.tensors) {
    found.push_back(Find(per_layer, tensor.name));
    if (found.back() == nullptr) {
      return Invalid("tensor \"", tensor.name, "\" has no depth");
    }
    deepest = std::max(deepest, found.back()->depth);
  }
  for (const PerLayerK::Depth& depth : per_layer.depths) {
    if (std::find(found.begin(), found.end(), &depth) != found.end()) continue;
    return Invalid("no tensor takes its depth from \"", depth.tensors, "\"");
  }

  ModelSpec split = spec;
  split.groups.clear();
  std::set<std::string> added;
  for (size_t i = 0; i < split.tensors.size(); ++i) {
    TensorSpec& tensor = split.tensors[i];
    const std::string name =
        tensor.group.empty() ? spec.groups[0].name : tensor.group;
    const auto group = groups.find(name);
    if (group == groups.end()) {
      return Invalid("tensor \"", tensor.name, "\": no group \"", name, "\"");
    }
    const int64_t k = KAt(per_layer, deepest - found[i]->depth);
    tensor.group = absl::StrCat(name, ".k", k);
    if (!added.insert(tensor.group).second) continue;
    GroupSpec& part = split.groups.emplace_back(*group->second);
    part.name = tensor.group;
    part.k = k;
  }
  return split;
}

}  // namespace accrue::client
