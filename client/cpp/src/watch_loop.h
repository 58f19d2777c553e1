// WatchLoop: the thread behind a Watcher.
//
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_WATCH_LOOP_H_
#define ACCRUE_CLIENT_CPP_SRC_WATCH_LOOP_H_

#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/watcher.h"
#include "client/cpp/src/channel.h"
#include "client/cpp/src/raw_call.h"
#include "server/base/mutex.h"

namespace accrue::client::internal {

class WatchLoop {
 public:
  WatchLoop(std::shared_ptr<Channel> channel, std::string model);
  ~WatchLoop();
  WatchLoop(const WatchLoop&) = delete;

  absl::StatusOr<Notice> Next(absl::Duration timeout);
  void Cancel();

 private:
  void Run();
  // Listens until the stream ends; why it did. `heard`: a notice came.
  absl::Status Listen(bool* heard);
  void Publish(Notice notice);
  // False: it was cancelled meanwhile.
  bool WaitFor(absl::Duration duration);

  const std::shared_ptr<Channel> channel_;
  const std::string model_;

  Mutex mutex_;
  CondVar changed_;
  bool cancelled_ ACCRUE_GUARDED_BY(mutex_) = false;
  RawCall* call_ ACCRUE_GUARDED_BY(mutex_) = nullptr;  // the stream under way
  absl::Status end_ ACCRUE_GUARDED_BY(mutex_);         // the final error
  std::optional<Notice> newest_ ACCRUE_GUARDED_BY(mutex_);
  bool unread_ ACCRUE_GUARDED_BY(mutex_) = false;

  std::thread thread_;
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_WATCH_LOOP_H_
