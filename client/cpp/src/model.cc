#include "accrue/model.h"

#include <random>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "accrue/error.h"
#include "accrue/v1/model_service.pb.h"
#include "client/cpp/src/channel.h"
#include "client/cpp/src/checkpoints.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/initialize.h"
#include "client/cpp/src/pull.h"
#include "client/cpp/src/watch_loop.h"
#include "client/cpp/src/worker_session.h"
#include "server/base/status_macros.h"

namespace accrue::client {
namespace {

constexpr char kGetMethod[] = "/accrue.v1.ModelService/GetModel";
constexpr char kUpdateMethod[] =
    "/accrue.v1.ModelService/UpdateHyperparameters";
constexpr char kEndCycleMethod[] = "/accrue.v1.ModelService/EndCycle";
constexpr char kListSessionsMethod[] = "/accrue.v1.ModelService/ListSessions";

constexpr int kPageSize = 1000;

// Who is asked twice without a version may close two cycles.
bool KnownAndRetryable(const absl::Status& status) {
  return internal::Retryable(status) && !internal::OutcomeUnknown(status);
}

std::string DefaultWorkerName() {
  char host[256] = "";
  gethostname(host, sizeof(host) - 1);
  return absl::StrFormat("%s-%d-%08x", host, getpid(), std::random_device()());
}

}  // namespace

Model::Model(std::shared_ptr<internal::Channel> channel,
             const ModelDescription& description)
    : channel_(std::move(channel)),
      spec_(std::make_shared<const ModelSpec>(description.spec)),
      parameter_count_(description.parameter_count) {}

absl::StatusOr<InitializeResult> Model::InitializeValues(
    const Payload& values, const InitializeOptions& options) const {
  v1::InitializeModelHeader header;
  header.set_model(name());
  header.set_encoding(internal::ToProto(values.encoding()));
  header.set_payload_bytes(values.size_bytes());
  header.set_restore(options.restore);
  return internal::Initialize(*channel_, header, values, options);
}

absl::StatusOr<InitializeResult> Model::InitializeWith(
    const std::vector<Initializer>& initializers, int64_t seed,
    const InitializeOptions& options) const {
  v1::InitializeModelHeader header;
  header.set_model(name());
  header.set_seed(seed);
  header.set_restore(options.restore);
  for (const Initializer& initializer : initializers) {
    *header.add_initializers() = internal::ToProto(initializer);
  }
  return internal::Initialize(*channel_, header,
                              Payload(absl::Span<const float>()), options);
}

absl::StatusOr<InitializeResult> Model::InitializeFromImport(
    absl::string_view file, const InitializeOptions& options) const {
  v1::InitializeModelHeader header;
  header.set_model(name());
  header.set_restore(options.restore);
  header.set_safetensors_file(std::string(file));
  return internal::Initialize(*channel_, header,
                              Payload(absl::Span<const float>()), options);
}

absl::StatusOr<ModelDescription> Model::Describe() const {
  v1::GetModelRequest request;
  request.set_model(name());
  v1::GetModelResponse response;
  ACCRUE_RETURN_IF_ERROR(channel_->Call(kGetMethod, request, &response));
  return internal::FromProto(response.model());
}

absl::StatusOr<ModelDescription> Model::UpdateHyperparameters(
    const std::vector<GroupUpdate>& updates) const {
  v1::UpdateHyperparametersRequest request;
  request.set_model(name());
  for (const GroupUpdate& update : updates) {
    v1::GroupUpdate& added = *request.add_updates();
    added.set_group(update.group);
    *added.mutable_hyperparameters() =
        internal::ToProto(update.hyperparameters);
  }
  v1::UpdateHyperparametersResponse response;
  ACCRUE_RETURN_IF_ERROR(channel_->Call(kUpdateMethod, request, &response));
  return internal::FromProto(response.model());
}

absl::StatusOr<EndCycleResult> Model::EndCycle(
    const std::optional<Version>& version) const {
  v1::EndCycleRequest request;
  request.set_model(name());
  if (version.has_value()) {
    *request.mutable_version() = internal::ToProto(*version);
  }
  v1::EndCycleResponse response;
  ACCRUE_RETURN_IF_ERROR(channel_->Call(
      kEndCycleMethod, request, &response,
      version.has_value() ? internal::Retryable : KnownAndRetryable));
  return EndCycleResult{
      .version = internal::FromProto(response.version()),
      .closed_groups = {response.closed_groups().begin(),
                        response.closed_groups().end()},
      .missing_pushes = {response.missing_pushes().begin(),
                         response.missing_pushes().end()},
  };
}

absl::StatusOr<CheckpointDescription> Model::Checkpoint(
    absl::Duration timeout) const {
  return internal::Checkpoint(*channel_, name(), timeout);
}

absl::StatusOr<std::vector<CheckpointDescription>> Model::ListCheckpoints()
    const {
  return internal::ListCheckpoints(*channel_, name());
}

absl::StatusOr<ModelDescription> Model::Restore(absl::string_view checkpoint,
                                                absl::Duration timeout) const {
  return internal::Restore(*channel_, name(), std::string(checkpoint), timeout);
}

absl::StatusOr<PullResult> Model::Pull(const PayloadBuffer& into,
                                       const PullOptions& options) const {
  Traffic ignored;
  return internal::PullInto(*channel_, *spec_, into, options, &ignored);
}

Watcher Model::Watch() const {
  return Watcher(std::make_unique<internal::WatchLoop>(channel_, name()));
}

absl::StatusOr<std::vector<SessionDescription>> Model::ListSessions() const {
  std::vector<SessionDescription> sessions;
  v1::ListSessionsRequest request;
  request.set_model(name());
  request.set_page_size(kPageSize);
  v1::ListSessionsResponse response;
  do {
    request.set_page_token(response.next_page_token());
    ACCRUE_RETURN_IF_ERROR(
        channel_->Call(kListSessionsMethod, request, &response));
    for (const v1::Session& session : response.sessions()) {
      sessions.push_back(internal::FromProto(session));
    }
  } while (!response.next_page_token().empty());
  return sessions;
}

absl::StatusOr<Worker> Model::OpenWorker(const WorkerOptions& options) const {
  if (options.name.empty() && !options.session_id.empty()) {
    return absl::InvalidArgumentError(
        "worker: to resume a session its worker's name is needed");
  }
  ACCRUE_RETURN_IF_ERROR(
      internal::Check(options.compression, ElementCount(*spec_)));
  WorkerOptions named = options;
  if (named.name.empty()) named.name = DefaultWorkerName();
  auto session =
      std::make_shared<internal::WorkerSession>(channel_, spec_, named);
  ACCRUE_RETURN_IF_ERROR(session->Open());
  return Worker(std::move(session));
}

}  // namespace accrue::client
