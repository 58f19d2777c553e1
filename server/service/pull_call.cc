#include "server/service/pull_call.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include <grpc/grpc.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/message_bytes.h"
#include "server/service/raw_message.h"
#include "server/service/status.h"

namespace accrue {
namespace {

// How long a reader that is told to stop may take to let go of its bytes, at
// each of the three steps.
constexpr absl::Duration kGrace = absl::Milliseconds(100);

absl::Status AboutModel(absl::StatusCode code, Reason reason,
                        const Model& model, absl::string_view message) {
  ErrorInfo info;
  info.reason = reason;
  info.subject = model.name();
  if (const auto newest = model.newest(); newest != nullptr) {
    info.current_version = newest->facts().version.number;
    info.lineage = newest->facts().version.lineage;
  }
  return MakeError(code, info,
                   absl::StrCat("model \"", model.name(), "\": ", message));
}

absl::StatusOr<std::vector<int>> FindTensors(
    const google::protobuf::RepeatedPtrField<std::string>& names,
    const Model& model) {
  const size_t count = model.layout()->tensors().size();
  if (static_cast<size_t>(names.size()) > count) {
    return AboutModel(
        absl::StatusCode::kInvalidArgument, Reason::kWrongShape, model,
        absl::StrCat(names.size(), " tensors asked for, it has ", count));
  }
  std::vector<int> tensors;
  for (const std::string& name : names) {
    const int index = model.layout()->FindTensor(name);
    if (index < 0) {
      return AboutModel(absl::StatusCode::kInvalidArgument, Reason::kWrongShape,
                        model, absl::StrCat("no tensor \"", name, "\""));
    }
    tensors.push_back(index);
  }
  std::sort(tensors.begin(), tensors.end());
  tensors.erase(std::unique(tensors.begin(), tensors.end()), tensors.end());
  return tensors;
}

}  // namespace

PullReactor* PullCall::New(const CallEnvironment& environment,
                           grpc::CallbackServerContext* context,
                           const grpc::ByteBuffer& request) {
  auto call = std::make_shared<PullCall>(environment, context);
  call->self_ = call;
  call->entry_ = environment.calls->Enter(call);
  if (const absl::Status status = call->Answer(request); !status.ok()) {
    MutexLock lock(&call->mutex_);
    call->FinishOnce(status);
  }
  return call.get();
}

PullCall::PullCall(const CallEnvironment& environment,
                   grpc::CallbackServerContext* context)
    : environment_(environment), context_(context) {}

absl::StatusOr<PullCall::Wanted> PullCall::Check(const v1::PullRequest& request,
                                                 std::shared_ptr<Model> model) {
  Wanted wanted;
  wanted.model = std::move(model);
  ACCRUE_ASSIGN_OR_RETURN(wanted.encoding,
                          ParameterEncoding(request.encoding()));
  ACCRUE_ASSIGN_OR_RETURN(wanted.tensors,
                          FindTensors(request.tensors(), *wanted.model));
  ACCRUE_ASSIGN_OR_RETURN(wanted.wait, FromApi(request.wait(), "wait"));
  if (wanted.wait < absl::ZeroDuration()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "wait: ", absl::FormatDuration(wanted.wait), ", want at least 0"));
  }
  wanted.have = FromApi(request.have());
  wanted.changed_only = request.changed_only();
  return wanted;
}

absl::Status PullCall::Answer(const grpc::ByteBuffer& request) {
  ACCRUE_RETURN_IF_ERROR(environment_.access->Check(context_, std::nullopt));
  v1::PullRequest parsed;
  ACCRUE_RETURN_IF_ERROR(ParseRequest(request, parsed));
  ACCRUE_RETURN_IF_ERROR(environment_.access->Check(context_, parsed.model()));
  ACCRUE_ASSIGN_OR_RETURN(std::shared_ptr<Model> model,
                          environment_.store->Find(parsed.model()));
  model->CountTraffic(
      {.pull_request_bytes = static_cast<int64_t>(request.Length())});
  ACCRUE_ASSIGN_OR_RETURN(wanted_, Check(parsed, std::move(model)));
  ACCRUE_RETURN_IF_ERROR(wanted_.model->CheckUsable());
  PublicationPtr newest = wanted_.model->newest();
  if (newest == nullptr) {
    return AboutModel(absl::StatusCode::kFailedPrecondition,
                      Reason::kNotInitialized, *wanted_.model,
                      "it has no parameters yet");
  }
  const Version& version = newest->facts().version;
  if (wanted_.have.lineage == version.lineage &&
      wanted_.have.number > version.number) {
    return AboutModel(
        absl::StatusCode::kOutOfRange, Reason::kFuture, *wanted_.model,
        absl::StrCat("the reader has version ", wanted_.have.number,
                     ", the newest is ", version.number));
  }
  if (wanted_.have != version) {
    Stream(std::move(newest));
  } else if (wanted_.wait == absl::ZeroDuration()) {
    AnswerUnchanged();
  } else {
    Wait(version);
  }
  return absl::OkStatus();
}

void PullCall::Wait(const Version& newest) {
  const std::weak_ptr<PullCall> weak = weak_from_this();
  {
    MutexLock lock(&mutex_);
    phase_ = Phase::kWaiting;
    timer_ = environment_.timers->At(absl::Now() + wanted_.wait, [weak] {
      if (const auto self = weak.lock()) self->AnswerUnchanged();
    });
  }
  // A notice comes on the model's executor, which has better things to do than
  // to write to sockets.
  auto subscription = wanted_.model->Subscribe(
      [weak, pool = environment_.pool,
       lane = environment_.lane](absl::StatusOr<PublicationPtr> notice) {
        pool->Post(lane, [weak, notice = std::move(notice)] {
          if (const auto self = weak.lock()) self->OnNotice(notice);
        });
      });
  {
    MutexLock lock(&mutex_);
    if (phase_ == Phase::kWaiting && !finished_) {
      subscription_.swap(subscription);
    }
  }
  // What happened before the subscription.
  PublicationPtr publication = wanted_.model->newest();
  if (publication != nullptr && publication->facts().version != newest) {
    OnNotice(std::move(publication));
  }
  if (environment_.calls->draining()) OnDrain();
}

void PullCall::OnNotice(absl::StatusOr<PublicationPtr> notice) {
  if (!notice.ok()) {
    MutexLock lock(&mutex_);
    if (phase_ == Phase::kWaiting) FinishOnce(notice.status());
  } else if ((*notice)->facts().version != wanted_.have) {
    Stream(*std::move(notice));
  }
}

void PullCall::OnDrain() {
  MutexLock lock(&mutex_);
  if (phase_ != Phase::kWaiting) return;
  FinishOnce(MakeError(absl::StatusCode::kUnavailable, Reason::kDraining,
                       "the server is shutting down"));
}

void PullCall::AnswerUnchanged() {
  MutexLock lock(&mutex_);
  if (phase_ == Phase::kStreaming || finished_) return;
  v1::PullHeader header;
  *header.mutable_version() = ToApi(wanted_.have);
  header.set_unchanged(true);
  header_ = header.SerializeAsString();
  Write({}, /*last=*/true);
}

void PullCall::Stream(PublicationPtr publication) {
  std::shared_ptr<Model::Subscription>
      subscription;  // dropped without the lock
  {
    MutexLock lock(&mutex_);
    if (phase_ == Phase::kStreaming || finished_) return;
    phase_ = Phase::kStreaming;
    environment_.timers->Cancel(std::exchange(timer_, {}));
    subscription.swap(subscription_);
    registration_ = publication->Register(weak_from_this());
  }
  std::vector<int> tensors = wanted_.tensors;
  if (wanted_.changed_only) {
    tensors = TensorsOf(publication->ChangedSince(wanted_.have));
    // (To Ranges, none are all.)
    if (tensors.empty()) {
      return OnRanges(publication, std::vector<Publication::Range>());
    }
  }
  publication->Ranges(
      std::move(tensors), wanted_.encoding, environment_.pool,
      environment_.lane,
      [self = shared_from_this(),
       publication](absl::StatusOr<std::vector<Publication::Range>> ranges) {
        self->OnRanges(publication, std::move(ranges));
      });
}

std::vector<int> PullCall::TensorsOf(const std::vector<int32_t>& groups) const {
  const std::vector<TensorPlace>& places = wanted_.model->layout()->tensors();
  const auto belongs = [&](int tensor) {
    return std::binary_search(groups.begin(), groups.end(),
                              places[static_cast<size_t>(tensor)].group);
  };
  std::vector<int> tensors;
  if (wanted_.tensors.empty()) {
    for (int i = 0; i < static_cast<int>(places.size()); ++i) {
      if (belongs(i)) tensors.push_back(i);
    }
  } else {
    std::copy_if(wanted_.tensors.begin(), wanted_.tensors.end(),
                 std::back_inserter(tensors), belongs);
  }
  return tensors;
}

void PullCall::OnRanges(
    const PublicationPtr& publication,
    absl::StatusOr<std::vector<Publication::Range>> ranges) {
  MutexLock lock(&mutex_);
  if (finished_) return;
  if (!ranges.ok()) {
    const Version& version = publication->facts().version;
    return FinishOnce(
        WithVersion(ranges.status(), version.number, version.lineage));
  }
  stream_ =
      std::make_unique<PublicationStream>(publication, *std::move(ranges));
  bytes_ = stream_->hold();
  v1::PullHeader header;
  *header.mutable_version() = ToApi(publication->facts().version);
  header.set_payload_bytes(stream_->total_bytes());
  header.set_folded_pushes(publication->facts().folded_pushes);
  if (wanted_.changed_only) {
    header.set_changed_only(true);
    for (const int32_t group : publication->ChangedSince(wanted_.have)) {
      header.add_changed_groups(group);
    }
  }
  header_ = header.SerializeAsString();
  progress_at_ = absl::Now();
  timer_ =
      environment_.timers->At(progress_at_ + environment_.reader_idle_timeout,
                              [weak = weak_from_this()] {
                                if (const auto self = weak.lock())
                                  self->CheckProgress();
                              });
  WriteNext();
}

void PullCall::WriteNext() {
  std::vector<grpc::Slice> chunk = stream_->Next();
  const bool last = stream_->done();
  // From here on only the slices refer to the bytes.
  if (last) stream_.reset();
  Write(std::move(chunk), last);
}

// StartWrite and Finish do not call back before they return, so the lock may be
// held; it keeps a write from coming after Finish.
void PullCall::Write(std::vector<grpc::Slice> chunk, bool last) {
  chunk_bytes_ = 0;
  for (const grpc::Slice& slice : chunk) {
    chunk_bytes_ += static_cast<int64_t>(slice.size());
  }
  message_ =
      MakeRawMessage(header_.empty() ? nullptr : &header_, std::move(chunk));
  header_.clear();
  message_bytes_ = static_cast<int64_t>(message_.Length());
  if (last) {
    finished_ = true;
    StartWriteAndFinish(&message_, grpc::WriteOptions(), grpc::Status::OK);
  } else {
    StartWrite(&message_);
  }
}

void PullCall::FinishOnce(const absl::Status& status) {
  if (finished_) return;
  finished_ = true;
  Finish(ToGrpc(status, context_));
}

void PullCall::OnWriteDone(bool ok) {
  if (ok) {
    int64_t chunk_bytes, message_bytes;
    {
      MutexLock lock(&mutex_);
      chunk_bytes = chunk_bytes_;
      message_bytes = message_bytes_;
    }
    CountSent(chunk_bytes, message_bytes);
  }
  MutexLock lock(&mutex_);
  message_.Clear();
  progress_at_ = absl::Now();
  if (!ok) {
    FinishOnce(absl::CancelledError("the reader is gone"));
  } else if (!finished_) {
    WriteNext();
  }
}

void PullCall::OnCancel() {
  MutexLock lock(&mutex_);
  FinishOnce(absl::CancelledError("the reader is gone"));
}

void PullCall::OnDone() {
  const std::shared_ptr<PullCall> self = std::move(self_);
  // The last message has no OnWriteDone.
  bool sent = !context_->IsCancelled();
  int64_t chunk_bytes, message_bytes;
  Publication::Registration registration;
  std::unique_ptr<PublicationStream> stream;
  std::shared_ptr<Model::Subscription> subscription;
  {
    MutexLock lock(&mutex_);
    finished_ = true;
    done_ = true;
    sent = sent && message_.Valid();
    chunk_bytes = chunk_bytes_;
    message_bytes = message_bytes_;
    message_.Clear();
    environment_.timers->Cancel(timer_);
    std::swap(registration, registration_);
    stream.swap(stream_);
    subscription.swap(subscription_);
  }
  if (sent) CountSent(chunk_bytes, message_bytes);
  entry_ = {};
}

void PullCall::CountSent(int64_t chunk_bytes, int64_t message_bytes) {
  wanted_.model->CountSent(chunk_bytes);
  wanted_.model->CountTraffic({.pull_response_bytes = message_bytes});
}

// Called by whoever needs the memory, with locks that are not ours to know.
void PullCall::End(absl::Status why) {
  environment_.timers->At(absl::Now(), [weak = weak_from_this(), why] {
    if (const auto self = weak.lock()) self->EndNow(why);
  });
}

void PullCall::EndNow(const absl::Status& why) {
  Publication::Registration registration;
  std::unique_ptr<PublicationStream> stream;
  std::weak_ptr<const void> bytes;
  std::shared_ptr<const Connection> connection;
  {
    MutexLock lock(&mutex_);
    if (done_ || ending_) return;
    ending_ = true;
    connection = environment_.connections->Find(context_->peer());
    bytes = bytes_;
    std::swap(registration, registration_);
    stream.swap(stream_);
    FinishOnce(why);
  }
  const absl::Time now = absl::Now();
  environment_.timers->At(now + kGrace, [weak = weak_from_this(), bytes, why] {
    const auto self = weak.lock();
    if (self != nullptr && !bytes.expired()) self->Cancel(why);
  });
  environment_.timers->At(now + 2 * kGrace, [bytes, connection] {
    if (bytes.expired() || connection == nullptr) return;
    ACCRUE_LOG(info, "a connection is closed: its reader holds on to memory");
    connection->Shutdown();
  });
}

// The message that is being written is dropped, and with it, if the transport
// still moves, what it refers to.
void PullCall::Cancel(const absl::Status& why) {
  MutexLock lock(&mutex_);
  if (done_) return;
  grpc_call_cancel_with_status(context_->c_call(), GRPC_STATUS_ABORTED,
                               std::string(why.message()).c_str(), nullptr);
}

void PullCall::CheckProgress() {
  const absl::Duration limit = environment_.reader_idle_timeout;
  {
    MutexLock lock(&mutex_);
    if (done_) return;
    if (absl::Now() < progress_at_ + limit) {
      timer_ = environment_.timers->At(progress_at_ + limit,
                                       [weak = weak_from_this()] {
                                         if (const auto self = weak.lock())
                                           self->CheckProgress();
                                       });
      return;
    }
  }
  EndNow(AboutModel(
      absl::StatusCode::kAborted, Reason::kSlowReader, *wanted_.model,
      absl::StrCat("the reader took nothing for ", absl::FormatDuration(limit),
                   " (--reader_idle_timeout)")));
}

}  // namespace accrue
