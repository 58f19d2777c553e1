// ModelService: creating, inspecting and steering models.
//
// Threading. gRPC's reactions: nothing here waits or runs long

#ifndef ACCRUE_SERVER_SERVICE_MODEL_SERVICE_H_
#define ACCRUE_SERVER_SERVICE_MODEL_SERVICE_H_

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "accrue/v1/model_service.grpc.pb.h"
#include "server/service/call_environment.h"
#include "server/service/upload_call.h"

namespace accrue {

// InitializeModel is raw, so that values are not copied into messages.
using ModelServiceBase = v1::ModelService::WithRawCallbackMethod_InitializeModel<
    v1::ModelService::WithCallbackMethod_CreateModel<
        v1::ModelService::WithCallbackMethod_GetModel<
            v1::ModelService::WithCallbackMethod_ListModels<
                v1::ModelService::WithCallbackMethod_DeleteModel<
                    v1::ModelService::WithCallbackMethod_UpdateHyperparameters<
                        v1::ModelService::WithCallbackMethod_EndCycle<
                            v1::ModelService::WithCallbackMethod_ListSessions<
                                v1::ModelService::WithCallbackMethod_Checkpoint<
                                    v1::ModelService::
                                        WithCallbackMethod_ListCheckpoints<
                                            v1::ModelService::
                                                WithCallbackMethod_Restore<
                                                    v1::ModelService::
                                                        Service>>>>>>>>>>>;

class ModelService final : public ModelServiceBase {
 public:
  explicit ModelService(const CallEnvironment& environment)
      : environment_(environment) {}

  grpc::ServerUnaryReactor* CreateModel(
      grpc::CallbackServerContext* context,
      const v1::CreateModelRequest* request,
      v1::CreateModelResponse* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const v1::GetModelRequest* request,
                                     v1::GetModelResponse* response) override;
  grpc::ServerUnaryReactor* ListModels(
      grpc::CallbackServerContext* context,
      const v1::ListModelsRequest* request,
      v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* DeleteModel(
      grpc::CallbackServerContext* context,
      const v1::DeleteModelRequest* request,
      v1::DeleteModelResponse* response) override;
  UploadReactor* InitializeModel(grpc::CallbackServerContext* context,
                                 grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* UpdateHyperparameters(
      grpc::CallbackServerContext* context,
      const v1::UpdateHyperparametersRequest* request,
      v1::UpdateHyperparametersResponse* response) override;
  grpc::ServerUnaryReactor* EndCycle(grpc::CallbackServerContext* context,
                                     const v1::EndCycleRequest* request,
                                     v1::EndCycleResponse* response) override;
  grpc::ServerUnaryReactor* ListSessions(
      grpc::CallbackServerContext* context,
      const v1::ListSessionsRequest* request,
      v1::ListSessionsResponse* response) override;
  grpc::ServerUnaryReactor* Checkpoint(
      grpc::CallbackServerContext* context,
      const v1::CheckpointRequest* request,
      v1::CheckpointResponse* response) override;
  grpc::ServerUnaryReactor* ListCheckpoints(
      grpc::CallbackServerContext* context,
      const v1::ListCheckpointsRequest* request,
      v1::ListCheckpointsResponse* response) override;
  grpc::ServerUnaryReactor* Restore(grpc::CallbackServerContext* context,
                                    const v1::RestoreRequest* request,
                                    v1::RestoreResponse* response) override;

 private:
  // FAILED_PRECONDITION kNoDataDirectory.
  v1::Model Describe(const Model& model) const;
  std::vector<std::shared_ptr<Model>> Visible(const Principal& caller,
                                              std::string after,
                                              size_t limit) const;

  const CallEnvironment& environment_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_MODEL_SERVICE_H_
