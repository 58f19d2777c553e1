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
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class StartSignalTest : public testing::TestWithParam<int> {
 protected:
  // Whoever opens it to read waits until somebody opens it to write.
  std::string HoldUp(const std::string& model) {
    const std::string path = NewestFile(data_, model, "/manifest.json");
    std::filesystem::remove(path);
    EXPECT_EQ(mkfifo(path.c_str(), 0600), 0);
    return path;
  }

  const TemporaryDirectory place_;
  const std::string data_ = place_ / "data";
};

TEST_P(StartSignalTest, EndsARecoveryAtOnce) {
  {
    const auto daemon = Daemon::Start({"--data_dir=" + data_});
    Wire wire(daemon->tcp());
    wire.Make(Wire::Spec("first", 5, 1));
    wire.Make(Wire::Spec("second", 5, 1));
  }
  const std::string first = HoldUp("first");
  HoldUp("second");
  const auto start = Program::Start({"accrued", "--listen=127.0.0.1:0",
                                     "--http=none", "--data_dir=" + data_});
  // The daemon has come to the first, and nobody lets it past the second.
  std::ofstream(first).close();
  start->Signal(GetParam());
  EXPECT_EQ(start->AwaitExit(), 0) << start->err();
  EXPECT_THAT(start->err(), HasSubstr("not started yet"));
  EXPECT_THAT(start->err(), Not(HasSubstr("listening")));
}

INSTANTIATE_TEST_SUITE_P(, StartSignalTest, testing::Values(SIGTERM, SIGINT));

}  // namespace
}  // namespace accrue
