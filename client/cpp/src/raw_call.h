// RawCall: one RPC of any shape, in raw messages, driven by the thread that
// waits for it.
//
//   RawCall call(connection, "/accrue.v1.WorkerService/Push", deadline);
//   while (more && call.Write(message, last)) ...
//   call.Read(&response);
//   absl::Status status = call.Finish();
//
// The calling thread polls the socket itself, so that a short call costs no
// hand-over between threads.
//
// Invariant. every function returns by the deadline plus a grace period of
//            100 ms: if gRPC has not ended the call by itself then (it is
//            stuck in a write to a peer that does not read), the connection is
//            aborted
// Threading. compatible; Cancel() may come from any thread

#ifndef ACCRUE_CLIENT_CPP_SRC_RAW_CALL_H_
#define ACCRUE_CLIENT_CPP_SRC_RAW_CALL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include <grpcpp/client_context.h>
#include <grpcpp/completion_queue.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "client/cpp/src/connection.h"

namespace accrue::client::internal {

class RawCall {
 public:
  RawCall(std::shared_ptr<Connection> connection, const std::string& method,
          absl::Time deadline);
  // Cancels the call if Finish() has not returned.
  ~RawCall();
  RawCall(const RawCall&) = delete;

  // Sends a message, the last one with the end of the stream. True: gRPC has
  // taken it. False: the call is over, and Finish() says why.
  bool Write(const grpc::ByteBuffer& message, bool last);

  // Receives a message. False: there are no more.
  bool Read(grpc::ByteBuffer* message) {
    StartRead(message);
    return AwaitRead();
  }

  // The same in two steps, for a caller that does something else in between,
  // but for writing. AwaitRead follows, always; `message` stays until then.
  void StartRead(grpc::ByteBuffer* message);
  bool AwaitRead();
  // Between them, never blocking: AwaitRead has nothing to wait for. Lends gRPC
  // the thread, which keeps the connection alive.
  bool ReadIsDone();

  // The call's end; once, when nothing more is to be written. UNAVAILABLE also
  // stands for a token that is not accepted, where another call would show
  // another one.
  absl::Status Finish();

  // Waits until gRPC has dropped `*held` references to the caller's memory; it
  // is gRPC that counts them down. After Finish(); nothing follows.
  void AwaitRelease(const std::atomic<int64_t>& held);

  void Cancel() { context_->TryCancel(); }

 private:
  // Waits for the operation under way; its success.
  bool AwaitOperation();

  const std::shared_ptr<Connection> connection_;
  const absl::Time give_up_;
  bool aborted_ = false;
  std::optional<bool> read_done_;  // the outcome of a read that was started
  bool finished_ = false;
  grpc::CompletionQueue queue_;
  std::optional<grpc::ClientContext> context_;
  std::unique_ptr<grpc::GenericClientAsyncReaderWriter> stream_;
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_RAW_CALL_H_
