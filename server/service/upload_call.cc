#include "server/service/upload_call.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "accrue/v1/model_service.pb.h"
#include "accrue/v1/worker_service.pb.h"
#include "server/base/mutex.h"
#include "server/service/convert.h"
#include "server/service/raw_message.h"
#include "server/service/status.h"

namespace accrue {
namespace {

absl::Time Deadline(const grpc::CallbackServerContext& context) {
  const auto deadline = context.deadline();
  return deadline == std::chrono::system_clock::time_point::max()
             ? absl::InfiniteFuture()
             : absl::FromChrono(deadline);
}

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

// What tells the two calls apart.
struct PushTraits {
  using Stream = PushStream;
  using ApiHeader = v1::PushHeader;
  using Result = PushOutcome;
  static std::shared_ptr<Stream> Open(
      Ingest* ingest, absl::Time deadline, StreamCallbacks callbacks,
      std::function<void(absl::StatusOr<Result>)> done) {
    return ingest->NewPush(deadline, std::move(callbacks), std::move(done));
  }
  static v1::PushResponse Response(const Result& outcome) {
    return ToApi(outcome);
  }
  static void Count(Model& model, int64_t received_bytes, int64_t sent_bytes) {
    model.CountTraffic({.push_request_bytes = received_bytes,
                        .push_response_bytes = sent_bytes});
  }
};

struct InitializeTraits {
  using Stream = InitializeStream;
  using ApiHeader = v1::InitializeModelHeader;
  using Result = Version;
  static std::shared_ptr<Stream> Open(
      Ingest* ingest, absl::Time deadline, StreamCallbacks callbacks,
      std::function<void(absl::StatusOr<Result>)> done) {
    return ingest->NewInitialize(deadline, std::move(callbacks),
                                 std::move(done));
  }
  static v1::InitializeModelResponse Response(const Result& version) {
    v1::InitializeModelResponse response;
    *response.mutable_version() = ToApi(version);
    return response;
  }
  static void Count(Model&, int64_t, int64_t) {}
};

template <typename Traits>
class UploadCall final : public UploadReactor {
 public:
  UploadCall(const CallEnvironment& environment,
             grpc::CallbackServerContext* context, grpc::ByteBuffer* response)
      : environment_(environment),
        context_(context),
        response_(response),
        entry_(environment.calls->Enter()) {
    // No reaction runs before the call is bound to this reactor, and so none
    // before stream_ is set.
    stream_ =
        Traits::Open(environment.ingest, Deadline(*context),
                     {.read = [this] { StartRead(&message_); }},
                     [this](absl::StatusOr<typename Traits::Result> result) {
                       Answer(std::move(result));
                     });
  }

  void OnReadDone(bool ok) override {
    if (!ok) {
      // gRPC has marked a call that was cut off as cancelled by now; one that
      // is not has really been finished by its client.
      if (context_->IsCancelled()) stream_->OnCancelled();
      return stream_->OnEnd();
    }
    {
      MutexLock lock(&mutex_);
      received_bytes_ += static_cast<int64_t>(message_.Length());
    }
    absl::StatusOr<RawMessage> message = ParseRawMessage(&message_);
    if (!message.ok()) return Refuse(message.status());
    if (message->header.has_value() == has_header_) {
      return Refuse(absl::InvalidArgumentError(
          has_header_ ? "a header in a later message; only the first has one"
                      : "no header in the first message"));
    }
    if (has_header_) return stream_->OnChunk(std::move(message->chunk));
    has_header_ = true;
    typename Traits::ApiHeader api;
    if (!api.ParseFromString(*message->header)) {
      return Refuse(absl::InvalidArgumentError("malformed header"));
    }
    auto header = FromApi(api);
    {
      MutexLock lock(&mutex_);
      model_ = api.model();
    }
    if (!header.ok()) return Refuse(header.status());
    stream_->OnHeader(*std::move(header), std::move(message->chunk));
  }

  void OnCancel() override { stream_->OnCancelled(); }
  void OnDone() override { delete this; }

 private:
  // Ingest need not know why: it only lets go.
  void Refuse(absl::Status why) {
    {
      MutexLock lock(&mutex_);
      refusal_ = std::move(why);
    }
    stream_->OnCancelled();
  }

  // Any thread, once. The last to touch this object: OnDone may come at once.
  void Answer(absl::StatusOr<typename Traits::Result> result) {
    absl::Status status = result.status();
    std::string model;
    int64_t received_bytes;
    {
      MutexLock lock(&mutex_);
      if (!refusal_.ok()) status = refusal_;
      model.swap(model_);
      received_bytes = received_bytes_;
    }
    if (status.ok()) *response_ = Serialize(Traits::Response(*result));
    // Before the caller can ask how much it was.
    if (const auto found = environment_.store->Find(model); found.ok()) {
      Traits::Count(
          **found, received_bytes,
          status.ok() ? static_cast<int64_t>(response_->Length()) : 0);
    }
    Finish(ToGrpc(status, context_));
  }

  const CallEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  const LiveCalls::Entry entry_;
  std::shared_ptr<typename Traits::Stream> stream_;
  grpc::ByteBuffer message_;
  bool has_header_ = false;
  Mutex mutex_;
  absl::Status refusal_ ACCRUE_GUARDED_BY(mutex_);
  std::string model_ ACCRUE_GUARDED_BY(mutex_);  // of the header
  int64_t received_bytes_ ACCRUE_GUARDED_BY(mutex_) = 0;
};

}  // namespace

UploadReactor* NewPushCall(const CallEnvironment& environment,
                           grpc::CallbackServerContext* context,
                           grpc::ByteBuffer* response) {
  return new UploadCall<PushTraits>(environment, context, response);
}

UploadReactor* NewInitializeCall(const CallEnvironment& environment,
                                 grpc::CallbackServerContext* context,
                                 grpc::ByteBuffer* response) {
  return new UploadCall<InitializeTraits>(environment, context, response);
}

}  // namespace accrue
