// end-cycle, while versions come by themselves.

#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "accrue/client.h"
#include "client/ctl/command.h"
#include "client/ctl/failure.h"
#include "nlohmann/json.hpp"
#include "tests/client/fake_daemon.h"
#include "tests/client/fixture.h"

namespace accrue::ctl {
namespace {

using client::Fate;

class EndCycleTest : public testing::Test {
 protected:
  void SetUp() override {
    client::ValueOf(client::ValueOf(client::Client::Connect(daemon_.target()))
                        .CreateOrOpen(client::SmallSpec()));
  }

  // Its standard output.
  std::string Run(const char* output) {
    const std::vector<const char*> arguments = {
        "accruectl", "end-cycle", "small", "--target", daemon_.target().c_str(),
        output};
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    EXPECT_EQ(
        RunCommandLine(static_cast<int>(arguments.size()), arguments.data(),
                       {.in = in, .out = out, .err = err}),
        kOk)
        << err.str();
    return out.str();
  }

  client::FakeDaemon daemon_;
};

TEST_F(EndCycleTest, AVersionThatComesJustBeforeIsNoReasonToGiveUp) {
  daemon_.Script("EndCycle",
                 {{Fate::kPublishAndServe}, {Fate::kPublishAndServe}});
  EXPECT_EQ(Run("--output=table"), "closed all, 3 pushes missing\nversion 3\n");
  EXPECT_EQ(daemon_.calls("EndCycle"), 3);
}

TEST_F(EndCycleTest, VersionsThatAlwaysComeBeforeAreSaid) {
  const std::vector<Fate> always(100, {Fate::kPublishAndServe});
  daemon_.Script("EndCycle", always);
  EXPECT_EQ(Run("--output=table"),
            "version moved on to 5; nothing was closed\n");
  daemon_.Script("EndCycle", always);
  const auto json = nlohmann::json::parse(Run("--output=json"));
  EXPECT_EQ(json["version_moved_on"], true);
  EXPECT_EQ(json["version"]["number"], 10);
  EXPECT_TRUE(json["closed_groups"].empty());
}

}  // namespace
}  // namespace accrue::ctl
