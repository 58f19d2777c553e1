#include "server/kernels/pass_sums.h"

#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace accrue::kernels {
namespace {

// Two groups of a tensor each, both updated.
class PassSumsTest : public testing::Test {
 protected:
  PassSumsTest() : blocks_(MakeBlockMap({3, 4}, {0, 1}, 2)) {
    pass_.groups.resize(2);
    for (GroupPass& group : pass_.groups) group.update.emplace();
  }

  const BlockMap blocks_;
  Pass pass_;
};

// A stage for nobody would be one more reading of all the moments.
TEST_F(PassSumsTest, OnlyWhatAGroupAsksForIsWaitedFor) {
  EXPECT_FALSE(PassSums(blocks_, pass_).clips());
  EXPECT_FALSE(PassSums(blocks_, pass_).trusts());
  pass_.groups[1].update->clip_norm = 2;
  EXPECT_TRUE(PassSums(blocks_, pass_).clips());
  EXPECT_FALSE(PassSums(blocks_, pass_).trusts());
  pass_.groups[0].optimizer = rule::Optimizer::kLamb;
  EXPECT_TRUE(PassSums(blocks_, pass_).trusts());
}

TEST_F(PassSumsTest, AGroupThatIsNotClippedHasNoNormAndKeepsItsMoments) {
  for (const bool over_groups : {false, true}) {
    pass_.clip_over_groups = over_groups;
    pass_.groups[1].update->clip_norm = 2;
    PassSums sums(blocks_, pass_);
    EXPECT_EQ(sums.clip(1), 1);
    sums.LeaveClipped(1, 16);
    sums.FindClips();
    EXPECT_EQ(sums.clip(0), 1);
    EXPECT_EQ(sums.clip(1), 0.5f);
    EXPECT_EQ(std::move(sums).Result().clip_norms, (std::vector<double>{0, 4}));
  }
}

}  // namespace
}  // namespace accrue::kernels
