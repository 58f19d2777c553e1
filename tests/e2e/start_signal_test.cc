// A daemon that is told to end while it is still taking its models up.
#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <sys/stat.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/durability/temporary_directory.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/damage.h"
#include "tests/e2e/scrape.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

class StartSignalTest : public testing::TestWithParam<int> {
 protected:
  // A model's manifest that whoever opens to read waits for, until somebody
  // opens it to write.
  class Hold {
   public:
    Hold(const std::string& data, const std::string& model)
        : path_(NewestFile(data, model, "/manifest.json")) {
      std::filesystem::rename(path_, aside_);
      EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0);
    }
    ~Hold() { std::filesystem::rename(aside_, path_); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

    // Returns when the daemon has come to it.
    void LetGo() { std::ofstream(path_).close(); }

   private:
    const std::string path_;
    const std::string aside_ = path_ + ".aside";
  };

  const TemporaryDirectory place_;
  const std::string data_ = place_ / "data";
};

TEST_P(StartSignalTest, EndsARecoveryAtOnceAndLeavesAllAsItWas) {
  std::string lineage;
  {
    const auto daemon = Daemon::Start({"--data_dir=" + data_});
    Wire wire(daemon->tcp());
    for (const char* model : {"first", "second", "third"}) {
      wire.Make(Wire::Spec(model, 5, 1));
    }
    wire.Open("first", "worker");
    lineage = wire.Describe("first").version().lineage();
    EXPECT_EQ(daemon->Terminate(), 0);
  }
  {
    Hold second(data_, "second");
    const Hold third(data_, "third");
    const auto start = Program::Start({"accrued", "--listen=127.0.0.1:0",
                                       "--http=none", "--data_dir=" + data_});
    // The first has been taken up, and nobody lets the daemon past the third.
    second.LetGo();
    start->Signal(GetParam());
    EXPECT_EQ(start->AwaitExit(), 0) << start->err();
    EXPECT_THAT(start->err(), HasSubstr("not started yet"));
    EXPECT_THAT(start->err(), Not(HasSubstr("listening")));
  }
  const auto daemon = Daemon::Start({"--data_dir=" + data_});
  Wire wire(daemon->tcp());
  EXPECT_EQ(wire.Describe("first").version().lineage(), lineage);
  EXPECT_THAT(wire.Sessions("first"), SizeIs(1));
}

// Its address is taken, or the file that it is to tell its address in cannot
// be.
TEST(StartTest, ThatFailsLeavesAllAsItWas) {
  const TemporaryDirectory place;
  const std::string data = "--data_dir=" + (place / "data");
  std::string lineage;
  {
    const auto daemon = Daemon::Start({data});
    Wire wire(daemon->tcp());
    wire.Make(Wire::Spec("m", 5, 1));
    lineage = wire.Describe("m").version().lineage();
    EXPECT_EQ(daemon->Terminate(), 0);
  }
  const auto other = Daemon::Start();
  for (const std::string& flag :
       {"--listen=" + other->tcp(),
        "--port_file=" + (place / "no such folder/ports")}) {
    const auto start =
        Program::Start({"accrued", "--listen_uds=" + (place / "socket"), flag,
                        "--http=none", data});
    EXPECT_EQ(start->AwaitExit(), 1) << start->err();
  }
  const auto daemon = Daemon::Start({data});
  EXPECT_EQ(Wire(daemon->tcp()).Describe("m").version().lineage(), lineage);
}

// What the process before it has lost is told by the first that serves.
TEST(StartTest, ThatFailsLeavesALossToTheNext) {
  const auto other = Daemon::Start();
  const TemporaryDirectory place;
  for (const std::string& flag :
       {"--listen=" + other->tcp(),
        "--port_file=" + (place / "no such folder/ports")}) {
    SCOPED_TRACE(flag);
    const TemporaryDirectory kept;
    const std::string data = "--data_dir=" + (kept / "data");
    {
      const auto daemon = Daemon::Start({data});
      Wire wire(daemon->tcp());
      wire.Make(Wire::Spec("m", 5, 1));
      daemon->Kill();
    }
    std::filesystem::remove(NewestFile(kept / "data", "m", "/progress"));
    const auto start =
        Program::Start({"accrued", "--listen_uds=" + (place / "socket"), flag,
                        "--http=none", data});
    EXPECT_EQ(start->AwaitExit(), 1) << start->err();
    const auto daemon = Daemon::Start({data});
    EXPECT_EQ(ScrapeOf(*daemon).At("accrue_lost_pushes_uncertain", "m"), 1);
  }
}

INSTANTIATE_TEST_SUITE_P(, StartSignalTest, testing::Values(SIGTERM, SIGINT));

}  // namespace
}  // namespace accrue
