// SpecFile: a model as `accruectl create` reads it, from YAML or JSON.
//
// The keys are the API's field names (proto/accrue/v1/model.proto), enumerators
// their short names ("adamw", "per_cycle"), durations "1.5s". Beside the spec's
// own keys there are `initializers`, `seed` and `per_layer_k`, by which groups
// without a k of their own are split when the file is read. example.yaml is a
// commented one with every default.
//
// What a key may hold is checked here, what a spec may say by the daemon; only
// keys without which a spec means nothing (name, tensors, groups, a tensor's
// name, a group's name and learning rate) are asked for here, so that the
// complaint has a line.

#ifndef ACCRUE_CLIENT_CTL_SPEC_FILE_H_
#define ACCRUE_CLIENT_CTL_SPEC_FILE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "accrue/spec.h"
#include "client/ctl/initial_values.h"

namespace accrue::ctl {

struct SpecFile {
  client::ModelSpec spec;
  // First values of tensors; a pattern of "*" is for all that are not named.
  std::vector<TensorRule> initializers;
  std::optional<int64_t> seed;
};

// UsageError: what is wrong, with its line; `source` is what the file is called
// in complaints: "mnist.yaml: line 3: ...".
absl::StatusOr<SpecFile> ParseSpecFile(const std::string& text,
                                       absl::string_view source);

// A schedule alone, as flags give it: "{kind: cosine, total_updates: 1000}".
absl::StatusOr<client::Schedule> ParseSchedule(const std::string& text);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_SPEC_FILE_H_
