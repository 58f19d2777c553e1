// ParseJson: JSON that somebody else may have written, read strictly.
//
// Invariant. no text makes it throw, recurse, or take memory out of proportion
//            to what `limits` allow.
// Errors.    INVALID_ARGUMENT: not JSON, and at which byte; a key that an
//            object has twice; more than `limits` allow.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_JSON_TEXT_H_
#define ACCRUE_SERVER_DURABILITY_JSON_TEXT_H_

#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "nlohmann/json.hpp"

namespace accrue {

// Keys of objects are sorted.
using Json = nlohmann::json;

struct JsonLimits {
  int64_t max_depth = 16;  // of objects and arrays in each other
  int64_t max_values = int64_t{1} << 20;
};

absl::StatusOr<Json> ParseJson(absl::string_view text,
                               const JsonLimits& limits);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_JSON_TEXT_H_
