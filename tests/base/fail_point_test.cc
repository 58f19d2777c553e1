#include "server/base/fail_point.h"

#include <set>
#include <string_view>

#include <gtest/gtest.h>

namespace accrue {
namespace {

FailPoint last = FailPoint::kCount;

bool OnlyMistakes(FailPoint point) {
  last = point;
  return point >= FailPoint::kFoldRepeat;
}

TEST(FailPointTest, NothingHappensWithoutAHandler) {
  EXPECT_FALSE(AtFailPoint(FailPoint::kFoldRepeat));
}

TEST(FailPointTest, TheHandlerHearsWhereItIsAndSaysWhatHappens) {
  fail_point_handler = OnlyMistakes;
  EXPECT_FALSE(AtFailPoint(FailPoint::kJournalWritten));
  EXPECT_EQ(last, FailPoint::kJournalWritten);
  EXPECT_TRUE(AtFailPoint(FailPoint::kFoldRepeat));
  EXPECT_EQ(last, FailPoint::kFoldRepeat);
  fail_point_handler = nullptr;
}

TEST(FailPointTest, NoTwoHaveTheSameName) {
  const std::set<std::string_view> names(std::begin(kFailPointNames),
                                         std::end(kFailPointNames));
  EXPECT_EQ(names.size(), std::size(kFailPointNames));
  EXPECT_EQ(Name(FailPoint::kBatchPlanned), "batch.planned");
  EXPECT_EQ(Name(FailPoint::kFoldTwice), "mistake.fold_twice");
}

}  // namespace
}  // namespace accrue
