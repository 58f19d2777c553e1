#include "server/service/grpc_log.h"

#include <cstdint>

#include <grpc/support/log.h>

#include "absl/strings/ascii.h"
#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "server/base/logging.h"
#include "server/base/telling_rate.h"

namespace accrue {
namespace {

void Log(gpr_log_func_args* args) {
  // Never destroyed: gRPC's threads may log until the very end.
  static auto* const rate = new TellingRate;
  int64_t untold = 0;
  if (!rate->Allow(absl::Now(), &untold)) return;
  ACCRUE_LOG(warn, "gRPC: {} ({} more untold of)",
             absl::StripAsciiWhitespace(absl::string_view(args->message)),
             untold);
}

}  // namespace

void TakeGrpcLog() { gpr_set_log_function(Log); }

}  // namespace accrue
