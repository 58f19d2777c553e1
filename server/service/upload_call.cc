#include "server/service/upload_call.h"

#include <chrono>
#include <cstdint>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "accrue/v1/model_service.pb.h"
#include "accrue/v1/worker_service.pb.h"
#include "server/base/error.h"
#include "server/base/mutex.h"
#include "server/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/data_connections.h"
#include "server/service/field_count.h"
#include "server/service/limits.h"
#include "server/service/message_bytes.h"
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

// Where a payload comes from: a data connection's, of this number; or, if the
// connection's id is empty, the call's own messages.
struct DataPayload {
  std::string connection = {};
  int64_t number = 0;
};

absl::StatusOr<std::shared_ptr<const StateSource>> OpenImport(
    const CallEnvironment& environment, const std::string& name,
    const std::string& file) {
  ACCRUE_ASSIGN_OR_RETURN(const std::shared_ptr<Model> model,
                          environment.store->Find(name));
  ACCRUE_ASSIGN_OR_RETURN(DataDirectory * data, FindData(environment));
  return data->OpenImport(file, model->spec());
}

// What tells the two calls apart.
struct PushTraits {
  using Stream = PushStream;
  using ApiHeader = v1::PushHeader;
  using Result = PushOutcome;
  static constexpr int64_t kMaxHeaderBytes = kMaxPushHeaderBytes;
  static std::shared_ptr<Stream> Open(
      Ingest* ingest, absl::Time deadline, StreamCallbacks callbacks,
      std::function<void(absl::StatusOr<Result>)> done) {
    return ingest->NewPush(deadline, std::move(callbacks), std::move(done));
  }
  static DataPayload PayloadOf(const ApiHeader& header) {
    return {header.data_connection(), header.data_payload()};
  }
  static void Begin(const CallEnvironment&, const ApiHeader&,
                    const std::shared_ptr<Stream>& stream, PushHeader header,
                    ByteChain chunk) {
    stream->OnHeader(std::move(header), std::move(chunk));
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
  // There may be an initializer for every tensor.
  static constexpr int64_t kMaxHeaderBytes = kMaxMessageBytes;
  static std::shared_ptr<Stream> Open(
      Ingest* ingest, absl::Time deadline, StreamCallbacks callbacks,
      std::function<void(absl::StatusOr<Result>)> done) {
    return ingest->NewInitialize(deadline, std::move(callbacks),
                                 std::move(done));
  }
  static DataPayload PayloadOf(const ApiHeader&) { return {}; }
  // A file is opened where the disk may be waited for.
  static void Begin(const CallEnvironment& environment, const ApiHeader& api,
                    const std::shared_ptr<Stream>& stream,
                    InitializeHeader header, ByteChain chunk) {
    if (api.safetensors_file().empty()) {
      return stream->OnHeader(std::move(header), std::move(chunk));
    }
    environment.pool->Post(
        environment.lane,
        [&environment, stream, file = api.safetensors_file(),
         header = std::move(header), chunk = std::move(chunk)]() mutable {
          const WorkPool::Waiting waiting;
          auto source = OpenImport(environment, header.model, file);
          if (!source.ok()) return stream->OnFault(source.status());
          header.source = *std::move(source);
          stream->OnHeader(std::move(header), std::move(chunk));
        });
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
    stream_ = Traits::Open(
        environment.ingest, Deadline(*context), {.read = [this] { ReadOn(); }},
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
    if (absl::Status taken = Take(); !taken.ok()) {
      stream_->OnFault(std::move(taken));
    }
  }

  void OnCancel() override { stream_->OnCancelled(); }
  void OnDone() override { delete this; }

 private:
  // Of ingest: the next bytes are wanted.
  void ReadOn() {
    if (const auto data = this->data()) return data->Read();
    StartRead(&message_);
  }

  // Hands the message over.
  absl::Status Take() {
    {
      MutexLock lock(&mutex_);
      received_bytes_ += static_cast<int64_t>(message_.Length());
    }
    ACCRUE_ASSIGN_OR_RETURN(RawMessage message, ParseRawMessage(&message_));
    if (message.header.has_value() == has_header_) {
      return absl::InvalidArgumentError(
          has_header_ ? "a header in a later message; only the first has one"
                      : "no header in the first message");
    }
    if (has_header_) {
      stream_->OnChunk(std::move(message.chunk));
      return absl::OkStatus();
    }
    has_header_ = true;
    if (std::ssize(*message.header) > Traits::kMaxHeaderBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("a header of ", message.header->size(),
                       " bytes, at most ", Traits::kMaxHeaderBytes));
    }
    ACCRUE_RETURN_IF_ERROR(
        CheckFieldCounts(*message.header, *Traits::ApiHeader::descriptor()));
    typename Traits::ApiHeader api;
    if (!api.ParseFromString(*message.header)) {
      return absl::InvalidArgumentError("malformed header");
    }
    ACCRUE_RETURN_IF_ERROR(environment_.access->Check(context_, api.model()));
    {
      MutexLock lock(&mutex_);
      model_ = api.model();
    }
    // Before the rest: whatever else is refused, its payload is its own.
    ACCRUE_RETURN_IF_ERROR(
        UseDataConnection(Traits::PayloadOf(api), api.payload_bytes()));
    ACCRUE_ASSIGN_OR_RETURN(auto header, FromApi(api));
    if (data() != nullptr && message.chunk.size_bytes() > 0) {
      return absl::InvalidArgumentError(
          "a chunk, though the payload is to come over a data connection");
    }
    Traits::Begin(environment_, api, stream_, std::move(header),
                  std::move(message.chunk));
    return absl::OkStatus();
  }

  absl::Status UseDataConnection(const DataPayload& payload, int64_t bytes) {
    if (payload.connection.empty()) return absl::OkStatus();
    auto data = environment_.data_connections->Find(payload.connection);
    if (data == nullptr || !data->Begin(stream_, payload.number, bytes)) {
      return MakeError(absl::StatusCode::kUnavailable, Reason::kDataConnection,
                       data == nullptr ? "no such data connection"
                                       : "the data connection is in use");
    }
    MutexLock lock(&mutex_);
    if (answered_) {
      data->End();
    } else {
      data_ = std::move(data);
    }
    return absl::OkStatus();
  }

  // Any thread, once. The last to touch this object: OnDone may come at once.
  void Answer(absl::StatusOr<typename Traits::Result> result) {
    const absl::Status status = result.status();
    std::string model;
    std::shared_ptr<DataConnection> data;
    int64_t received_bytes;
    {
      MutexLock lock(&mutex_);
      answered_ = true;
      model.swap(model_);
      data.swap(data_);
      received_bytes = received_bytes_;
    }
    if (data != nullptr) received_bytes += data->End();
    if (status.ok()) *response_ = Serialize(Traits::Response(*result));
    // Before the caller can ask how much it was.
    if (const auto found = environment_.store->Find(model); found.ok()) {
      Traits::Count(
          **found, received_bytes,
          status.ok() ? static_cast<int64_t>(response_->Length()) : 0);
    }
    Finish(ToGrpc(status, context_));
  }

  std::shared_ptr<DataConnection> data() const {
    MutexLock lock(&mutex_);
    return data_;
  }

  const CallEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  const LiveCalls::Entry entry_;
  std::shared_ptr<typename Traits::Stream> stream_;
  grpc::ByteBuffer message_;
  bool has_header_ = false;
  mutable Mutex mutex_;
  bool answered_ ACCRUE_GUARDED_BY(mutex_) = false;
  // Where the payload comes from, if not from this call's messages.
  std::shared_ptr<DataConnection> data_ ACCRUE_GUARDED_BY(mutex_);
  std::string model_ ACCRUE_GUARDED_BY(mutex_);  // of the header
  int64_t received_bytes_ ACCRUE_GUARDED_BY(mutex_) = 0;
};

// A call that is answered before its first message.
class RefusedUpload final : public UploadReactor {
 public:
  explicit RefusedUpload(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

// What its caller may not do takes none of the streams that there may be.
template <typename Traits>
UploadReactor* NewCall(const CallEnvironment& environment,
                       grpc::CallbackServerContext* context,
                       grpc::ByteBuffer* response) {
  if (const absl::Status access =
          environment.access->Check(context, std::nullopt);
      !access.ok()) {
    return new RefusedUpload(ToGrpc(access, context));
  }
  return new UploadCall<Traits>(environment, context, response);
}

}  // namespace

UploadReactor* NewPushCall(const CallEnvironment& environment,
                           grpc::CallbackServerContext* context,
                           grpc::ByteBuffer* response) {
  return NewCall<PushTraits>(environment, context, response);
}

UploadReactor* NewInitializeCall(const CallEnvironment& environment,
                                 grpc::CallbackServerContext* context,
                                 grpc::ByteBuffer* response) {
  return NewCall<InitializeTraits>(environment, context, response);
}

}  // namespace accrue
