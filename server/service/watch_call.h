// WatchCall: tells one watcher of each publication. A watcher that is slower
// than the publications skips to the newest.
//
// Memory.    owns itself until gRPC is done with it; holds no publication, so
//            that a watcher can stall for as long as it likes
// Threading. safe

#ifndef ACCRUE_SERVER_SERVICE_WATCH_CALL_H_
#define ACCRUE_SERVER_SERVICE_WATCH_CALL_H_

#include <memory>
#include <optional>

#include <grpcpp/server_context.h>
#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/server_callback.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "accrue/v1/worker_service.pb.h"
#include "server/base/mutex.h"
#include "server/service/call_environment.h"

namespace accrue {

using WatchReactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;

class WatchCall final : public WatchReactor,
                        public Waiter,
                        public std::enable_shared_from_this<WatchCall> {
 public:
  static WatchReactor* New(const CallEnvironment& environment,
                           grpc::CallbackServerContext* context,
                           const grpc::ByteBuffer& request);

  WatchCall(const CallEnvironment& environment,
            grpc::CallbackServerContext* context);

  void OnDrain() override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  using Notice = absl::StatusOr<std::shared_ptr<const Publication>>;

  absl::Status Start(const grpc::ByteBuffer& request);
  void OnNotice(const Notice& notice);
  void WriteIfPossible() ACCRUE_REQUIRES(mutex_);
  void FinishOnce(const absl::Status& status) ACCRUE_REQUIRES(mutex_);

  const CallEnvironment& environment_;
  grpc::CallbackServerContext* const context_;
  LiveCalls::Entry entry_;
  std::shared_ptr<WatchCall> self_;  // until OnDone
  std::shared_ptr<Model> model_;     // written by Start alone

  Mutex mutex_;
  bool finished_ ACCRUE_GUARDED_BY(mutex_) = false;
  bool writing_ ACCRUE_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Model::Subscription> subscription_ ACCRUE_GUARDED_BY(mutex_);
  // The newest version heard of, and its notice if that is still to be sent.
  Version heard_ ACCRUE_GUARDED_BY(mutex_);
  std::optional<v1::WatchResponse> next_ ACCRUE_GUARDED_BY(mutex_);
  grpc::ByteBuffer message_ ACCRUE_GUARDED_BY(mutex_);  // being written
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_WATCH_CALL_H_
