// Initialize: the InitializeModel RPC, with its retries.

#ifndef ACCRUE_CLIENT_CPP_SRC_INITIALIZE_H_
#define ACCRUE_CLIENT_CPP_SRC_INITIALIZE_H_

#include "absl/status/statusor.h"
#include "accrue/model.h"
#include "accrue/payload.h"
#include "accrue/v1/model_service.pb.h"
#include "client/cpp/src/channel.h"

namespace accrue::client::internal {

absl::StatusOr<InitializeResult> Initialize(
    Channel& channel, const v1::InitializeModelHeader& header,
    const Payload& values, const InitializeOptions& options = {});

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_INITIALIZE_H_
