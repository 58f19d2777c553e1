#include "server/base/logging.h"

#include <memory>

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "absl/strings/str_cat.h"

namespace accrue {
namespace {

constexpr char kTextPattern[] = "%Y-%m-%dT%H:%M:%S.%e%z %l %v";
// %* is the message as a JSON string, added by JsonMessage.
constexpr char kJsonPattern[] =
    R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l","message":%*})";

class JsonMessage : public spdlog::custom_flag_formatter {
 public:
  void format(const spdlog::details::log_msg& message, const std::tm&,
              spdlog::memory_buf_t& line) override {
    line.push_back('"');
    for (const char c : message.payload) AppendEscaped(c, line);
    line.push_back('"');
  }

  std::unique_ptr<custom_flag_formatter> clone() const override {
    return std::make_unique<JsonMessage>();
  }

 private:
  static void AppendEscaped(char c, spdlog::memory_buf_t& line) {
    if (c == '"' || c == '\\') {
      line.push_back('\\');
      line.push_back(c);
    } else if (static_cast<unsigned char>(c) < 0x20) {
      fmt::format_to(std::back_inserter(line), "\\u{:04x}",
                     static_cast<int>(c));
    } else {
      line.push_back(c);
    }
  }
};

std::unique_ptr<spdlog::formatter> NewFormatter(bool json) {
  auto formatter = std::make_unique<spdlog::pattern_formatter>();
  if (json) formatter->add_flag<JsonMessage>('*');
  formatter->set_pattern(json ? kJsonPattern : kTextPattern);
  return formatter;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::debug:
      return spdlog::level::debug;
    case LogLevel::info:
      return spdlog::level::info;
    case LogLevel::warn:
      return spdlog::level::warn;
    case LogLevel::error:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

// Never destroyed: threads may log until the very end of the process.
spdlog::logger& Logger() {
  static spdlog::logger* const logger = [] {
    auto* made = new spdlog::logger(
        "accrue", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_formatter(NewFormatter(/*json=*/false));
    made->set_level(spdlog::level::info);
    return made;
  }();
  return *logger;
}

// Writes where Logger does, and in the same form: those are the sink's.
spdlog::logger& LoggerOfAllLevels() {
  static spdlog::logger* const logger =
      new spdlog::logger("accrue", Logger().sinks().front());
  return *logger;
}

spdlog::string_view_t View(const std::string& text) {
  return {text.data(), text.size()};
}

}  // namespace

absl::Status InitLogging(absl::string_view level, bool json) {
  // from_str gives `off` for a name that it does not know.
  const auto parsed = spdlog::level::from_str(std::string(level));
  if (parsed == spdlog::level::off && level != "off") {
    return absl::InvalidArgumentError(absl::StrCat(
        "log level \"", level, "\", want debug, info, warn, error or off"));
  }
  Logger().set_formatter(NewFormatter(json));
  Logger().set_level(parsed);
  return absl::OkStatus();
}

bool LogEnabled(LogLevel level) { return Logger().should_log(ToSpdlog(level)); }

void LogLine(LogLevel level, const std::string& message) {
  Logger().log(ToSpdlog(level), View(message));
}

void LogAlways(const std::string& message) {
  LoggerOfAllLevels().log(spdlog::level::info, View(message));
}

}  // namespace accrue
