#include "tests/e2e/quickstart_output.h"

#include <regex>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace accrue {
namespace {

std::vector<std::string> Lines(const std::string& out) {
  std::vector<std::string> lines = absl::StrSplit(out, '\n');
  EXPECT_EQ(lines.back(), "") << "the last line is not whole";
  lines.pop_back();
  return lines;
}

// The parts of `line` that the pattern, which must match all of it, captures.
std::vector<std::string> Captures(const std::string& line,
                                  const std::string& pattern) {
  std::smatch match;
  if (!std::regex_match(line, match, std::regex(pattern))) {
    ADD_FAILURE() << "\"" << line << "\" is not of the form " << pattern;
    return {};
  }
  return {match.begin() + 1, match.end()};
}

}  // namespace

TrainingResult ReadResult(const std::string& out) {
  TrainingResult result;
  const std::vector<std::string> lines = Lines(out);
  int count = 0;
  for (const std::string& line : lines) {
    if (absl::StrContains(line, "test_accuracy=") ||
        absl::StrContains(line, "trained in")) {
      ++count;
    }
  }
  EXPECT_EQ(count, 2) << out;
  if (lines.size() < 2) return result;
  const auto time =
      Captures(lines[lines.size() - 2], R"(trained in (\d+\.\d) s)");
  const auto fields = Captures(
      lines.back(), R"(test_accuracy=(\d\.\d{4}) versions=(\d+) pushes=(\d+) )"
                    R"(accumulation_buffer_bytes=(\d+) published_bytes=(\d+))");
  EXPECT_TRUE(time.size() == 1 && fields.size() == 5 &&
              absl::SimpleAtod(time[0], &result.training_seconds) &&
              absl::SimpleAtod(fields[0], &result.test_accuracy) &&
              absl::SimpleAtoi(fields[1], &result.versions) &&
              absl::SimpleAtoi(fields[2], &result.pushes) &&
              absl::SimpleAtoi(fields[3], &result.accumulation_buffer_bytes) &&
              absl::SimpleAtoi(fields[4], &result.published_bytes));
  return result;
}

std::vector<int64_t> ReadProgress(const std::string& out, int64_t epochs) {
  std::vector<int64_t> versions;
  for (const std::string& line : Lines(out)) {
    if (!absl::StartsWith(line, "epoch ")) continue;
    const auto fields = Captures(
        line, absl::StrCat(R"(epoch (\d+)/)", epochs,
                           R"(  loss \d+\.\d{4}  train \d\.\d{4}  )"
                           R"(test \d\.\d{4}  version (\d+)  \d+ pushes/s)"));
    if (fields.size() != 2) continue;
    EXPECT_EQ(fields[0], absl::StrCat(versions.size() + 1)) << line;
    EXPECT_TRUE(absl::SimpleAtoi(fields[1], &versions.emplace_back()));
  }
  EXPECT_EQ(static_cast<int64_t>(versions.size()), epochs) << out;
  return versions;
}

}  // namespace accrue
