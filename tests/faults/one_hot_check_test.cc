#include "tests/faults/one_hot_check.h"

#include <cstdint>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue::faults {
namespace {

using testing::IsEmpty;
using Outcome = PushRecord::Outcome;

constexpr int64_t kElems = 8;
constexpr float kFold = -0x1p-5f;  // what each fold adds

// Pushes to the first three elements; the third's fate nobody knows.
class OneHotCheckTest : public testing::Test {
 protected:
  OneHotCheckTest() {
    for (const uint64_t element : {0, 1, 2}) {
      history_.Add(
          {.from = {.lineage = "l"},
           .seed = element,
           .outcome = element < 2 ? Outcome::kAcknowledged : Outcome::kUnknown,
           .t = static_cast<int64_t>(element + 1),
           .version = {.lineage = "l"}});
    }
    state_ = {.version = {.lineage = "l"}, .t = 2};
    state_.theta = {kFold, kFold, 0, 0, 0, 0, 0, 0};
  }

  Verdict Check() const {
    return CheckOneHot({.spec = OneHotSpec("m", 4, kElems),
                        .initial = std::vector<float>(kElems),
                        .lineage = "l"},
                       history_, {}, state_);
  }

  History history_;
  FinalState state_;
};

TEST_F(OneHotCheckTest, EachPushOnceIsRight) {
  const Verdict verdict = Check();
  EXPECT_EQ(verdict.acked, 2);
  EXPECT_EQ(verdict.lost + verdict.twice + verdict.mismatched_bytes, 0);
  EXPECT_THAT(verdict.complaints, IsEmpty());
}

TEST_F(OneHotCheckTest, OneOfUnknownFateMayBeThere) {
  state_.theta[2] = kFold;
  state_.t = 3;
  EXPECT_THAT(Check().complaints, IsEmpty());
}

TEST_F(OneHotCheckTest, AnElementThatIsMissingIsALoss) {
  state_.theta[1] = 0;
  state_.t = 1;
  EXPECT_EQ(Check().lost, 1);
  EXPECT_EQ(Check().unreported, 1);
  EXPECT_EQ(Check().twice, 0);
}

TEST_F(OneHotCheckTest, AnElementThatCameTwiceIsNoticedWhateverTSays) {
  state_.theta[1] = 2 * kFold;
  EXPECT_EQ(Check().twice, 1);
  EXPECT_EQ(Check().lost, 0);
  state_.t = 3;
  EXPECT_EQ(Check().twice, 1);
}

TEST_F(OneHotCheckTest, SoIsOneThatNobodyPushed) {
  state_.theta[5] = kFold;
  EXPECT_EQ(Check().twice, 1);
}

TEST_F(OneHotCheckTest, WhatIsNoNumberOfFoldsIsAMismatch) {
  state_.theta[1] = 1.5f * kFold;
  EXPECT_GT(Check().mismatched_bytes, 0);
}

TEST_F(OneHotCheckTest, AWrongTIsNoticed) {
  state_.t = 4;
  EXPECT_THAT(Check().complaints, testing::Not(IsEmpty()));
}

}  // namespace
}  // namespace accrue::faults
