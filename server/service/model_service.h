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
#include "server/service/turn_queue.h"
#include "server/service/unary_call.h"
#include "server/service/upload_call.h"

namespace accrue {

// All are raw: values are not copied into messages, and nothing is parsed of
// who may not call.
using ModelServiceBase = v1::ModelService::WithRawCallbackMethod_InitializeModel<
    v1::ModelService::WithRawCallbackMethod_CreateModel<
        v1::ModelService::WithRawCallbackMethod_GetModel<
            v1::ModelService::WithRawCallbackMethod_ListModels<
                v1::ModelService::WithRawCallbackMethod_DeleteModel<
                    v1::ModelService::WithRawCallbackMethod_UpdateHyperparameters<
                        v1::ModelService::WithRawCallbackMethod_EndCycle<
                            v1::ModelService::WithRawCallbackMethod_ListSessions<
                                v1::ModelService::WithRawCallbackMethod_Checkpoint<
                                    v1::ModelService::
                                        WithRawCallbackMethod_ListCheckpoints<
                                            v1::ModelService::
                                                WithRawCallbackMethod_Restore<
                                                    v1::ModelService::
                                                        Service>>>>>>>>>>>;

class ModelService final : public ModelServiceBase {
 public:
  explicit ModelService(const CallEnvironment& environment);

  grpc::ServerUnaryReactor* CreateModel(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* GetModel(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* DeleteModel(grpc::CallbackServerContext* context,
                                        const grpc::ByteBuffer* request,
                                        grpc::ByteBuffer* response) override;
  UploadReactor* InitializeModel(grpc::CallbackServerContext* context,
                                 grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* UpdateHyperparameters(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* EndCycle(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListSessions(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Checkpoint(grpc::CallbackServerContext* context,
                                       const grpc::ByteBuffer* request,
                                       grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListCheckpoints(
      grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
      grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Restore(grpc::CallbackServerContext* context,
                                    const grpc::ByteBuffer* request,
                                    grpc::ByteBuffer* response) override;

 private:
  v1::Model Describe(const Model& model) const;
  std::vector<ModelStore::Listed> Visible(const Principal& caller,
                                          std::string after,
                                          size_t limit) const;

  // A model that is there already waits for nobody's turn.
  void CreateOrOpen(ModelSpec spec, const std::shared_ptr<UnaryCall>& call,
                    v1::CreateModelResponse* response);
  // Calls work(turn) when it is its turn, unless the caller has gone by then:
  // who no longer waits may have done something else, and others have trained.
  void Change(const std::shared_ptr<UnaryCall>& call, TurnQueue::Work work);

  const CallEnvironment& environment_;
  // Models that are created, deleted and restored: however many calls come, the
  // pool has threads for pushes.
  TurnQueue changes_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_MODEL_SERVICE_H_
