#include "client/cpp/src/checkpoints.h"

#include "absl/time/clock.h"
#include "accrue/error.h"
#include "accrue/v1/model_service.pb.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/status_from_grpc.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

constexpr char kCheckpointMethod[] = "/accrue.v1.ModelService/Checkpoint";
constexpr char kListMethod[] = "/accrue.v1.ModelService/ListCheckpoints";
constexpr char kRestoreMethod[] = "/accrue.v1.ModelService/Restore";

// A full disk does not become empty by itself.
bool MayCheckpointAgain(const absl::Status& status) {
  return Retryable(status) && GetReason(status) != Reason::kCheckpointFailed;
}

// Whoever is taken back twice loses what was pushed in between.
bool MayRestoreAgain(const absl::Status& status) {
  return MayCheckpointAgain(status) && !OutcomeUnknown(status);
}

}  // namespace

absl::StatusOr<CheckpointDescription> Checkpoint(Channel& channel,
                                                 const std::string& model,
                                                 absl::Duration timeout) {
  v1::CheckpointRequest request;
  request.set_model(model);
  v1::CheckpointResponse response;
  ACCRUE_RETURN_IF_ERROR(channel.Call(kCheckpointMethod, request, &response,
                                      absl::Now() + timeout,
                                      MayCheckpointAgain));
  return FromProto(response.checkpoint());
}

absl::StatusOr<std::vector<CheckpointDescription>> ListCheckpoints(
    Channel& channel, const std::string& model) {
  v1::ListCheckpointsRequest request;
  request.set_model(model);
  v1::ListCheckpointsResponse response;
  ACCRUE_RETURN_IF_ERROR(channel.Call(kListMethod, request, &response));
  std::vector<CheckpointDescription> checkpoints;
  for (const v1::Checkpoint& checkpoint : response.checkpoints()) {
    checkpoints.push_back(FromProto(checkpoint));
  }
  return checkpoints;
}

absl::StatusOr<ModelDescription> Restore(Channel& channel,
                                         const std::string& model,
                                         const std::string& checkpoint,
                                         absl::Duration timeout) {
  v1::RestoreRequest request;
  request.set_model(model);
  request.set_checkpoint(checkpoint);
  v1::RestoreResponse response;
  ACCRUE_RETURN_IF_ERROR(channel.Call(kRestoreMethod, request, &response,
                                      absl::Now() + timeout, MayRestoreAgain));
  return FromProto(response.model());
}

}  // namespace accrue::client::internal
