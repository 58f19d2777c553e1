#include "server/durability/data_directory.h"

#include <filesystem>
#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
#include "tests/durability/modes.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

class DataDirectoryTest : public ::testing::Test {
 protected:
  absl::Status Start() {
    return KeepingProcess(place_ / "data", DurabilityOptions(), &files_)
        .Start();
  }
  // As where others' directories may be passed through, and not be read.
  void HideTheParent() { FailToName(absl::StatusCode::kFailedPrecondition); }
  void FailToName(absl::StatusCode code) {
    files_.faults().Add({.operation = "sync directory", .code = code});
  }

  TemporaryDirectory place_;
  ForgetfulFiles files_{place_ / "shadow"};
};

TEST_F(DataDirectoryTest, ThatWasThereNeedsNoParentThatCanBeRead) {
  ASSERT_EQ(Start(), absl::OkStatus());
  HideTheParent();
  EXPECT_EQ(Start(), absl::OkStatus());
}

TEST_F(DataDirectoryTest, ThatIsMadeIsThereForGoodOrTheStartFails) {
  HideTheParent();
  EXPECT_EQ(Start().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(std::filesystem::exists(place_ / "data"));
}

// As one that an earlier start had to leave so.
TEST_F(DataDirectoryTest, ThatWasThereIsThereForGoodOrTheStartFails) {
  ASSERT_EQ(Start(), absl::OkStatus());
  FailToName(absl::StatusCode::kUnavailable);
  EXPECT_EQ(Start().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Start(), absl::OkStatus());
}

TEST_F(DataDirectoryTest, AllThatIsInItIsItsUsersAlone) {
  const OpenUmask open;
  {
    KeepingProcess process(place_ / "data");
    ASSERT_EQ(process.Start(), absl::OkStatus());
    for (const Durability durability :
         {Durability::kMemory, Durability::kJournal}) {
      ModelSpec spec = SimpleSpec(5, 2);
      spec.name = durability == Durability::kJournal ? "journal" : "memory";
      spec.durability = durability;
      FillDefaults(spec);
      const auto model = process.Create(spec);
      ASSERT_TRUE(model.ok()) << model.status();
      ASSERT_TRUE(process.harness().Initialize(**model, 1).ok());
    }
    process.Drain();
  }
  EXPECT_EQ(ModeOf(place_ / "data"), 0700);
  int files = 0;
  for (const auto& entry :
       std::filesystem::recursive_directory_iterator(place_ / "data")) {
    EXPECT_EQ(ModeOf(entry.path()), entry.is_directory() ? 0700 : 0600)
        << entry.path();
    files += entry.is_regular_file() ? 1 : 0;
  }
  // LOCK; progress, its end, and a journal; two files of each checkpoint.
  EXPECT_GE(files, 4 + 2 * 2);
}

}  // namespace
}  // namespace accrue
