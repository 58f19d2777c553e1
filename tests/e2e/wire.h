// Wire: the API of a daemon through ordinary generated stubs, for tests that
// send what the SDK never would.
//
// Errors.    what a test does not expect to fail is reported as its failure
// Threading. safe
#ifndef ACCRUE_TESTS_E2E_WIRE_H_
#define ACCRUE_TESTS_E2E_WIRE_H_

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "accrue/v1/error.pb.h"
#include "accrue/v1/model_service.grpc.pb.h"
#include "accrue/v1/server_service.grpc.pb.h"
#include "accrue/v1/worker_service.grpc.pb.h"

namespace accrue {

// Of a call that ends by itself, if only with an error, where a test would wait
// for ever.
struct BoundedContext : grpc::ClientContext {
  BoundedContext() {
    set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(90));
  }
};

// A call's end: the status and the detail in its trailer.
struct Ending {
  grpc::Status status;
  v1::ErrorDetail detail;
};

class Wire {
 public:
  explicit Wire(const std::string& target);

  // sgd with momentum 0.5 and learning rate 0.5, one tensor "w".
  static v1::ModelSpec Spec(const std::string& name, int64_t elems, int64_t k);
  Ending Create(const v1::ModelSpec& spec);
  // Created, and initialized to zeros.
  void Make(const v1::ModelSpec& spec);
  // To zeros; unless `restore`, not of poisoned models.
  Ending Initialize(const std::string& model, bool restore = true);
  // With values, of which the last `missing` are announced but not sent.
  Ending InitializeValues(const std::string& model,
                          const std::vector<float>& values, size_t missing = 0);
  std::string Open(const std::string& model, const std::string& worker);
  Ending TryOpen(const std::string& model, const std::string& worker,
                 const std::string& session,
                 v1::OpenSessionResponse* response = nullptr);
  v1::Model Describe(const std::string& model);
  std::vector<v1::Model> Models();
  Ending Delete(const std::string& model);
  void EndCycle(const std::string& model);
  std::string Parameters(const std::string& model,
                         v1::Encoding encoding = v1::ENCODING_F32);

  // A header of this gradient from the newest version.
  v1::PushHeader Header(const std::string& model, const std::string& session,
                        int64_t sequence, const std::vector<float>& gradient);
  Ending Push(const v1::PushHeader& header, const std::string& payload,
              v1::PushResponse* response = nullptr,
              size_t chunk_bytes = 1 << 20);

  // A push of the header and the payload's first `bytes` only.
  class HalfPush;

  int64_t ReservedBytes();
  // Waits until pushes that are being received hold `bytes` at least, or, at 0,
  // until none is.
  void AwaitIngest(int64_t bytes = 1);
  std::vector<v1::Session> Sessions(const std::string& model);

  v1::WorkerService::Stub& workers() { return *workers_; }
  v1::ModelService::Stub& models() { return *models_; }

 private:
  // An initialization's only message.
  Ending Send(const v1::InitializeModelRequest& request);

  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  std::unique_ptr<v1::ServerService::Stub> server_;
};

class Wire::HalfPush {
 public:
  HalfPush(Wire& wire, const v1::PushHeader& header, const std::string& payload,
           size_t bytes);

  void Cancel() { context_.TryCancel(); }
  // Sends the rest, in chunks, and that nothing more comes.
  void FinishSending();
  // How it ended.
  Ending Finish(v1::PushResponse* response = nullptr);
  // Both.
  Ending Complete() {
    FinishSending();
    return Finish();
  }

 private:
  BoundedContext context_;
  v1::PushResponse response_;
  std::unique_ptr<grpc::ClientWriter<v1::PushRequest>> writer_;
  const std::string rest_;
};

std::string FloatBytes(const std::vector<float>& values);
Ending EndOf(grpc::Status status, const grpc::ClientContext& context);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_WIRE_H_
