// Audit: the log's lines about calls that take the admin's role, and about
// calls that were refused, whatever the log's level:
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

#include <string>

#include "absl/status/status.h"
#include "server/base/telling_rate.h"

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

class Audit {
 public:
  void Record(const AuditEntry& entry);

 private:
  TellingRate refusals_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_AUDIT_H_
