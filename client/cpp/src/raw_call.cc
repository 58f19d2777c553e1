#include "client/cpp/src/raw_call.h"

#include <chrono>
#include <utility>

#include "absl/time/clock.h"
#include "client/cpp/src/status_from_grpc.h"

namespace accrue::client::internal {
namespace {

// gRPC ends a call within a few milliseconds of its deadline unless its
// transport is stuck.
constexpr absl::Duration kGrace = absl::Milliseconds(100);

// How long one round of polling for the release of memory lasts. The release
// comes without an event of its own.
constexpr absl::Duration kReleasePoll = absl::Milliseconds(1);

std::chrono::system_clock::time_point ToDeadline(absl::Time time) {
  return absl::ToChronoTime(time);
}

}  // namespace

RawCall::RawCall(std::shared_ptr<Connection> connection,
                 const std::string& method, absl::Time deadline)
    : connection_(std::move(connection)), give_up_(deadline + kGrace) {
  context_.emplace();
  context_->set_deadline(ToDeadline(deadline));
  if (!connection_->authorization().empty()) {
    context_->AddMetadata("authorization", connection_->authorization());
  }
  // The first message takes the headers along.
  context_->set_initial_metadata_corked(true);
  stream_ = connection_->stub().PrepareCall(&*context_, method, &queue_);
  stream_->StartCall(nullptr);
}

RawCall::~RawCall() {
  if (!finished_) {
    context_->TryCancel();
    Finish().IgnoreError();
  }
  queue_.Shutdown();
  void* tag;
  bool ok;
  while (queue_.Next(&tag, &ok)) {
  }
}

bool RawCall::AwaitOperation() {
  void* tag;
  bool ok = false;
  while (true) {
    const absl::Time until = aborted_ ? absl::InfiniteFuture() : give_up_;
    switch (queue_.AsyncNext(&tag, &ok, ToDeadline(until))) {
      case grpc::CompletionQueue::GOT_EVENT:
        return ok;
      case grpc::CompletionQueue::SHUTDOWN:
        return false;
      case grpc::CompletionQueue::TIMEOUT:
        connection_->Abort();
        aborted_ = true;
    }
  }
}

bool RawCall::Write(const grpc::ByteBuffer& message, bool last) {
  grpc::WriteOptions options;
  if (last) options.set_last_message();
  stream_->Write(message, options, nullptr);
  return AwaitOperation();
}

void RawCall::StartRead(grpc::ByteBuffer* message) {
  read_done_ = std::nullopt;
  stream_->Read(message, nullptr);
}

bool RawCall::ReadIsDone() {
  void* tag;
  bool ok = false;
  if (!read_done_.has_value() &&
      queue_.AsyncNext(&tag, &ok, ToDeadline(absl::UnixEpoch())) ==
          grpc::CompletionQueue::GOT_EVENT) {
    read_done_ = ok;
  }
  return read_done_.has_value();
}

bool RawCall::AwaitRead() {
  if (!read_done_.has_value()) read_done_ = AwaitOperation();
  return *read_done_;
}

absl::Status RawCall::Finish() {
  grpc::Status status;
  stream_->Finish(&status, nullptr);
  AwaitOperation();
  finished_ = true;
  absl::Status result = StatusFromGrpc(status, *context_);
  const bool outdated =
      absl::IsUnauthenticated(result) && connection_->authorization_is_old();
  if (outdated) result = AsUnavailable(result);
  // The connection is gone or going, or shows a token that was replaced; calls
  // to come need another one.
  if (outdated || (absl::IsUnavailable(result) && OutcomeUnknown(result))) {
    connection_->Retire();
  }
  return result;
}

void RawCall::AwaitRelease(const std::atomic<int64_t>& held) {
  // What a broken stream could not send it keeps for as long as its call lives.
  stream_.reset();
  context_.reset();
  while (held.load(std::memory_order_acquire) > 0) {
    if (!aborted_ && absl::Now() >= give_up_) {
      connection_->Abort();
      aborted_ = true;
    }
    // Nothing is outstanding on the queue: this only lends gRPC the thread.
    void* tag;
    bool ok;
    queue_.AsyncNext(&tag, &ok, ToDeadline(absl::Now() + kReleasePoll));
  }
}

}  // namespace accrue::client::internal
