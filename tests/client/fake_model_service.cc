#include <mutex>
#include <string>

#include "tests/client/fake_services.h"

namespace accrue::client {

grpc::Status FakeDaemon::Model::CreateModel(
    grpc::ServerContext* context, const v1::CreateModelRequest* request,
    v1::CreateModelResponse* response) {
  const Fate fate = daemon_.Next("CreateModel");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  {
    const std::lock_guard lock(daemon_.mutex_);
    const auto [at, created] =
        daemon_.models_.emplace(request->spec().name(), request->spec());
    if (at->second.SerializeAsString() != request->spec().SerializeAsString()) {
      return daemon_.Error({grpc::StatusCode::ALREADY_EXISTS,
                            v1::ErrorDetail::REASON_MODEL_EXISTS},
                           context);
    }
    response->set_created(created);
    Describe(at->second, response->mutable_model());
  }
  daemon_.After(fate);
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::GetModel(grpc::ServerContext* context,
                                         const v1::GetModelRequest* request,
                                         v1::GetModelResponse* response) {
  const Fate fate = daemon_.Next("GetModel");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  const std::lock_guard lock(daemon_.mutex_);
  const auto found = daemon_.models_.find(request->model());
  if (found == daemon_.models_.end()) return Unknown(context);
  Describe(found->second, response->mutable_model());
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::ListModels(grpc::ServerContext*,
                                           const v1::ListModelsRequest* request,
                                           v1::ListModelsResponse* response) {
  daemon_.Next("ListModels");
  const std::lock_guard lock(daemon_.mutex_);
  auto at = daemon_.models_.lower_bound(request->page_token());
  for (; at != daemon_.models_.end() && response->models_size() < 2; ++at) {
    Describe(at->second, response->add_models());
  }
  if (at != daemon_.models_.end()) {
    response->set_next_page_token(at->first);
  }
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::DeleteModel(
    grpc::ServerContext* context, const v1::DeleteModelRequest* request,
    v1::DeleteModelResponse*) {
  daemon_.Next("DeleteModel");
  const std::lock_guard lock(daemon_.mutex_);
  return daemon_.models_.erase(request->model()) > 0 ? grpc::Status::OK
                                                     : Unknown(context);
}

grpc::Status FakeDaemon::Model::InitializeModel(
    grpc::ServerContext* context,
    grpc::ServerReader<v1::InitializeModelRequest>* reader,
    v1::InitializeModelResponse* response) {
  const Fate fate = daemon_.Next("InitializeModel");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  v1::InitializeModelRequest request;
  v1::InitializeModelHeader header;
  std::string values;
  while (reader->Read(&request)) {
    if (request.has_header()) header = request.header();
    values += request.chunk();
  }
  {
    const std::lock_guard lock(daemon_.mutex_);
    if (daemon_.initialized_by_.has_value()) {
      return daemon_.Error({grpc::StatusCode::ALREADY_EXISTS,
                            v1::ErrorDetail::REASON_ALREADY_INITIALIZED},
                           context);
    }
    daemon_.initialized_by_ = header;
    daemon_.parameters_ = values;
    *response->mutable_version() = daemon_.version_;
  }
  daemon_.After(fate);
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::UpdateHyperparameters(
    grpc::ServerContext* context,
    const v1::UpdateHyperparametersRequest* request,
    v1::UpdateHyperparametersResponse* response) {
  const std::lock_guard lock(daemon_.mutex_);
  const auto found = daemon_.models_.find(request->model());
  if (found == daemon_.models_.end()) return Unknown(context);
  for (const v1::GroupUpdate& update : request->updates()) {
    for (v1::GroupSpec& group : *found->second.mutable_groups()) {
      if (!update.group().empty() && update.group() != group.name()) {
        continue;
      }
      group.mutable_hyperparameters()->MergeFrom(update.hyperparameters());
    }
  }
  Describe(found->second, response->mutable_model());
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::EndCycle(grpc::ServerContext* context,
                                         const v1::EndCycleRequest* request,
                                         v1::EndCycleResponse* response) {
  const Fate fate = daemon_.Next("EndCycle");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  {
    const std::lock_guard lock(daemon_.mutex_);
    if (!request->has_version() ||
        request->version().number() == daemon_.version_.number()) {
      daemon_.version_.set_number(daemon_.version_.number() + 1);
      response->add_closed_groups("all");
      response->add_missing_pushes(3);
    }
    *response->mutable_version() = daemon_.version_;
  }
  daemon_.After(fate);
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::Checkpoint(grpc::ServerContext* context,
                                           const v1::CheckpointRequest*,
                                           v1::CheckpointResponse* response) {
  const Fate fate = daemon_.Next("Checkpoint");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  response->mutable_checkpoint()->set_name("checkpoint-1");
  daemon_.After(fate);
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::Restore(grpc::ServerContext* context,
                                        const v1::RestoreRequest* request,
                                        v1::RestoreResponse* response) {
  const Fate fate = daemon_.Next("Restore");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  {
    const std::lock_guard lock(daemon_.mutex_);
    Describe(daemon_.models_.at(request->model()), response->mutable_model());
  }
  daemon_.After(fate);
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::ListSessions(
    grpc::ServerContext*, const v1::ListSessionsRequest* request,
    v1::ListSessionsResponse* response) {
  const std::lock_guard lock(daemon_.mutex_);
  auto at = daemon_.sessions_.lower_bound(request->page_token());
  for (; at != daemon_.sessions_.end() && response->sessions_size() < 2; ++at) {
    v1::Session& session = *response->add_sessions();
    session.set_worker(at->second.worker);
    session.set_id_prefix(at->first.substr(0, 8));
    session.set_last_sequence(at->second.last_sequence);
    session.mutable_last_active_time()->set_seconds(1'700'000'000);
  }
  if (at != daemon_.sessions_.end()) {
    response->set_next_page_token(at->first);
  }
  return grpc::Status::OK;
}

grpc::Status FakeDaemon::Model::Unknown(grpc::ServerContext* context) const {
  return daemon_.Error(
      {grpc::StatusCode::NOT_FOUND, v1::ErrorDetail::REASON_MODEL_UNKNOWN},
      context);
}

void FakeDaemon::Model::Describe(const v1::ModelSpec& spec,
                                 v1::Model* model) const {
  *model->mutable_spec() = spec;
  model->set_state(v1::Model::STATE_READY);
  *model->mutable_version() = daemon_.version_;
  int64_t count = 0;
  for (const v1::TensorSpec& tensor : spec.tensors()) {
    int64_t elements = 1;
    for (const int64_t extent : tensor.shape()) elements *= extent;
    count += elements;
  }
  model->set_parameter_count(count);
  model->set_payload_bytes(4 * count);
}

grpc::Status FakeDaemon::Server::GetServerInfo(
    grpc::ServerContext* context, const v1::GetServerInfoRequest*,
    v1::GetServerInfoResponse* response) {
  const Fate fate = daemon_.Next("GetServerInfo");
  grpc::Status status;
  if (daemon_.Before(fate, context, &status)) return status;
  response->set_version("fake");
  response->add_encodings(v1::ENCODING_F32);
  response->set_max_chunk_bytes(4 << 20);
  return grpc::Status::OK;
}

}  // namespace accrue::client
