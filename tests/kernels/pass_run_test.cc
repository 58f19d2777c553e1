#include "server/kernels/pass_run.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

#include "gtest/gtest.h"

namespace accrue::kernels {
namespace {

class PassRunTest : public testing::Test {
 protected:
  std::shared_ptr<PassRun> Begin(size_t groups) {
    Pass pass;
    pass.groups.resize(groups);
    return PassRun::Begin(blocks_, std::move(pass), [this](auto result) {
      EXPECT_FALSE(ended_.has_value()) << "called twice";
      ended_ = result.status();
    });
  }

  const BlockMap blocks_ = MakeBlockMap({5}, {0}, 1);
  std::optional<absl::Status> ended_;
};

TEST_F(PassRunTest, EndsWellUnlessSomethingWentWrong) {
  const auto run = Begin(1);
  ASSERT_NE(run, nullptr);
  run->Note(absl::OkStatus());
  EXPECT_FALSE(run->failed());
  EXPECT_FALSE(ended_.has_value());
  run->End();
  EXPECT_EQ(ended_, absl::OkStatus());
}

TEST_F(PassRunTest, EndsWithTheFirstOfItsErrors) {
  const auto run = Begin(1);
  run->Note(absl::InternalError("first"));
  EXPECT_TRUE(run->failed());
  run->Note(absl::DataLossError("second"));
  run->Note(absl::OkStatus());
  EXPECT_TRUE(run->failed());
  run->End();
  EXPECT_EQ(ended_, absl::InternalError("first"));
}

TEST_F(PassRunTest, OfAPassThatDoesNotFitThereIsNone) {
  EXPECT_EQ(Begin(2), nullptr);
  ASSERT_TRUE(ended_.has_value());
  EXPECT_EQ(ended_->code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace accrue::kernels
