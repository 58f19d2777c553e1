#include "server/service/model_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/service/convert.h"

namespace accrue {
namespace {

constexpr int64_t kDefaultPage = 100;
constexpr int64_t kLargestPage = 1000;
// Few of the threads that the pool replaces.
constexpr int kChangesAtOnce = WorkPool::kMostSpares / 8;

absl::StatusOr<int64_t> PageSize(int64_t asked) {
  if (asked < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size: ", asked, ", want at least 0"));
  }
  return asked == 0 ? kDefaultPage : std::min(asked, kLargestPage);
}

}  // namespace

ModelService::ModelService(const CallEnvironment& environment)
    : environment_(environment), changes_(environment.pool, kChangesAtOnce) {}

v1::Model ModelService::Describe(const Model& model) const {
  v1::Model api = ToApi(model.Describe(), MemoryCeiling(environment_));
  if (environment_.data == nullptr) return api;
  const auto log = environment_.data->Find(model.name());
  if (log.ok()) *api.mutable_checkpoint() = ToApi((*log)->newest());
  return api;
}

void ModelService::Change(const std::shared_ptr<UnaryCall>& call,
                          TurnQueue::Work work) {
  changes_.Post([call, work = std::move(work)](TurnQueue::Turn turn) mutable {
    if (call->caller_is_gone()) {
      return call->Finish(
          absl::CancelledError("its caller had gone before it was its turn"));
    }
    work(std::move(turn));
  });
}

grpc::ServerUnaryReactor* ModelService::CreateModel(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::CreateModelRequest, v1::CreateModelResponse>(
      environment_, {context, request_bytes, response_bytes, kMaxMessageBytes},
      [&](const auto& call, const v1::CreateModelRequest* request,
          v1::CreateModelResponse* response) {
        absl::StatusOr<ModelSpec> spec = FromApi(request->spec());
        if (!spec.ok()) return call->Finish(spec.status());
        environment_.pool->Post(
            environment_.lane,
            [this, call, response, spec = *std::move(spec)]() mutable {
              CreateOrOpen(std::move(spec), call, response);
            });
      });
}

void ModelService::CreateOrOpen(ModelSpec spec,
                                const std::shared_ptr<UnaryCall>& call,
                                v1::CreateModelResponse* response) {
  const auto answer =
      [this, call, response](const absl::StatusOr<ModelStore::Created>& made) {
        if (made.ok()) {
          *response->mutable_model() = Describe(*made->model);
          response->set_created(made->created);
        }
        call->Finish(made.status());
      };
  const auto there = environment_.store->FindSame(spec);
  if (!there.ok()) return answer(there.status());
  if (*there != nullptr) return answer(ModelStore::Created{*there, false});
  Change(call, [this, answer,
                spec = std::move(spec)](TurnQueue::Turn turn) mutable {
    environment_.store->Create(
        std::move(spec),
        [answer, turn = std::move(turn)](
            const absl::StatusOr<ModelStore::Created>& made) { answer(made); });
  });
}

grpc::ServerUnaryReactor* ModelService::GetModel(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::OnPool<v1::GetModelRequest, v1::GetModelResponse>(
      environment_, {context, request_bytes, response_bytes},
      [this](const v1::GetModelRequest* request,
             v1::GetModelResponse* response) -> absl::Status {
        ACCRUE_ASSIGN_OR_RETURN(const auto model,
                                environment_.store->Find(request->model()));
        *response->mutable_model() = Describe(*model);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ModelService::ListModels(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::OnPool<v1::ListModelsRequest, v1::ListModelsResponse>(
      environment_, {context, request_bytes, response_bytes},
      [this, context](const v1::ListModelsRequest* request,
                      v1::ListModelsResponse* response) -> absl::Status {
        ACCRUE_ASSIGN_OR_RETURN(const int64_t size,
                                PageSize(request->page_size()));
        // One more than asked for tells whether there is a next page.
        auto models =
            Visible(*environment_.access->Caller(context),
                    request->page_token(), static_cast<size_t>(size) + 1);
        if (static_cast<int64_t>(models.size()) > size) {
          models.pop_back();
          response->set_next_page_token(models.back().name);
        }
        for (const auto& [name, model] : models) {
          *response->add_models() =
              model.ok() ? Describe(**model)
                         : UnavailableModel(name, model.status());
        }
        return absl::OkStatus();
      });
}

// The first `limit` models after a name that `caller` may see.
std::vector<ModelStore::Listed> ModelService::Visible(const Principal& caller,
                                                      std::string after,
                                                      size_t limit) const {
  std::vector<ModelStore::Listed> visible;
  while (visible.size() < limit) {
    const auto models = environment_.store->List(after, kLargestPage);
    if (models.empty()) break;
    after = models.back().name;
    for (const auto& model : models) {
      if (visible.size() < limit && caller.HasAccessTo(model.name)) {
        visible.push_back(model);
      }
    }
  }
  return visible;
}

grpc::ServerUnaryReactor* ModelService::DeleteModel(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::DeleteModelRequest, v1::DeleteModelResponse>(
      environment_, {context, request_bytes, response_bytes},
      [&](const auto& call, const v1::DeleteModelRequest* request,
          v1::DeleteModelResponse*) {
        Change(call, [this, call, request](const TurnQueue::Turn&) {
          call->Finish(environment_.store->Delete(request->model()));
        });
      });
}

UploadReactor* ModelService::InitializeModel(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* response) {
  return NewInitializeCall(environment_, context, response);
}

grpc::ServerUnaryReactor* ModelService::UpdateHyperparameters(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::UpdateHyperparametersRequest,
                          v1::UpdateHyperparametersResponse>(
      environment_, {context, request_bytes, response_bytes, kMaxMessageBytes},
      [&](const auto& call, const v1::UpdateHyperparametersRequest* request,
          v1::UpdateHyperparametersResponse* response) {
        const auto model = environment_.store->Find(request->model());
        if (!model.ok()) return call->Finish(model.status());
        auto updates = FromApi(
            *request, static_cast<int64_t>((*model)->spec().groups.size()));
        if (!updates.ok()) return call->Finish(updates.status());
        (*model)->UpdateHyperparameters(
            *std::move(updates),
            [this, call, response, model = *model](const absl::Status& status) {
              if (status.ok()) *response->mutable_model() = Describe(*model);
              call->Finish(status);
            });
      });
}

grpc::ServerUnaryReactor* ModelService::EndCycle(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::EndCycleRequest, v1::EndCycleResponse>(
      environment_, {context, request_bytes, response_bytes},
      [&](const auto& call, const v1::EndCycleRequest* request,
          v1::EndCycleResponse* response) {
        const auto model = environment_.store->Find(request->model());
        if (!model.ok()) return call->Finish(model.status());
        std::optional<Version> version;
        if (request->has_version()) version = FromApi(request->version());
        (*model)->EndCycle(
            std::move(version),
            [call, response](const absl::StatusOr<EndedCycle>& ended) {
              if (ended.ok()) *response = ToApi(*ended);
              call->Finish(ended.status());
            });
      });
}

grpc::ServerUnaryReactor* ModelService::ListSessions(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::OnPool<v1::ListSessionsRequest, v1::ListSessionsResponse>(
      environment_, {context, request_bytes, response_bytes},
      [this](const v1::ListSessionsRequest* request,
             v1::ListSessionsResponse* response) -> absl::Status {
        ACCRUE_ASSIGN_OR_RETURN(const auto model,
                                environment_.store->Find(request->model()));
        ACCRUE_ASSIGN_OR_RETURN(const int64_t size,
                                PageSize(request->page_size()));
        for (const SessionDescription& session : model->Sessions()) {
          if (session.worker <= request->page_token()) continue;
          if (response->sessions_size() == size) {
            response->set_next_page_token(
                response->sessions(response->sessions_size() - 1).worker());
            break;
          }
          *response->add_sessions() = ToApi(session);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ModelService::Checkpoint(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::CheckpointRequest, v1::CheckpointResponse>(
      environment_, {context, request_bytes, response_bytes},
      [&](const auto& call, const v1::CheckpointRequest* request,
          v1::CheckpointResponse* response) {
        const auto model = environment_.store->Find(request->model());
        if (!model.ok()) return call->Finish(model.status());
        const auto data = FindData(environment_);
        if (!data.ok()) return call->Finish(data.status());
        const auto log = (*data)->Find(request->model());
        if (!log.ok()) return call->Finish(log.status());
        (*log)->Checkpoint(
            [call, response](const absl::StatusOr<CheckpointInfo>& made) {
              if (made.ok()) *response->mutable_checkpoint() = ToApi(*made);
              call->Finish(made.status());
            });
      });
}

grpc::ServerUnaryReactor* ModelService::ListCheckpoints(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::OnPool<v1::ListCheckpointsRequest,
                           v1::ListCheckpointsResponse>(
      environment_, {context, request_bytes, response_bytes},
      [this](const v1::ListCheckpointsRequest* request,
             v1::ListCheckpointsResponse* response) -> absl::Status {
        const auto model = environment_.store->Find(request->model());
        // Of a damaged model they are what is left.
        if (absl::IsNotFound(model.status())) return model.status();
        ACCRUE_ASSIGN_OR_RETURN(DataDirectory * data, FindData(environment_));
        const WorkPool::Waiting waiting;
        ACCRUE_ASSIGN_OR_RETURN(const std::vector<CheckpointInfo> checkpoints,
                                data->Checkpoints(request->model()));
        for (const CheckpointInfo& checkpoint : checkpoints) {
          *response->add_checkpoints() = ToApi(checkpoint);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ModelService::Restore(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request_bytes,
    grpc::ByteBuffer* response_bytes) {
  return UnaryCall::Begin<v1::RestoreRequest, v1::RestoreResponse>(
      environment_, {context, request_bytes, response_bytes},
      [&](const auto& call, const v1::RestoreRequest* request,
          v1::RestoreResponse* response) {
        const auto data = FindData(environment_);
        if (!data.ok()) return call->Finish(data.status());
        Change(call, [this, call, request, response,
                      data = *data](TurnQueue::Turn turn) {
          data->Restore(
              request->model(), request->checkpoint(), *environment_.store,
              [this, call, response, turn = std::move(turn)](
                  const absl::StatusOr<std::shared_ptr<Model>>& model) {
                if (model.ok()) {
                  *response->mutable_model() = Describe(**model);
                }
                call->Finish(model.status());
              });
        });
      });
}

}  // namespace accrue
