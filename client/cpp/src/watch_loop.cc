#include "client/cpp/src/watch_loop.h"

#include <utility>

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/v1/worker_service.pb.h"
#include "client/cpp/src/convert.h"
#include "client/cpp/src/retry.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

constexpr char kWatchMethod[] = "/accrue.v1.WorkerService/Watch";

// Connecting cannot be cancelled, so that Cancel() may wait this long where
// packets vanish.
constexpr absl::Duration kConnectTimeout = absl::Seconds(3);

}  // namespace

WatchLoop::WatchLoop(std::shared_ptr<Channel> channel, std::string model)
    : channel_(std::move(channel)),
      model_(std::move(model)),
      thread_([this] { Run(); }) {}

WatchLoop::~WatchLoop() {
  Cancel();
  thread_.join();
}

absl::StatusOr<Notice> WatchLoop::Next(absl::Duration timeout) {
  const absl::Time deadline = absl::Now() + timeout;
  MutexLock lock(&mutex_);
  bool late = false;
  while (!late && !cancelled_ && end_.ok() && !unread_) {
    late = changed_.WaitWithDeadline(&mutex_, deadline);
  }
  if (cancelled_) return absl::CancelledError("the watcher was cancelled");
  if (unread_) {
    unread_ = false;
    return *newest_;
  }
  if (!end_.ok()) return end_;
  return absl::DeadlineExceededError(
      absl::StrCat("model \"", model_, "\": no new version in ",
                   absl::FormatDuration(timeout)));
}

void WatchLoop::Cancel() {
  MutexLock lock(&mutex_);
  cancelled_ = true;
  if (call_ != nullptr) call_->Cancel();
  changed_.SignalAll();
}

void WatchLoop::Run() {
  Retry retry(channel_->options(), absl::InfiniteFuture());
  while (true) {
    bool heard = false;
    const absl::Status status = Listen(&heard);
    if (heard) retry.Reset();
    {
      MutexLock lock(&mutex_);
      if (cancelled_) return;
      // A stream that ends without an error does so because the daemon goes.
      if (!status.ok() && !Retryable(status)) {
        end_ = status;
        changed_.SignalAll();
        return;
      }
    }
    if (!WaitFor(retry.Next(status))) return;
  }
}

absl::Status WatchLoop::Listen(bool* heard) {
  ACCRUE_ASSIGN_OR_RETURN(
      const auto connection,
      channel_->GetConnection(absl::Now() + kConnectTimeout));
  RawCall call(connection, kWatchMethod, absl::InfiniteFuture());
  {
    MutexLock lock(&mutex_);
    if (cancelled_) return absl::CancelledError("");
    call_ = &call;
  }
  v1::WatchRequest request;
  request.set_model(model_);
  const grpc::Slice slice(request.SerializeAsString());
  call.Write(grpc::ByteBuffer(&slice, 1), /*last=*/true);
  grpc::ByteBuffer message;
  while (call.Read(&message)) {
    v1::WatchResponse response;
    grpc::ProtoBufferReader reader(&message);
    // One that is not understood is as good as one that was skipped.
    if (response.ParseFromZeroCopyStream(&reader)) {
      *heard = true;
      Publish(FromProto(response));
    }
  }
  const absl::Status status = call.Finish();
  MutexLock lock(&mutex_);
  call_ = nullptr;
  return status;
}

void WatchLoop::Publish(Notice notice) {
  MutexLock lock(&mutex_);
  // After a reconnection the first notice repeats the version at hand.
  if (newest_.has_value() && newest_->version == notice.version) return;
  newest_ = std::move(notice);
  unread_ = true;
  changed_.SignalAll();
}

bool WatchLoop::WaitFor(absl::Duration duration) {
  const absl::Time until = absl::Now() + duration;
  MutexLock lock(&mutex_);
  while (!cancelled_) {
    if (changed_.WaitWithDeadline(&mutex_, until)) break;
  }
  return !cancelled_;
}

}  // namespace accrue::client::internal
