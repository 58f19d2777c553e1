// Watcher: hears of a model's publications.
//
//   Watcher watcher = model.Watch();
//   while (true) {
//     absl::StatusOr<Notice> notice = watcher.Next(absl::Seconds(10));
//     if (absl::IsDeadlineExceeded(notice.status())) continue;  // nothing new
//     if (!notice.ok()) break;
//     ...
//   }
//
// A thread of the watcher's own listens, reconnects when it must, and keeps the
// newest notice only: who calls Next() late skips to it, and no publication is
// reported twice.
//
// Threading. safe: Cancel() may come from any thread, Next() from one at a time

#ifndef ACCRUE_CLIENT_WATCHER_H_
#define ACCRUE_CLIENT_WATCHER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/version.h"

namespace accrue::client {

namespace internal {
class WatchLoop;
}  // namespace internal

// A version was published.
struct Notice {
  Version version = {};
  // Groups whose parameters it changed, and the bytes of those in F32. Of
  // versions that were skipped nothing is said: compare numbers.
  std::vector<std::string> changed_groups = {};
  int64_t changed_bytes = 0;
  // t when it was published.
  int64_t folded_pushes = 0;
  // The mean loss of the pushes behind it; unset if none came.
  std::optional<double> loss = {};
  // Pushes that were missing when a short cycle was closed; 0 for a full one.
  int64_t missing_pushes = 0;
};

class Watcher {
 public:
  Watcher(Watcher&&) noexcept;
  Watcher& operator=(Watcher&&) noexcept;
  // Cancels and waits for the thread.
  ~Watcher();

  // The newest notice that was not returned before; the first tells of the
  // version that is there already. DEADLINE_EXCEEDED: none came in this time.
  // CANCELLED: after Cancel(). Other errors are final and come again at every
  // call: NOT_FOUND (kModelUnknown). A daemon that is away is waited for.
  absl::StatusOr<Notice> Next(absl::Duration timeout);

  // Ends it: a Next() that waits returns.
  void Cancel();

 private:
  friend class Model;
  explicit Watcher(std::unique_ptr<internal::WatchLoop> loop);

  std::unique_ptr<internal::WatchLoop> loop_;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_WATCHER_H_
