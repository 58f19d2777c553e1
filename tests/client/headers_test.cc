// The SDK's public headers show no transport and nothing of the server's.

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <regex>
#include <string>

#include <gtest/gtest.h>

namespace accrue::client {
namespace {

TEST(HeadersTest, PublicHeadersIncludeOnlyStandardAbseilAndThemselves) {
  const char* source = std::getenv("ACCRUE_SOURCE_DIR");
  ASSERT_NE(source, nullptr) << "run it with ctest";
  const auto folder =
      std::filesystem::path(source) / "client/cpp/include/accrue";
  const std::regex kInclude(R"(\s*#\s*include\s*([<"])([^>"]+)[>"].*)");
  const std::regex kAllowed(R"(<[a-z_]+>|"absl/.*|"accrue/[a-z_]+\.h)");
  int headers = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    ++headers;
    std::ifstream file(entry.path());
    std::string line;
    for (int number = 1; std::getline(file, line); ++number) {
      std::smatch match;
      if (!std::regex_match(line, match, kInclude)) continue;
      const bool standard = match[1] == "<";
      const std::string include =
          match[1].str() + match[2].str() + (standard ? ">" : "");
      EXPECT_TRUE(std::regex_match(include, kAllowed))
          << entry.path() << ":" << number << ": " << line;
    }
  }
  EXPECT_GE(headers, 11);
}

}  // namespace
}  // namespace accrue::client
