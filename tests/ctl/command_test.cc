// Command lines that need no daemon.

#include "client/ctl/command.h"

#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/ctl/failure.h"

namespace accrue::ctl {
namespace {

using ::testing::HasSubstr;

struct Outcome {
  int exit_code;
  std::string out;
  std::string err;
};

Outcome RunCtl(std::vector<const char*> arguments,
               const std::string& input = "") {
  arguments.insert(arguments.begin(), "accruectl");
  std::istringstream in(input);
  std::ostringstream out;
  std::ostringstream err;
  const int exit_code =
      RunCommandLine(static_cast<int>(arguments.size()), arguments.data(),
                     {.in = in, .out = out, .err = err});
  return {exit_code, out.str(), err.str()};
}

// Port 1 of the loopback interface: nobody listens there.
constexpr char kNobody[] = "--target=127.0.0.1:1";

TEST(CommandTest, HelpNamesEverySubcommandAndTheExitCodes) {
  const Outcome help = RunCtl({"--help"});
  EXPECT_EQ(help.exit_code, kOk);
  for (const char* text :
       {"create", "initialize", "list", "describe", "sessions", "watch",
        "update", "end-cycle", "export", "advise", "delete", "server-info",
        "Exit codes", "ACCRUE_TARGET"}) {
    EXPECT_THAT(help.out, HasSubstr(text));
  }
  const Outcome create = RunCtl({"create", "--help"});
  EXPECT_EQ(create.exit_code, kOk);
  EXPECT_THAT(create.out, HasSubstr("means by default"));
}

TEST(CommandTest, TheVersionIsOneLine) {
  const Outcome version = RunCtl({"--version"});
  EXPECT_EQ(version.exit_code, kOk);
  EXPECT_THAT(version.out, testing::MatchesRegex("[0-9]+\\.[0-9]+\\.[0-9]+\n"));
}

TEST(CommandTest, FlagsThatCannotBeAreUsageErrors) {
  const std::vector<std::vector<const char*>> cases = {
      {},
      {"frobnicate"},
      {"list", "extra"},
      {"describe"},
      {"--output=xml", "list"},
      {"list", "--output=xml"},
      {"list", "--timeout=10"},
      {"list", "--target=nowhere"},
      {"update", "m"},
      {"update", "m", "--lr=fast"},
      {"update", "m", "--schedule=cosine"},
      {"watch", "m", "--count=0"},
      {"watch", "m", "--for=never"},
      {"export", "m"},
      {"export", "m", "f", "--encoding=f64"},
      {"initialize", "m"},
      {"initialize", "m", "--initialize=zeros", "--values=f"},
      {"initialize", "m", "--values=f", "--transfer_timeout=10"},
      {"export", "m", "f", "--transfer_timeout=never"},
  };
  for (const auto& arguments : cases) {
    const Outcome outcome = RunCtl(arguments);
    EXPECT_EQ(outcome.exit_code, kUsage)
        << testing::PrintToString(arguments) << outcome.err;
    EXPECT_NE(outcome.err, "") << testing::PrintToString(arguments);
  }
}

TEST(CommandTest, ASpecThatCannotBeIsSaidWithItsLineBeforeAnyCall) {
  const Outcome outcome =
      RunCtl({kNobody, "create", "-"}, "name: m\ngroup: []\n");
  EXPECT_EQ(outcome.exit_code, kUsage);
  EXPECT_EQ(outcome.err,
            "error: standard input: line 2: unknown key \"group\" in the spec; "
            "did you mean \"groups\"?\n");
}

TEST(CommandTest, AFileThatIsNotThereIsAFileError) {
  EXPECT_EQ(RunCtl({kNobody, "create", "/nowhere/m.yaml"}).exit_code, kFile);
}

TEST(CommandTest, WithoutADaemonItSaysSoInTime) {
  const Outcome outcome = RunCtl({kNobody, "list", "--timeout=50ms"});
  EXPECT_EQ(outcome.exit_code, kUnreachable);
  EXPECT_THAT(outcome.err, HasSubstr("127.0.0.1:1"));
}

TEST(CommandTest, ErrorsAreObjectsWhereOutputIsJson) {
  const Outcome outcome = RunCtl({kNobody, "list", "-ojson", "--timeout=50ms"});
  EXPECT_EQ(outcome.exit_code, kUnreachable);
  EXPECT_EQ(outcome.out, "");
  const auto json = nlohmann::json::parse(outcome.err);
  EXPECT_EQ(json["error"]["exit_code"], kUnreachable);
}

TEST(CommandTest, SoAreErrorsOfTheCommandLineItself) {
  const std::vector<std::vector<const char*>> cases = {
      {"-ojson"},
      {"frobnicate", "--output=json"},
      {"--output", "json", "describe"},
      {"list", "extra", "-o", "json"},
      {"update", "m", "--lr=fast", "-o=json"},
      {"update", "m", "-ojson"},
      {"watch", "m", "--count=0", "-ojson"},
  };
  for (const auto& arguments : cases) {
    const Outcome outcome = RunCtl(arguments);
    EXPECT_EQ(outcome.exit_code, kUsage);
    EXPECT_EQ(outcome.out, "");
    const auto json = nlohmann::json::parse(outcome.err, nullptr,
                                            /*allow_exceptions=*/false);
    ASSERT_TRUE(json.is_object())
        << testing::PrintToString(arguments) << outcome.err;
    EXPECT_EQ(json["error"]["code"], "INVALID_ARGUMENT");
    EXPECT_EQ(json["error"]["exit_code"], kUsage);
    EXPECT_NE(json["error"]["message"], "");
  }
  // Help is none.
  const Outcome help = RunCtl({"list", "--help", "-ojson"});
  EXPECT_EQ(help.exit_code, kOk);
  EXPECT_THAT(help.out, HasSubstr("Usage"));
}

}  // namespace
}  // namespace accrue::ctl
