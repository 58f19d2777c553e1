// A daemon that is told to end while it is still taking its models up.
#include <csignal>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/functional/function_ref.h"
#include "absl/strings/match.h"
#include "absl/time/clock.h"
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
namespace fs = std::filesystem;

// A file that whoever opens to read waits for, until somebody opens it to
// write; what was there, if anything, is there again afterwards.
class Hold {
 public:
  explicit Hold(const std::string& path) : path_(path) {
    std::error_code none;
    fs::rename(path_, aside_, none);
    EXPECT_EQ(mkfifo(path_.c_str(), 0600), 0);
  }
  ~Hold() {
    if (open_ >= 0) close(open_);
    fs::remove(path_);
    std::error_code none;
    fs::rename(aside_, path_, none);
  }
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

  // Returns when the daemon has come to it.
  void LetGo() { std::ofstream(path_).close(); }
  // From now on, whether it comes there or not.
  void LetAllGo() { open_ = open(path_.c_str(), O_RDWR | O_CLOEXEC); }

 private:
  const std::string path_;
  const std::string aside_ = path_ + ".aside";
  int open_ = -1;
};

void Await(absl::FunctionRef<bool()> there) {
  const absl::Time deadline = absl::Now() + Daemon::kPatience;
  while (!there()) {
    ASSERT_LT(absl::Now(), deadline);
    std::this_thread::yield();
  }
}

class StartSignalTest : public testing::TestWithParam<int> {
 protected:
  // One of a model's files.
  std::string File(const std::string& model, const std::string& name) const {
    return NewestFile(data_, model, "/" + name);
  }
  std::unique_ptr<Daemon> Make(const std::vector<std::string>& models) {
    auto daemon = Daemon::Start({"--data_dir=" + data_});
    Wire wire(daemon->tcp());
    for (const std::string& model : models) {
      wire.Make(Wire::Spec(model, 5, 1));
    }
    return daemon;
  }
  // In order; the first has a session. Its lineage.
  std::string MakeThreeAndEnd() {
    const auto daemon = Make({"first", "second", "third"});
    Wire wire(daemon->tcp());
    wire.Open("first", "worker");
    std::string lineage = wire.Describe("first").version().lineage();
    EXPECT_EQ(daemon->Terminate(), 0);
    return lineage;
  }
  void ExpectFirstGoesOn(const std::string& lineage) {
    const auto daemon = Daemon::Start({"--data_dir=" + data_});
    Wire wire(daemon->tcp());
    EXPECT_EQ(wire.Describe("first").version().lineage(), lineage);
    EXPECT_THAT(wire.Sessions("first"), SizeIs(1));
  }
  void ExpectFirstsLossIsTold() {
    const auto daemon = Daemon::Start({"--data_dir=" + data_});
    EXPECT_EQ(ScrapeOf(*daemon).At("accrue_lost_pushes_uncertain", "first"), 1);
  }
  std::unique_ptr<Program> Start(const std::vector<std::string>& flags = {}) {
    std::vector<std::string> all = {"accrued", "--listen=127.0.0.1:0",
                                    "--http=none", "--data_dir=" + data_};
    all.insert(all.end(), flags.begin(), flags.end());
    return Program::Start(all);
  }
  // Told to end when the first of three has been taken up; and nobody lets it
  // past the third.
  void RecoverInVain() {
    Hold second(File("second", "manifest.json"));
    const Hold third(File("third", "manifest.json"));
    const auto start = Start();
    second.LetGo();
    start->Signal(GetParam());
    EXPECT_EQ(start->AwaitExit(), 0) << start->err();
    EXPECT_THAT(start->err(), HasSubstr("not started yet"));
    EXPECT_THAT(start->err(), Not(HasSubstr("listening")));
  }

  // Told to end when all have been read, and the first has gone on: the second
  // goes on when it has heard.
  void ServeInVain() {
    const fs::path ports = place_ / "ports";
    fs::create_directory(ports);
    Hold second(fs::path(File("second", "progress")).replace_filename("ended"));
    const auto start = Start({"--port_file=" + (ports / "file").string()});
    second.LetGo();  // it is read, and will be again as the model goes on
    Await([&] { return !fs::is_empty(ports); });
    start->Signal(GetParam());
    Await([&] {
      return absl::StrContains(start->err(), "no further model goes on");
    });
    second.LetAllGo();
    EXPECT_EQ(start->AwaitExit(), 0) << start->err();
    EXPECT_THAT(start->err(), HasSubstr("nothing to drain"));
    EXPECT_THAT(start->err(), Not(HasSubstr("listening on")));
    EXPECT_TRUE(fs::is_empty(ports));
  }

  const TemporaryDirectory place_;
  const std::string data_ = place_ / "data";
};

TEST_P(StartSignalTest, EndsARecoveryAtOnceAndLeavesAllAsItWas) {
  const std::string lineage = MakeThreeAndEnd();
  RecoverInVain();
  ExpectFirstGoesOn(lineage);
}

TEST_P(StartSignalTest, EndsARecoveryAndLeavesALossToTheNext) {
  Make({"first", "second", "third"})->Kill();
  fs::remove(File("first", "progress"));
  RecoverInVain();
  ExpectFirstsLossIsTold();
}

TEST_P(StartSignalTest, WhileModelsGoOnLeavesAllAsItWas) {
  const std::string lineage = MakeThreeAndEnd();
  const auto ended = fs::last_write_time(File("third", "ended"));
  ServeInVain();
  EXPECT_EQ(fs::last_write_time(File("third", "ended")), ended);
  ExpectFirstGoesOn(lineage);
}

TEST_P(StartSignalTest, WhileTheLastGoesOnLeavesALossToTheNext) {
  Make({"first", "second"})->Kill();
  fs::remove(File("first", "progress"));
  ServeInVain();
  ExpectFirstsLossIsTold();
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
        "--port_file=" + (place / "no such folder/ports"),
        "--port_file=" + place.path(),
        "--port_file=" + (place / std::string(300, 'x'))}) {
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
        "--port_file=" + (place / "no such folder/ports"),
        "--port_file=" + place.path(),
        "--port_file=" + (place / std::string(300, 'x'))}) {
    SCOPED_TRACE(flag);
    const TemporaryDirectory kept;
    const std::string data = "--data_dir=" + (kept / "data");
    {
      const auto daemon = Daemon::Start({data});
      Wire wire(daemon->tcp());
      wire.Make(Wire::Spec("m", 5, 1));
      daemon->Kill();
    }
    fs::remove(NewestFile(kept / "data", "m", "/progress"));
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
