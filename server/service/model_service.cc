#include "server/service/model_service.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/unary_call.h"

namespace accrue {
namespace {

constexpr int64_t kDefaultPage = 100;
constexpr int64_t kLargestPage = 1000;

absl::StatusOr<int64_t> PageSize(int64_t asked) {
  if (asked < 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("page_size: ", asked, ", want at least 0"));
  }
  return asked == 0 ? kDefaultPage : std::min(asked, kLargestPage);
}

}  // namespace

v1::Model ModelService::Describe(const Model& model) const {
  return ToApi(model.Describe(), MemoryCeiling(environment_));
}

grpc::ServerUnaryReactor* ModelService::CreateModel(
    grpc::CallbackServerContext* context, const v1::CreateModelRequest* request,
    v1::CreateModelResponse* response) {
  const auto call = UnaryCall::New(environment_, context);
  absl::StatusOr<ModelSpec> spec = FromApi(request->spec());
  if (!spec.ok()) {
    call->Finish(spec.status());
    return call->reactor();
  }
  environment_.store->Create(
      *std::move(spec),
      [this, call, response](const absl::StatusOr<ModelStore::Created>& made) {
        if (made.ok()) {
          *response->mutable_model() = Describe(*made->model);
          response->set_created(made->created);
        }
        call->Finish(made.status());
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* ModelService::GetModel(
    grpc::CallbackServerContext* context, const v1::GetModelRequest* request,
    v1::GetModelResponse* response) {
  return UnaryCall::OnPool(
      environment_, context, [this, request, response]() -> absl::Status {
        ACCRUE_ASSIGN_OR_RETURN(const auto model,
                                environment_.store->Find(request->model()));
        *response->mutable_model() = Describe(*model);
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ModelService::ListModels(
    grpc::CallbackServerContext* context, const v1::ListModelsRequest* request,
    v1::ListModelsResponse* response) {
  return UnaryCall::OnPool(
      environment_, context, [this, request, response]() -> absl::Status {
        ACCRUE_ASSIGN_OR_RETURN(const int64_t size,
                                PageSize(request->page_size()));
        // One more than asked for tells whether there is a next page.
        auto models = environment_.store->List(request->page_token(), size + 1);
        if (static_cast<int64_t>(models.size()) > size) {
          models.pop_back();
          response->set_next_page_token(models.back()->name());
        }
        for (const auto& model : models) {
          *response->add_models() = Describe(*model);
        }
        return absl::OkStatus();
      });
}

grpc::ServerUnaryReactor* ModelService::DeleteModel(
    grpc::CallbackServerContext* context, const v1::DeleteModelRequest* request,
    v1::DeleteModelResponse*) {
  return UnaryCall::OnPool(environment_, context, [this, request] {
    return environment_.store->Delete(request->model());
  });
}

UploadReactor* ModelService::InitializeModel(
    grpc::CallbackServerContext* context, grpc::ByteBuffer* response) {
  return NewInitializeCall(environment_, context, response);
}

grpc::ServerUnaryReactor* ModelService::UpdateHyperparameters(
    grpc::CallbackServerContext* context,
    const v1::UpdateHyperparametersRequest* request,
    v1::UpdateHyperparametersResponse* response) {
  const auto call = UnaryCall::New(environment_, context);
  const auto model = environment_.store->Find(request->model());
  if (!model.ok()) {
    call->Finish(model.status());
    return call->reactor();
  }
  auto updates =
      FromApi(*request, static_cast<int64_t>((*model)->spec().groups.size()));
  if (!updates.ok()) {
    call->Finish(updates.status());
    return call->reactor();
  }
  (*model)->UpdateHyperparameters(
      *std::move(updates),
      [this, call, response, model = *model](const absl::Status& status) {
        if (status.ok()) *response->mutable_model() = Describe(*model);
        call->Finish(status);
      });
  return call->reactor();
}

grpc::ServerUnaryReactor* ModelService::EndCycle(
    grpc::CallbackServerContext* context, const v1::EndCycleRequest* request,
    v1::EndCycleResponse* response) {
  const auto call = UnaryCall::New(environment_, context);
  const auto model = environment_.store->Find(request->model());
  if (!model.ok()) {
    call->Finish(model.status());
    return call->reactor();
  }
  std::optional<Version> version;
  if (request->has_version()) version = FromApi(request->version());
  (*model)->EndCycle(std::move(version),
                     [call, response](const absl::StatusOr<EndedCycle>& ended) {
                       if (ended.ok()) *response = ToApi(*ended);
                       call->Finish(ended.status());
                     });
  return call->reactor();
}

grpc::ServerUnaryReactor* ModelService::ListSessions(
    grpc::CallbackServerContext* context,
    const v1::ListSessionsRequest* request,
    v1::ListSessionsResponse* response) {
  return UnaryCall::OnPool(
      environment_, context, [this, request, response]() -> absl::Status {
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

}  // namespace accrue
