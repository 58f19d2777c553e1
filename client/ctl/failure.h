// Exit codes, and the errors that are this program's own.
//
// Commands return absl::Status. An error of the daemon, or of the connection to
// it, comes as the SDK returns it; one that arose on this side is made here and
// remembers its exit code.

#ifndef ACCRUE_CLIENT_CTL_FAILURE_H_
#define ACCRUE_CLIENT_CTL_FAILURE_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace accrue::ctl {

enum ExitCode : int {
  kOk = 0,
  kRefused = 1,      // the daemon answered with an error
  kUsage = 2,        // flags or a spec file that cannot be
  kUnreachable = 3,  // no daemon answered in time
  kFile = 4,         // a local file cannot be read or written
  kDeclined = 5,     // the question was answered with no
};

// What --help says about them.
absl::string_view ExitCodeHelp();

absl::Status UsageError(absl::string_view message);
absl::Status FileError(absl::string_view message);
absl::Status DeclinedError(absl::string_view message);

// FileError with the text of errno: "cannot open m.yaml: No such file or
// directory".
absl::Status FileErrnoError(absl::string_view what, int error_number);

ExitCode ExitCodeOf(const absl::Status& status);

// One line for people: "error: NOT_FOUND (MODEL_UNKNOWN): no model "x"".
std::string DescribeError(const absl::Status& status);

// The same for programs, as a JSON object.
std::string DescribeErrorJson(const absl::Status& status);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_FAILURE_H_
