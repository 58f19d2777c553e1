// PullOptions, PullResult: fetching parameters into the caller's memory.
//
// Shapes.    the destination has exactly the bytes that are asked for: the
//            model's tensors, or those of the filter, in its encoding.
//            INVALID_ARGUMENT if it has not.
// Memory.    after an error the destination holds a mixture of versions; after
//            "unchanged" it was not touched
// Errors.    FAILED_PRECONDITION (kNotInitialized, kPoisoned); OUT_OF_RANGE
//            (kFuture): `have` is of a version yet to come; NOT_FOUND
//            (kModelUnknown); INVALID_ARGUMENT. A pull that is cut off is
//            retried from its beginning, perhaps with a newer version.

#ifndef ACCRUE_CLIENT_PULL_H_
#define ACCRUE_CLIENT_PULL_H_

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "accrue/version.h"

namespace accrue::client {

struct PullOptions {
  // The version that the caller has already; unset: none.
  std::optional<Version> have = {};
  // While `have` is the newest: wait this long for a newer one, then answer
  // "unchanged". At most a day.
  absl::Duration wait = absl::ZeroDuration();
  // Only these tensors, in the spec's order whatever the order here; empty:
  // all.
  std::vector<std::string> tensors = {};
  // The destination holds all that is asked for as it was in version `have`:
  // only tensors of groups that have changed since are sent, the others stay as
  // they are. (After an error of such a pull, the same may be asked for again.)
  bool changed_only = false;
  // Bound on the call, beyond `wait`. Unset: ClientOptions.transfer_timeout.
  std::optional<absl::Duration> timeout = {};
  // Called on the caller's thread as bytes arrive, with how many are there; a
  // retry begins again at 0. Unset: never.
  std::function<void(int64_t received_bytes)> progress = {};
};

struct PullResult {
  // The version in the destination now.
  Version version = {};
  // It is the one that the caller had: nothing was sent.
  bool unchanged = false;
  // t when this version was published.
  int64_t folded_pushes = 0;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_PULL_H_
