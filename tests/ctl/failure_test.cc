#include "client/ctl/failure.h"

#include <cerrno>

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace accrue::ctl {
namespace {

TEST(FailureTest, EachKindHasItsExitCode) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), 0);
  EXPECT_EQ(ExitCodeOf(absl::NotFoundError("no such model")), 1);
  EXPECT_EQ(ExitCodeOf(absl::InternalError("broken")), 1);
  EXPECT_EQ(ExitCodeOf(UsageError("bad flag")), 2);
  // The SDK's complaint about its arguments.
  EXPECT_EQ(ExitCodeOf(absl::InvalidArgumentError("bad target")), 2);
  EXPECT_EQ(ExitCodeOf(absl::UnavailableError("nobody")), 3);
  EXPECT_EQ(ExitCodeOf(absl::DeadlineExceededError("late")), 3);
  EXPECT_EQ(ExitCodeOf(FileError("no such file")), 4);
  EXPECT_EQ(ExitCodeOf(DeclinedError("no")), 5);
}

TEST(FailureTest, LocalErrorsAreToldWithoutTheirCode) {
  EXPECT_EQ(DescribeError(FileErrnoError("cannot open m.yaml", ENOENT)),
            "error: cannot open m.yaml: No such file or directory");
}

TEST(FailureTest, OthersAreToldWithIt) {
  EXPECT_EQ(DescribeError(absl::NotFoundError("no model \"x\"")),
            "error: NOT_FOUND: no model \"x\"");
}

TEST(FailureTest, ProgramsGetAnObject) {
  const auto json =
      nlohmann::json::parse(DescribeErrorJson(UsageError("a \"bad\" flag")));
  EXPECT_EQ(json["error"]["code"], "INVALID_ARGUMENT");
  EXPECT_EQ(json["error"]["message"], "a \"bad\" flag");
  EXPECT_EQ(json["error"]["exit_code"], 2);
}

}  // namespace
}  // namespace accrue::ctl
