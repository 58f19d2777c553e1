#include "server/base/telling_rate.h"

#include <utility>

namespace accrue {

bool TellingRate::Allow(absl::Time now, int64_t* untold) {
  MutexLock lock(&mutex_);
  if (now - second_ >= absl::Seconds(1)) {
    second_ = now;
    told_ = 0;
  }
  if (told_ == kPerSecond) {
    ++untold_;
    return false;
  }
  ++told_;
  *untold = std::exchange(untold_, 0);
  return true;
}

}  // namespace accrue
