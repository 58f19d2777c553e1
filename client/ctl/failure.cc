#include "client/ctl/failure.h"

#include <cstring>
#include <optional>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "accrue/error.h"
#include "nlohmann/json.hpp"

namespace accrue::ctl {
namespace {

using client::ErrorDetail;
using client::Reason;

constexpr char kExitCodeUrl[] = "accruectl/exit_code";

absl::Status WithExitCode(absl::Status status, ExitCode exit_code) {
  status.SetPayload(kExitCodeUrl, absl::Cord(absl::StrCat(exit_code)));
  return status;
}

bool IsLocal(const absl::Status& status) {
  return status.GetPayload(kExitCodeUrl).has_value();
}

}  // namespace

absl::string_view ExitCodeHelp() {
  return "Exit codes: 0 done; 1 the daemon refused; 2 flags or a spec file "
         "that cannot be; 3 no daemon answered in time; 4 a local file cannot "
         "be read or written; 5 the question was answered with no.";
}

absl::Status UsageError(absl::string_view message) {
  return WithExitCode(absl::InvalidArgumentError(message), kUsage);
}

absl::Status FileError(absl::string_view message) {
  return WithExitCode(absl::FailedPreconditionError(message), kFile);
}

absl::Status DeclinedError(absl::string_view message) {
  return WithExitCode(absl::CancelledError(message), kDeclined);
}

absl::Status FileErrnoError(absl::string_view what, int error_number) {
  return FileError(absl::StrCat(what, ": ", std::strerror(error_number)));
}

ExitCode ExitCodeOf(const absl::Status& status) {
  if (status.ok()) return kOk;
  if (const auto payload = status.GetPayload(kExitCodeUrl)) {
    int code = kRefused;
    if (absl::SimpleAtoi(std::string(*payload), &code)) {
      return static_cast<ExitCode>(code);
    }
  }
  if (client::GetErrorDetail(status).has_value()) return kRefused;
  switch (status.code()) {
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kUnreachable;
    case absl::StatusCode::kInvalidArgument:
      return kUsage;
    default:
      return kRefused;
  }
}

std::string DescribeError(const absl::Status& status) {
  if (IsLocal(status)) return absl::StrCat("error: ", status.message());
  const Reason reason = client::GetReason(status);
  return absl::StrCat("error: ", absl::StatusCodeToString(status.code()),
                      reason == Reason::kUnspecified
                          ? std::string()
                          : absl::StrCat(" (", client::ReasonName(reason), ")"),
                      ": ", status.message());
}

std::string DescribeErrorJson(const absl::Status& status) {
  nlohmann::ordered_json error;
  error["code"] = absl::StatusCodeToString(status.code());
  if (const std::optional<ErrorDetail> detail =
          client::GetErrorDetail(status)) {
    error["reason"] = std::string(client::ReasonName(detail->reason));
    if (!detail->subject.empty()) error["subject"] = detail->subject;
  }
  error["message"] = std::string(status.message());
  error["exit_code"] = static_cast<int>(ExitCodeOf(status));
  return nlohmann::ordered_json{{"error", std::move(error)}}.dump(
      -1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace accrue::ctl
