// PullInto: the Pull RPC, straight from the received slices into the caller's
// memory, with its retries.

#ifndef ACCRUE_CLIENT_CPP_SRC_PULL_H_
#define ACCRUE_CLIENT_CPP_SRC_PULL_H_

#include "absl/status/statusor.h"
#include "accrue/payload.h"
#include "accrue/pull.h"
#include "accrue/spec.h"
#include "accrue/traffic.h"
#include "client/cpp/src/channel.h"

namespace accrue::client::internal {

// Adds to `*traffic` what it takes.
absl::StatusOr<PullResult> PullInto(Channel& channel, const ModelSpec& spec,
                                    const PayloadBuffer& into,
                                    const PullOptions& options,
                                    Traffic* traffic);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_PULL_H_
