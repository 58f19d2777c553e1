// ServiceFixture: a server in this process, on loopback, and what tests ask of
// it through ordinary generated stubs.

#ifndef ACCRUE_TESTS_SERVICE_SERVICE_FIXTURE_H_
#define ACCRUE_TESTS_SERVICE_SERVICE_FIXTURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include "accrue/v1/error.pb.h"
#include "accrue/v1/model_service.grpc.pb.h"
#include "accrue/v1/server_service.grpc.pb.h"
#include "accrue/v1/worker_service.grpc.pb.h"
#include "server/service/server.h"

namespace accrue {

// A model of one group: sgd without momentum, learning rate 1, k pushes, one
// tensor "w" of `elems` elements. A cycle's update subtracts the mean gradient.
v1::ModelSpec PlainSpec(const std::string& name, int64_t elems, int64_t k = 1);

// Each element's bytes, little-endian.
std::string FloatBytes(const std::vector<float>& values);
std::vector<float> Floats(const std::string& bytes);

// The detail in the trailer of a call that has ended.
v1::ErrorDetail DetailOf(const grpc::ClientContext& context);

// "INVALID_ARGUMENT WRONG_SHAPE: text"; "OK".
std::string Describe(const grpc::Status& status,
                     const grpc::ClientContext& context);

// A channel of its own: gRPC shares those that look alike.
std::shared_ptr<grpc::Channel> NewChannel(const std::string& address);

class ServiceFixture : public testing::Test {
 protected:
  struct Pulled {
    grpc::Status status;
    std::string description;
    v1::PullHeader header;
    std::string bytes;
    int messages = 0;
  };

  // On any loopback port.
  static ServerOptions Options();

  ServiceFixture() : ServiceFixture(Options()) {}
  explicit ServiceFixture(const ServerOptions& options);

  // Create, and initialize or restore with values, counted as the test's own
  // success.
  v1::Version CreateInitialized(const v1::ModelSpec& spec,
                                const std::vector<float>& values);
  std::string OpenSession(const std::string& model, const std::string& worker);

  // What a message holds of a payload.
  static constexpr size_t kChunkBytes = size_t{1} << 20;

  // A header of F32 for `elems` elements.
  static v1::PushHeader HeaderFor(const std::string& model,
                                  const std::string& session, int64_t sequence,
                                  const v1::Version& version, int64_t elems);
  // Sends the payload in chunks; the header goes with the first.
  grpc::Status Push(grpc::ClientContext* context, const v1::PushHeader& header,
                    const std::string& payload, v1::PushResponse* response,
                    size_t chunk_bytes = kChunkBytes);
  Pulled Pull(const v1::PullRequest& request);
  v1::GetServerInfoResponse Info();

  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::ModelService::Stub> models_;
  std::unique_ptr<v1::WorkerService::Stub> workers_;
  std::unique_ptr<v1::ServerService::Stub> info_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_SERVICE_FIXTURE_H_
