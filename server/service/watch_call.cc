#include "server/service/watch_call.h"

#include <utility>

#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/service/convert.h"
#include "server/service/message_bytes.h"
#include "server/service/status.h"

namespace accrue {

WatchReactor* WatchCall::New(const CallEnvironment& environment,
                             grpc::CallbackServerContext* context,
                             const grpc::ByteBuffer& request) {
  auto call = std::make_shared<WatchCall>(environment, context);
  call->self_ = call;
  call->entry_ = environment.calls->Enter(call);
  if (const absl::Status status = call->Start(request); !status.ok()) {
    MutexLock lock(&call->mutex_);
    call->FinishOnce(status);
  }
  return call.get();
}

WatchCall::WatchCall(const CallEnvironment& environment,
                     grpc::CallbackServerContext* context)
    : environment_(environment), context_(context) {}

absl::Status WatchCall::Start(const grpc::ByteBuffer& request) {
  ACCRUE_RETURN_IF_ERROR(environment_.access->Check(context_, std::nullopt));
  v1::WatchRequest parsed;
  ACCRUE_RETURN_IF_ERROR(ParseRequest(request, parsed));
  ACCRUE_RETURN_IF_ERROR(environment_.access->Check(context_, parsed.model()));
  ACCRUE_ASSIGN_OR_RETURN(model_, environment_.store->Find(parsed.model()));
  // Off the model's executor, as every write to a socket.
  auto subscription =
      model_->Subscribe([weak = weak_from_this(), pool = environment_.pool,
                         lane = environment_.lane](Notice notice) {
        pool->Post(lane, [weak, notice = std::move(notice)] {
          if (const auto self = weak.lock()) self->OnNotice(notice);
        });
      });
  {
    MutexLock lock(&mutex_);
    if (!finished_) subscription_.swap(subscription);
  }
  if (auto newest = model_->newest(); newest != nullptr) {
    OnNotice(std::move(newest));
  }
  if (environment_.calls->draining()) OnDrain();
  return absl::OkStatus();
}

void WatchCall::OnNotice(const Notice& notice) {
  // Goes after the lock: its last reader may make the model go on.
  std::shared_ptr<const Publication> newest;
  MutexLock lock(&mutex_);
  if (!notice.ok()) return FinishOnce(notice.status());
  // Notices overtake each other on the pool, and a restore's lineage says
  // nothing of which was first: each stands for the newest there is.
  newest = model_->newest();
  if (newest == nullptr || newest->facts().version == heard_) return;
  heard_ = newest->facts().version;
  next_ = ToApi(newest->facts(), model_->spec());
  WriteIfPossible();
}

// StartWrite and Finish do not call back before they return, so the lock may be
// held; it keeps a write from coming after Finish.
void WatchCall::WriteIfPossible() {
  if (finished_ || writing_ || !next_) return;
  message_ = Serialize(*next_);
  next_.reset();
  writing_ = true;
  StartWrite(&message_);
}

void WatchCall::FinishOnce(const absl::Status& status) {
  if (finished_) return;
  finished_ = true;
  Finish(ToGrpc(status, context_));
}

void WatchCall::OnDrain() {
  MutexLock lock(&mutex_);
  FinishOnce(MakeError(absl::StatusCode::kUnavailable, Reason::kDraining,
                       "the server is shutting down"));
}

void WatchCall::OnWriteDone(bool ok) {
  MutexLock lock(&mutex_);
  writing_ = false;
  if (ok) return WriteIfPossible();
  FinishOnce(absl::CancelledError("the watcher is gone"));
}

void WatchCall::OnCancel() {
  MutexLock lock(&mutex_);
  FinishOnce(absl::CancelledError("the watcher is gone"));
}

void WatchCall::OnDone() {
  const std::shared_ptr<WatchCall> self = std::move(self_);
  std::shared_ptr<Model::Subscription> subscription;
  {
    MutexLock lock(&mutex_);
    subscription.swap(subscription_);
  }
  entry_ = {};
}

}  // namespace accrue
