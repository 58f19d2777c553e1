// end-cycle, while versions come by themselves.

#include <sstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "client/ctl/command.h"
#include "client/ctl/failure.h"
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

  // Its exit code; what it said is in out_.
  int Run() {
    const std::vector<const char*> arguments = {"accruectl", "end-cycle",
                                                "small", "--target",
                                                daemon_.target().c_str()};
    std::istringstream in;
    std::ostringstream out;
    std::ostringstream err;
    const int code =
        RunCommandLine(static_cast<int>(arguments.size()), arguments.data(),
                       {.in = in, .out = out, .err = err});
    out_ = out.str();
    return code;
  }

  client::FakeDaemon daemon_;
  std::string out_;
};

TEST_F(EndCycleTest, AVersionThatComesJustBeforeIsNoReasonToGiveUp) {
  daemon_.Script("EndCycle", {{Fate::kPublishAndServe}});
  EXPECT_EQ(Run(), kOk);
  EXPECT_EQ(out_, "closed all, 3 pushes missing\nversion 2\n");
  EXPECT_EQ(daemon_.calls("EndCycle"), 1);
}

TEST_F(EndCycleTest, WhoseAnswerIsLostClosesNoSecondCycle) {
  daemon_.Script("EndCycle", {{Fate::kServeAndCut}});
  EXPECT_NE(Run(), kOk);
  EXPECT_EQ(daemon_.calls("EndCycle"), 1);
}

TEST_F(EndCycleTest, WhoseRequestIsRefusedForNowIsRepeated) {
  daemon_.Script("EndCycle",
                 {client::Refuse(grpc::StatusCode::UNAVAILABLE,
                                 v1::ErrorDetail::REASON_DRAINING, 1)});
  EXPECT_EQ(Run(), kOk);
  EXPECT_EQ(daemon_.calls("EndCycle"), 2);
}

}  // namespace
}  // namespace accrue::ctl
