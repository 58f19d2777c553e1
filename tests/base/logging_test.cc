#include "server/base/logging.h"

#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace accrue {
namespace {

using ::testing::ContainsRegex;
using ::testing::HasSubstr;
using ::testing::MatchesRegex;

class LoggingTest : public testing::Test {
 protected:
  ~LoggingTest() override { EXPECT_TRUE(InitLogging("info").ok()); }
};

TEST_F(LoggingTest, WritesALineWithTimeLevelAndMessage) {
  ASSERT_TRUE(InitLogging("info").ok());
  testing::internal::CaptureStderr();
  ACCRUE_LOG(warn, "model {} has {} bytes: {}", absl::string_view("mnist"), 42,
             absl::AbortedError("why"));
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              MatchesRegex("....-..-..T..:..:..\\.....?.?.?.?.?.? warning "
                           "model mnist has 42 bytes: ABORTED: why\n"));
}

TEST_F(LoggingTest, ALevelThatIsOffEvaluatesNothing) {
  ASSERT_TRUE(InitLogging("warn").ok());
  int evaluated = 0;
  testing::internal::CaptureStderr();
  ACCRUE_LOG(info, "{}", ++evaluated);
  ACCRUE_LOG(error, "{}", ++evaluated);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("error 1\n"));
  EXPECT_EQ(evaluated, 1);
}

TEST_F(LoggingTest, JsonEscapesTheMessage) {
  ASSERT_TRUE(InitLogging("debug", /*json=*/true).ok());
  testing::internal::CaptureStderr();
  ACCRUE_LOG(debug, "say \"{}\"\n\\", "hi");
  const std::string line = testing::internal::GetCapturedStderr();
  EXPECT_THAT(line, ContainsRegex("^\\{\"time\":\"[^\"]+\",\"level\":"
                                  "\"debug\",\"message\":"));
  EXPECT_THAT(line, HasSubstr(R"("message":"say \"hi\"\u000a\\"})"));
}

TEST_F(LoggingTest, AnUnknownLevelIsRefusedAndNamed) {
  const absl::Status status = InitLogging("loud");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("loud"));
  EXPECT_TRUE(LogEnabled(LogLevel::info));
}

TEST_F(LoggingTest, OffShowsNothing) {
  ASSERT_TRUE(InitLogging("off").ok());
  EXPECT_FALSE(LogEnabled(LogLevel::error));
}

TEST_F(LoggingTest, WhatIsAlwaysToldIsToldWhateverTheLevel) {
  ASSERT_TRUE(InitLogging("off", /*json=*/true).ok());
  testing::internal::CaptureStderr();
  ACCRUE_LOG(error, "not told");
  LogAlways("told");
  EXPECT_THAT(testing::internal::GetCapturedStderr(),
              MatchesRegex("\\{\"time\":\"[^\"]+\",\"level\":\"info\","
                           "\"message\":\"told\"\\}\n"));
}

}  // namespace
}  // namespace accrue
