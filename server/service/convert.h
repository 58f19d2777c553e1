// Convert: the API's messages to what the layers below work with, and back.
//
// Enums whose value is unspecified or unknown are refused, defaults are those
// of the API's comments. Only what a message alone can tell is checked here;
// the rest is ValidateSpec's, ingest's and the model's. But how many of
// something there are is looked at before any of them is.
//
// Errors.    INVALID_ARGUMENT: the message names the field, what it is and what
//            is wanted; kInvalidSpec for specs and hyperparameters

#ifndef ACCRUE_SERVER_SERVICE_CONVERT_H_
#define ACCRUE_SERVER_SERVICE_CONVERT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/v1/model.pb.h"
#include "accrue/v1/model_service.pb.h"
#include "accrue/v1/worker_service.pb.h"
#include "server/durability/checkpoint_directory.h"
#include "server/ingest/ingest.h"
#include "server/kernels/encoding.h"
#include "server/model/model.h"
#include "server/model/publication.h"
#include "server/model/push.h"
#include "server/model/spec.h"
#include "server/model/version.h"

namespace accrue {

// Specs and hyperparameters: convert_spec.cc.
absl::StatusOr<ModelSpec> FromApi(const v1::ModelSpec& api,
                                  const SpecLimits& limits = {});
// For a model of `group_count` groups.
absl::StatusOr<std::vector<HyperparameterUpdate>> FromApi(
    const v1::UpdateHyperparametersRequest& api, int64_t group_count);
v1::ModelSpec ToApi(const ModelSpec& spec);

// Everything else: convert.cc.
absl::StatusOr<kernels::Encoding> FromApi(v1::Encoding api);
// Of parameters, which have fewer.
absl::StatusOr<kernels::Encoding> ParameterEncoding(v1::Encoding api);
v1::Encoding ToApi(kernels::Encoding encoding);

// `field` is what an error calls it.
absl::StatusOr<absl::Duration> FromApi(const google::protobuf::Duration& api,
                                       const std::string& field);
google::protobuf::Duration ToApi(absl::Duration duration);

Version FromApi(const v1::Version& api);
v1::Version ToApi(const Version& version);

absl::StatusOr<PushHeader> FromApi(const v1::PushHeader& api);
absl::StatusOr<InitializeHeader> FromApi(const v1::InitializeModelHeader& api);

v1::PushResponse ToApi(const PushOutcome& outcome);
v1::OpenSessionResponse ToApi(const OpenedSession& session);
v1::EndCycleResponse ToApi(const EndedCycle& ended);
v1::Session ToApi(const SessionDescription& session);
v1::Checkpoint ToApi(const CheckpointInfo& checkpoint);
// `ceiling_bytes`: what the whole process may grow to.
v1::Model ToApi(const ModelDescription& model, int64_t ceiling_bytes);
// One that a start could not take up: DATA_LOSS, it is damaged.
v1::Model UnavailableModel(const std::string& name, const absl::Status& why);
// The notice of a publication of a model with this spec.
v1::WatchResponse ToApi(const Publication::Facts& facts, const ModelSpec& spec);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_CONVERT_H_
