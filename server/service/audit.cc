#include "server/service/audit.h"

#include <cstdint>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/logging.h"

namespace accrue {
namespace {

constexpr size_t kMaxFieldBytes = 255;

std::string Quote(const std::string& text) {
  return absl::StrCat("\"", absl::CHexEscape(text.substr(0, kMaxFieldBytes)),
                      text.size() > kMaxFieldBytes ? "...\"" : "\"");
}

bool IsRefusal(absl::StatusCode code) {
  return code == absl::StatusCode::kUnauthenticated ||
         code == absl::StatusCode::kPermissionDenied;
}

}  // namespace

std::string ToLine(const AuditEntry& entry) {
  return absl::StrCat("audit caller=", Quote(entry.caller),
                      " peer=", entry.peer, " method=", entry.method,
                      " model=", Quote(entry.model),
                      " code=", absl::StatusCodeToString(entry.code));
}

void Audit::Record(const AuditEntry& entry) {
  if (IsRefusal(entry.code)) {
    int64_t untold = 0;
    if (!refusals_.Allow(absl::Now(), &untold)) return;
    if (untold > 0) {
      LogAlways(absl::StrCat("audit ", untold, " more calls were refused"));
    }
  }
  LogAlways(ToLine(entry));
}

}  // namespace accrue
