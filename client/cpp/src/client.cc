#include "accrue/client.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/v1/model_service.pb.h"
#include "accrue/v1/server_service.pb.h"
#include "client/cpp/src/channel.h"
#include "client/cpp/src/checkpoints.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/credentials.h"
#include "server/base/status_macros.h"

namespace accrue::client {
namespace {

constexpr char kCreateMethod[] = "/accrue.v1.ModelService/CreateModel";
constexpr char kGetMethod[] = "/accrue.v1.ModelService/GetModel";
constexpr char kListMethod[] = "/accrue.v1.ModelService/ListModels";
constexpr char kDeleteMethod[] = "/accrue.v1.ModelService/DeleteModel";
constexpr char kInfoMethod[] = "/accrue.v1.ServerService/GetServerInfo";

constexpr int kPageSize = 1000;

absl::Status Check(const ClientOptions& options) {
  if (options.chunk_bytes < 16 << 10 || options.chunk_bytes > 4 << 20) {
    return absl::InvalidArgumentError(absl::StrCat(
        "chunk_bytes is ", options.chunk_bytes, ", want 16384 to 4194304"));
  }
  if (options.receive_window_bytes < 64 << 10 ||
      options.receive_window_bytes > 1 << 30) {
    return absl::InvalidArgumentError(
        absl::StrCat("receive_window_bytes is ", options.receive_window_bytes,
                     ", want 65536 to 1073741824"));
  }
  if (options.initial_backoff <= absl::ZeroDuration() ||
      options.max_backoff < options.initial_backoff) {
    return absl::InvalidArgumentError(
        "want 0 < initial_backoff <= max_backoff");
  }
  if (options.keepalive_time < absl::Milliseconds(1) ||
      options.keepalive_timeout < absl::Milliseconds(1)) {
    return absl::InvalidArgumentError(
        "keepalive_time and keepalive_timeout have to be at least 1 ms");
  }
  return internal::CheckCredentials(options);
}

// A limit on the number of models does not go away by waiting.
bool RetryableCreate(const absl::Status& status) {
  return internal::Retryable(status) && GetReason(status) != Reason::kLimit;
}

absl::StatusOr<v1::CreateModelResponse> Create(internal::Channel& channel,
                                               const ModelSpec& spec) {
  v1::CreateModelRequest request;
  *request.mutable_spec() = internal::ToProto(spec);
  v1::CreateModelResponse response;
  ACCRUE_RETURN_IF_ERROR(
      channel.Call(kCreateMethod, request, &response, RetryableCreate));
  return response;
}

}  // namespace

absl::StatusOr<Client> Client::Connect(absl::string_view target,
                                       const ClientOptions& options) {
  ACCRUE_RETURN_IF_ERROR(Check(options));
  ACCRUE_ASSIGN_OR_RETURN(internal::Target parsed,
                          internal::Target::Parse(target));
  auto channel =
      std::make_shared<internal::Channel>(std::move(parsed), options);
  if (options.connect_timeout > absl::ZeroDuration()) {
    v1::GetServerInfoResponse response;
    ACCRUE_RETURN_IF_ERROR(
        channel->Call(kInfoMethod, v1::GetServerInfoRequest(), &response,
                      absl::Now() + options.connect_timeout));
  }
  return Client(std::move(channel));
}

Client::Client(std::shared_ptr<internal::Channel> channel)
    : channel_(std::move(channel)) {}

absl::StatusOr<Model> Client::CreateOrOpen(const ModelSpec& spec) const {
  ACCRUE_ASSIGN_OR_RETURN(const v1::CreateModelResponse response,
                          Create(*channel_, spec));
  return Model(channel_, internal::FromProto(response.model()));
}

absl::StatusOr<Model> Client::CreateModel(const ModelSpec& spec) const {
  ACCRUE_ASSIGN_OR_RETURN(const v1::CreateModelResponse response,
                          Create(*channel_, spec));
  if (!response.created()) {
    return absl::AlreadyExistsError(
        absl::StrCat("model \"", spec.name, "\" exists, with this spec"));
  }
  return Model(channel_, internal::FromProto(response.model()));
}

absl::StatusOr<Model> Client::OpenModel(absl::string_view name) const {
  ACCRUE_ASSIGN_OR_RETURN(const ModelDescription description, Describe(name));
  return Model(channel_, description);
}

absl::StatusOr<ModelDescription> Client::Describe(
    absl::string_view name) const {
  v1::GetModelRequest request;
  request.set_model(std::string(name));
  v1::GetModelResponse response;
  ACCRUE_RETURN_IF_ERROR(channel_->Call(kGetMethod, request, &response));
  return internal::FromProto(response.model());
}

absl::StatusOr<std::vector<ModelDescription>> Client::ListModels() const {
  std::vector<ModelDescription> models;
  v1::ListModelsRequest request;
  request.set_page_size(kPageSize);
  v1::ListModelsResponse response;
  do {
    request.set_page_token(response.next_page_token());
    ACCRUE_RETURN_IF_ERROR(channel_->Call(kListMethod, request, &response));
    for (const v1::Model& model : response.models()) {
      models.push_back(internal::FromProto(model));
    }
  } while (!response.next_page_token().empty());
  return models;
}

absl::Status Client::DeleteModel(absl::string_view name) const {
  v1::DeleteModelRequest request;
  request.set_model(std::string(name));
  v1::DeleteModelResponse response;
  return channel_->Call(kDeleteMethod, request, &response);
}

absl::StatusOr<std::vector<CheckpointDescription>> Client::ListCheckpoints(
    absl::string_view name) const {
  return internal::ListCheckpoints(*channel_, std::string(name));
}

absl::StatusOr<ModelDescription> Client::Restore(absl::string_view name,
                                                 absl::string_view checkpoint,
                                                 absl::Duration timeout) const {
  return internal::Restore(*channel_, std::string(name),
                           std::string(checkpoint), timeout);
}

absl::StatusOr<ServerInfo> Client::GetServerInfo() const {
  v1::GetServerInfoResponse response;
  ACCRUE_RETURN_IF_ERROR(
      channel_->Call(kInfoMethod, v1::GetServerInfoRequest(), &response));
  return internal::FromProto(response);
}

const std::string& Client::target() const { return channel_->target().text(); }

}  // namespace accrue::client
