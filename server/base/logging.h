// Logging: ACCRUE_LOG(info, "model {} has {} bytes", name, bytes).
//
// One line on stderr a call, as text or as a JSON object. A level that is off
// costs a comparison: its arguments are not evaluated.
//
// Threading. safe; InitLogging once, before other threads log

#ifndef ACCRUE_SERVER_BASE_LOGGING_H_
#define ACCRUE_SERVER_BASE_LOGGING_H_

#include <string>
#include <utility>

#include <fmt/format.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

#define ACCRUE_LOG(level, ...)                                                \
  do {                                                                        \
    if (::accrue::LogEnabled(::accrue::LogLevel::level)) {                    \
      ::accrue::LogLine(::accrue::LogLevel::level, fmt::format(__VA_ARGS__)); \
    }                                                                         \
  } while (false)

namespace accrue {

// Lower case, since they are written so in ACCRUE_LOG.
enum class LogLevel { debug, info, warn, error };

// Shows `level` ("debug", "info", "warn", "error") and above; "off" shows
// nothing, but what LogAlways is given. Before the first call: info, as text.
// Errors.    INVALID_ARGUMENT: no such level; nothing has changed
absl::Status InitLogging(absl::string_view level, bool json = false);

bool LogEnabled(LogLevel level);
void LogLine(LogLevel level, const std::string& message);

// A line that is no matter of severity, whatever the level: it says "info".
void LogAlways(const std::string& message);

}  // namespace accrue

// Debian's absl::string_view is a type of its own, unknown to fmt.
template <>
struct fmt::formatter<absl::string_view> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(absl::string_view text, Context& context) const {
    return fmt::formatter<fmt::string_view>::format(
        fmt::string_view(text.data(), text.size()), context);
  }
};

template <>
struct fmt::formatter<absl::Status> : fmt::formatter<fmt::string_view> {
  template <typename Context>
  auto format(const absl::Status& status, Context& context) const {
    return fmt::formatter<fmt::string_view>::format(status.ToString(), context);
  }
};

#endif  // ACCRUE_SERVER_BASE_LOGGING_H_
