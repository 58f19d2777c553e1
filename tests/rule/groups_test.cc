#include "server/rule/groups.h"

#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace accrue::rule {
namespace {

using testing::HasSubstr;

RuleSpec Of(int64_t k) {
  RuleSpec spec;
  spec.k = spec.update_every = k;
  return spec;
}

TEST(GroupsTest, NestedCyclesAreMultiplesOfTheShortest) {
  EXPECT_EQ(ValidateGroups({Of(2), Of(4), Of(6)}, true), "");
  EXPECT_EQ(ValidateGroups({Of(7)}, true), "");
  EXPECT_EQ(ValidateGroups({}, true), "");
  EXPECT_THAT(ValidateGroups({Of(4), Of(6)}, true),
              HasSubstr("update_every: 6 is no multiple of the shortest cycle, "
                        "4: at max_staleness 0"));
  EXPECT_EQ(ValidateGroups({Of(4), Of(6)}, false), "")
      << "stale pushes need no nesting";
}

TEST(GroupsTest, NestingIsAboutCyclesNotK) {
  RuleSpec only_beta = Of(3);
  only_beta.decay = Decay::kSliding;
  only_beta.update_every = 1;
  EXPECT_EQ(ValidateGroups({only_beta, Of(4)}, true), "");
  RuleSpec longer = Of(8);
  longer.decay = Decay::kSliding;
  longer.update_every = 6;
  EXPECT_THAT(ValidateGroups({longer, Of(4)}, true),
              HasSubstr("update_every: 6"));
}

TEST(GroupsTest, OneNormOverAllGroupsNeedsOneCycleAndOneBound) {
  const auto classic = [](int64_t k) {
    RuleSpec spec = Of(k);
    spec.buffering = Buffering::kClassic;
    spec.clip_scope = ClipScope::kModel;
    spec.hyper.clip_norm = 1.0;
    return spec;
  };
  EXPECT_EQ(ValidateGroups({classic(4), classic(4)}, true), "");
  EXPECT_THAT(ValidateGroups({classic(2), classic(4)}, true),
              HasSubstr("share k and update_every: got k = 4 and 2"));
  RuleSpec other = classic(4);
  other.hyper.clip_norm = 2.0;
  EXPECT_THAT(ValidateGroups({classic(4), other}, false),
              HasSubstr("share clip_norm: got 2 and 1"));
  other = classic(4);
  other.clip_scope = ClipScope::kGroup;
  EXPECT_THAT(ValidateGroups({classic(4), other}, false),
              HasSubstr("clip_scope: MODEL and GROUP"));
}

TEST(GroupsTest, MicroStepsDivideEveryCycle) {
  std::string why;
  EXPECT_TRUE(MicroStepsAllowed({Of(4), Of(8)}, 1, &why));
  EXPECT_TRUE(MicroStepsAllowed({Of(4), Of(8)}, 4, &why));
  EXPECT_FALSE(MicroStepsAllowed({Of(4), Of(8)}, 8, &why));
  EXPECT_THAT(why, HasSubstr("micro_steps: 8 must divide every group's k and "
                             "update_every: got k = 4, update_every = 4"));
  EXPECT_FALSE(MicroStepsAllowed({Of(4)}, 3, &why));
  EXPECT_FALSE(MicroStepsAllowed({Of(4)}, 0, &why));
  EXPECT_THAT(why, HasSubstr("micro_steps: 0, want at least 1"));
  RuleSpec only_beta = Of(4);
  only_beta.decay = Decay::kSliding;
  only_beta.update_every = 1;
  EXPECT_FALSE(MicroStepsAllowed({only_beta}, 2, &why));
  EXPECT_THAT(why, HasSubstr("update_every = 1"));
}

}  // namespace
}  // namespace accrue::rule
