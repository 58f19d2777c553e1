// Between the SDK's structs and the API's messages.
//
// Unknown fields and enumerators of a newer daemon pass through as numbers or
// are dropped; nothing here fails.

#ifndef ACCRUE_CLIENT_CPP_SRC_CONVERT_H_
#define ACCRUE_CLIENT_CPP_SRC_CONVERT_H_

#include "absl/time/time.h"
#include "accrue/description.h"
#include "accrue/model.h"
#include "accrue/spec.h"
#include "accrue/v1/model.pb.h"
#include "accrue/v1/model_service.pb.h"
#include "accrue/v1/server_service.pb.h"
#include "accrue/v1/worker_service.pb.h"
#include "accrue/version.h"
#include "accrue/watcher.h"
#include "accrue/worker.h"

namespace accrue::client::internal {

v1::ModelSpec ToProto(const ModelSpec& spec);
v1::Hyperparameters ToProto(const Hyperparameters& hyperparameters);
v1::Initializer ToProto(const Initializer& initializer);
v1::Version ToProto(const Version& version);
v1::Encoding ToProto(Encoding encoding);
google::protobuf::Duration ToProto(absl::Duration duration);

ModelSpec FromProto(const v1::ModelSpec& proto);
ModelDescription FromProto(const v1::Model& proto);
CheckpointDescription FromProto(const v1::Checkpoint& proto);
SessionDescription FromProto(const v1::Session& proto);
ServerInfo FromProto(const v1::GetServerInfoResponse& proto);
Version FromProto(const v1::Version& proto);
Notice FromProto(const v1::WatchResponse& proto);
// An accepted push.
PushResult FromProto(const v1::PushResponse& proto);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_CONVERT_H_
