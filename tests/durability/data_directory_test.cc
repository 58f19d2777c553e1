#include "server/durability/data_directory.h"

#include <memory>
#include <string>

#include "gtest/gtest.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/keeping_process.h"
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
  void HideTheParent() {
    files_.faults().Add({.operation = "sync directory",
                         .code = absl::StatusCode::kPermissionDenied});
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
  EXPECT_EQ(Start().code(), absl::StatusCode::kPermissionDenied);
}

}  // namespace
}  // namespace accrue
