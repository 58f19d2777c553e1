// The services of a FakeDaemon.
//
// Threading. safe

#ifndef ACCRUE_TESTS_CLIENT_FAKE_SERVICES_H_
#define ACCRUE_TESTS_CLIENT_FAKE_SERVICES_H_

#include "tests/client/fake_daemon.h"

namespace accrue::client {

class FakeDaemon::Worker : public v1::WorkerService::Service {
 public:
  explicit Worker(FakeDaemon* daemon) : daemon_(*daemon) {}

  grpc::Status OpenSession(grpc::ServerContext* context,
                           const v1::OpenSessionRequest* request,
                           v1::OpenSessionResponse* response) override;
  grpc::Status Push(grpc::ServerContext* context,
                    grpc::ServerReader<v1::PushRequest>* reader,
                    v1::PushResponse* response) override;
  grpc::Status Pull(grpc::ServerContext* context,
                    const v1::PullRequest* request,
                    grpc::ServerWriter<v1::PullResponse>* writer) override;
  grpc::Status Watch(grpc::ServerContext* context,
                     const v1::WatchRequest* request,
                     grpc::ServerWriter<v1::WatchResponse>* writer) override;
  grpc::Status CloseSession(grpc::ServerContext* context,
                            const v1::CloseSessionRequest* request,
                            v1::CloseSessionResponse*) override;

 private:
  grpc::Status Fold(FoldedPush push, grpc::ServerContext* context,
                    v1::PushResponse* response);

  FakeDaemon& daemon_;
};

class FakeDaemon::Model : public v1::ModelService::Service {
 public:
  explicit Model(FakeDaemon* daemon) : daemon_(*daemon) {}

  grpc::Status CreateModel(grpc::ServerContext* context,
                           const v1::CreateModelRequest* request,
                           v1::CreateModelResponse* response) override;
  grpc::Status GetModel(grpc::ServerContext* context,
                        const v1::GetModelRequest* request,
                        v1::GetModelResponse* response) override;

  // Two a page, whatever the page size asked for.
  grpc::Status ListModels(grpc::ServerContext*,
                          const v1::ListModelsRequest* request,
                          v1::ListModelsResponse* response) override;
  grpc::Status DeleteModel(grpc::ServerContext* context,
                           const v1::DeleteModelRequest* request,
                           v1::DeleteModelResponse*) override;
  grpc::Status InitializeModel(
      grpc::ServerContext* context,
      grpc::ServerReader<v1::InitializeModelRequest>* reader,
      v1::InitializeModelResponse* response) override;
  grpc::Status UpdateHyperparameters(
      grpc::ServerContext* context,
      const v1::UpdateHyperparametersRequest* request,
      v1::UpdateHyperparametersResponse* response) override;
  grpc::Status EndCycle(grpc::ServerContext* context,
                        const v1::EndCycleRequest* request,
                        v1::EndCycleResponse* response) override;
  grpc::Status ListSessions(grpc::ServerContext*,
                            const v1::ListSessionsRequest* request,
                            v1::ListSessionsResponse* response) override;
  grpc::Status Checkpoint(grpc::ServerContext* context,
                          const v1::CheckpointRequest*,
                          v1::CheckpointResponse* response) override;
  grpc::Status Restore(grpc::ServerContext* context,
                       const v1::RestoreRequest* request,
                       v1::RestoreResponse* response) override;

 private:
  grpc::Status Unknown(grpc::ServerContext* context) const;
  void Describe(const v1::ModelSpec& spec, v1::Model* model) const;

  FakeDaemon& daemon_;
};

class FakeDaemon::Server : public v1::ServerService::Service {
 public:
  explicit Server(FakeDaemon* daemon) : daemon_(*daemon) {}

  grpc::Status GetServerInfo(grpc::ServerContext* context,
                             const v1::GetServerInfoRequest*,
                             v1::GetServerInfoResponse* response) override;

 private:
  FakeDaemon& daemon_;
};

}  // namespace accrue::client

#endif  // ACCRUE_TESTS_CLIENT_FAKE_SERVICES_H_
