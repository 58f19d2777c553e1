// RawPush: a push made by hand, message by message, to leave it half done.
//
// Errors.    of the calls: as grpc::Status; a test process that cannot even
//            open its session ends
// Threading. compatible

#ifndef ACCRUE_TESTS_E2E_RAW_PUSH_H_
#define ACCRUE_TESTS_E2E_RAW_PUSH_H_

#include <cstdint>
#include <memory>
#include <string>

#include <grpcpp/client_context.h>
#include <grpcpp/support/sync_stream.h>

#include "accrue/v1/worker_service.grpc.pb.h"

namespace accrue {

class RawPush {
 public:
  // Opens a session of `worker` and begins a push of zeros from the newest
  // version. Nothing is sent before the first Send().
  RawPush(const std::string& target, const std::string& model,
          const std::string& worker, int64_t payload_bytes);

  // The next bytes, in chunks of at most `chunk_bytes`. Waits while the daemon
  // reads nothing. False: the call is over.
  bool Send(int64_t bytes, int64_t chunk_bytes);
  // Ends the stream. The daemon's answer: "OK", "SLOW_PUSH" or whatever the
  // error's reason is, "gone" if it has none.
  std::string Finish();

 private:
  std::unique_ptr<v1::WorkerService::Stub> stub_;
  grpc::ClientContext context_;
  v1::PushRequest request_;  // the header is in the first one
  v1::PushResponse response_;
  std::unique_ptr<grpc::ClientWriter<v1::PushRequest>> writer_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_RAW_PUSH_H_
