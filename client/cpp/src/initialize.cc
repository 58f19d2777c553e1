#include "client/cpp/src/initialize.h"

#include "absl/time/clock.h"
#include "accrue/error.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/retry.h"
#include "client/cpp/src/status_from_grpc.h"
#include "client/cpp/src/upload.h"

namespace accrue::client::internal {
namespace {

constexpr char kInitializeMethod[] = "/accrue.v1.ModelService/InitializeModel";

}  // namespace

absl::StatusOr<InitializeResult> Initialize(
    Channel& channel, const v1::InitializeModelHeader& header,
    const Payload& values, const InitializeOptions& options) {
  const UploadRequest request = {
      .method = kInitializeMethod,
      .header = header,
      .payload = values,
      .deadline = absl::Now() +
                  options.timeout.value_or(channel.options().transfer_timeout),
      .progress = options.progress};
  Retry retry(channel.options(), request.deadline);
  v1::InitializeModelResponse response;
  absl::Status status;
  do {
    status = Upload(channel, request, &response).status;
  } while (!status.ok() && Retryable(status) && retry.Wait(status));
  if (GetReason(status) == Reason::kAlreadyInitialized) {
    const ErrorDetail detail = *GetErrorDetail(status);
    return InitializeResult{.version = {.lineage = detail.lineage,
                                        .number = detail.current_version}};
  }
  if (!status.ok()) return status;
  return InitializeResult{.version = FromProto(response.version()),
                          .initialized = true};
}

}  // namespace accrue::client::internal
