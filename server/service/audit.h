// Audit: the log's lines about calls that change or remove something, and about
// calls that were refused:
//
//   audit caller="ops" peer=10.0.0.7:51234 method=/accrue.v1.ModelService/
//       DeleteModel model="mnist" code=OK                     (one line)
//
// What comes from a client is quoted and cut to a bounded length. Of refused
// calls, of which anybody can make any number, at most a few a second are told;
// then a line says how many were not.
//
// Threading. safe

#ifndef ACCRUE_SERVER_SERVICE_AUDIT_H_
#define ACCRUE_SERVER_SERVICE_AUDIT_H_

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"

namespace accrue {

struct AuditEntry {
  std::string caller = {};  // the token's name, the certificate's subject, ...
  std::string peer = {};
  std::string method = {};
  std::string model = {};  // empty: none is known
  absl::StatusCode code = absl::StatusCode::kOk;
};

// "audit caller=...", as logged.
std::string ToLine(const AuditEntry& entry);

// How many things of a kind may be told of in a second.
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

class Audit {
 public:
  void Record(const AuditEntry& entry);

 private:
  TellingRate refusals_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_AUDIT_H_
