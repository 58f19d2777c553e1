// TellingRate: how many things of a kind the log tells of in a second, where
// anybody can make any number of them.
//
// Threading. safe

#ifndef ACCRUE_SERVER_BASE_TELLING_RATE_H_
#define ACCRUE_SERVER_BASE_TELLING_RATE_H_

#include <cstdint>

#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace accrue {

class TellingRate {
 public:
  static constexpr int64_t kPerSecond = 10;

  // Whether to tell of one more at `now`. *untold: how many were not told of
  // since the last that was.
  bool Allow(absl::Time now, int64_t* untold) ACCRUE_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  absl::Time second_ ACCRUE_GUARDED_BY(mutex_);
  int64_t told_ ACCRUE_GUARDED_BY(mutex_) = 0;
  int64_t untold_ ACCRUE_GUARDED_BY(mutex_) = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_TELLING_RATE_H_
