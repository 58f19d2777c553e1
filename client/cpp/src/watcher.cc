#include "accrue/watcher.h"

#include <utility>

#include "client/cpp/src/watch_loop.h"

namespace accrue::client {

Watcher::Watcher(std::unique_ptr<internal::WatchLoop> loop)
    : loop_(std::move(loop)) {}
Watcher::Watcher(Watcher&&) noexcept = default;
Watcher& Watcher::operator=(Watcher&&) noexcept = default;
Watcher::~Watcher() = default;

absl::StatusOr<Notice> Watcher::Next(absl::Duration timeout) {
  return loop_->Next(timeout);
}

void Watcher::Cancel() { loop_->Cancel(); }

}  // namespace accrue::client
