// One byte of a stopped daemon's files is changed, or an end cut off: the next
// one says which file of which model is damaged, and where; serves the others;
// and an older checkpoint is restored.
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/acked_pushes.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/damage.h"
#include "tests/e2e/twin.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr auto kMemory = v1::DURABILITY_MEMORY;
constexpr auto kJournal = v1::DURABILITY_JOURNAL;

struct Damage {
  std::string name;
  v1::Durability durability;
  std::string file;  // of the newest whose path has this in it
  int64_t at;        // byte
  bool cut;          // there it ends; else that byte is another
  std::string says;  // beside the file's path
};

void Do(const Damage& damage, const std::string& path) {
  if (damage.cut) {
    fs::resize_file(path, static_cast<uintmax_t>(damage.at));
    return;
  }
  FlipBit(path, damage.at);
}

class DamagedFilesTest : public testing::TestWithParam<Damage> {
 protected:
  DamagedFilesTest() : daemon_(Daemon::Start({"--data_dir=" + data_.path()})) {}

  // Its path.
  std::string DamageFile() {
    const std::string newest =
        NewestFile(data_.path(), "model", GetParam().file);
    Do(GetParam(), newest);
    return newest;
  }
  void Restart() {
    daemon_->Kill();
    ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  }
  static void ExpectDamaged(const Ending& ending, const std::string& path) {
    ExpectRefused(ending, grpc::StatusCode::DATA_LOSS,
                  v1::ErrorDetail::REASON_DAMAGED);
    EXPECT_THAT(ending.status.error_message(), HasSubstr("model \"model\""));
    ExpectNames(ending.status.error_message(), path);
  }
  static void ExpectNames(const std::string& said, const fs::path& path) {
    EXPECT_THAT(said, HasSubstr(path.parent_path()));
    EXPECT_THAT(said, HasSubstr(path.filename()));
    EXPECT_THAT(said, HasSubstr(GetParam().says));
  }

  TemporaryDirectory data_;
  std::unique_ptr<Daemon> daemon_;
};

TEST_P(DamagedFilesTest, AreNamedAndAnOlderCheckpointIsRestored) {
  // In a checkpoint amid a cycle it has held pushes.
  AckedPushes pushes(*daemon_, "model", GetParam().durability,
                     v1::BUFFERING_GATHER);
  AckedPushes other(*daemon_, "other", kJournal);
  other.PushAll(3);
  pushes.PushAll(3);
  std::string older;
  ASSERT_TRUE(pushes.Checkpoint(&older).status.ok());
  pushes.PushAll(2);
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  pushes.PushAll(2);
  daemon_->Kill();
  const std::string path = DamageFile();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();

  ExpectDamaged(pushes.Describe(), path);
  ExpectDamaged(pushes.wire().TryOpen("model", "w", ""), path);
  ExpectNames(daemon_->Log(), path);
  other.Resume();
  other.PushAll(1);
  other.ExpectHolds();

  EXPECT_THAT(pushes.Checkpoints(), testing::Contains(older));
  const Finished restored = RunProgram(
      {"accruectl", "--target", daemon_->tcp(), "restore", "model", older});
  ASSERT_EQ(restored.exit_code, 0) << restored.err;
  pushes.TakeBackTo(3);
  pushes.ExpectHolds();
  // The damaged file is not in the way of the next starts either.
  if (GetParam().durability == kJournal) {
    Restart();
    pushes.ExpectHolds();
  }
  pushes.Resume();
  pushes.PushAll(3);
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  Restart();
  pushes.Resume();
  pushes.ExpectHolds();
  pushes.PushAll(1);
}

INSTANTIATE_TEST_SUITE_P(
    All, DamagedFilesTest,
    testing::Values(
        Damage{"Manifest", kMemory, "/manifest.json", 700, false,
               "do not have the hash"},
        Damage{"ManifestCut", kJournal, "/manifest.json", 700, true,
               "is cut off"},
        Damage{"ParametersHeader", kMemory, "/parameters.safetensors", 20,
               false, "bytes [0, 4096)"},
        Damage{"Parameters", kJournal, "/parameters.safetensors", 5000, false,
               "bytes [4096, 44096)"},
        Damage{"ParametersCut", kMemory, "/parameters.safetensors", 5000, true,
               "5000"},
        Damage{"StateHeader", kJournal, "/state.safetensors", 20, false,
               "bytes [0, 4096)"},
        Damage{"State", kMemory, "/state.safetensors", 5000, false,
               "bytes [4096, 44096)"},
        Damage{"StateCut", kJournal, "/state.safetensors", 5000, true, "5000"},
        Damage{"Held", kJournal, "/gathered.bin", 10'000, false,
               "bytes [0, 40000)"},
        Damage{"HeldCut", kMemory, "/gathered.bin", 10'000, true, "10000"},
        Damage{"JournalHeader", kJournal, "/journal-", 30, false, "byte 0: "},
        Damage{"JournalHeaderCut", kJournal, "/journal-", 30, true,
               "byte 30: "},
        Damage{"JournalMarker", kJournal, "/journal-", 520, false,
               "byte 512: "},
        Damage{"JournalRecord", kJournal, "/journal-", 4100, false,
               "byte 4096: "},
        Damage{"JournalPayload", kJournal, "/journal-", 10'000, false,
               "payload of record"},
        Damage{"JournalCut", kJournal, "/journal-", 10'000, true,
               "is cut off"}),
    [](const auto& info) { return info.param.name; });

// It says how much is lost: without it, nobody knows.
class DamagedProgressTest : public DamagedFilesTest {};

TEST_P(DamagedProgressTest, IsSaidAndTheNewestCheckpointIsThere) {
  AckedPushes pushes(*daemon_, "model", kMemory);
  pushes.PushAll(3);
  ASSERT_TRUE(pushes.Checkpoint().status.ok());
  pushes.PushAll(2);
  const std::string lineage =
      pushes.wire().Describe("model").version().lineage();
  daemon_->Kill();
  const std::string path = DamageFile();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  pushes.TakeBackTo(3);
  pushes.ExpectHolds();
  EXPECT_NE(pushes.wire().Describe("model").version().lineage(), lineage);
  EXPECT_THAT(daemon_->Log(),
              HasSubstr(absl::StrCat("\"", path, "\" is damaged")));
  EXPECT_THAT(daemon_->Log(),
              HasSubstr("pushes after it are lost: an unknown number"));
  EXPECT_THAT(daemon_->Log(), Not(HasSubstr("are lost: 0")));
  pushes.Resume();
  pushes.PushAll(2);
  ASSERT_EQ(daemon_->Terminate(), 0) << daemon_->Log();
  ASSERT_TRUE(daemon_->Restart()) << daemon_->Log();
  pushes.ExpectHolds();
}

INSTANTIATE_TEST_SUITE_P(
    All, DamagedProgressTest,
    testing::Values(Damage{"Flipped", kMemory, "/progress", 50, false, ""},
                    Damage{"Cut", kMemory, "/progress", 50, true, ""}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace accrue
