// Checkpoints: the RPCs about a model's checkpoints, by the model's name: of
// one that is damaged there is no more than that.
//
// Errors.    as in accrue/model.h

#ifndef ACCRUE_CLIENT_CPP_SRC_CHECKPOINTS_H_
#define ACCRUE_CLIENT_CPP_SRC_CHECKPOINTS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/description.h"
#include "client/cpp/src/channel.h"

namespace accrue::client::internal {

absl::StatusOr<CheckpointDescription> Checkpoint(Channel& channel,
                                                 const std::string& model,
                                                 absl::Duration timeout);

absl::StatusOr<std::vector<CheckpointDescription>> ListCheckpoints(
    Channel& channel, const std::string& model);

absl::StatusOr<ModelDescription> Restore(Channel& channel,
                                         const std::string& model,
                                         const std::string& checkpoint,
                                         absl::Duration timeout);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_CHECKPOINTS_H_
