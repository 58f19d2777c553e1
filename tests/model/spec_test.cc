#include "server/model/spec.h"

#include <cstdint>
#include <functional>
#include <limits>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "server/model/gathering.h"
#include "server/model/layout.h"
#include "tests/model/harness.h"

namespace accrue {
namespace {

using ::testing::HasSubstr;

struct BadSpec {
  const char* name;
  std::function<void(ModelSpec&)> spoil;
  const char* complaint;
};

class SpecTest : public ::testing::TestWithParam<BadSpec> {};

TEST_P(SpecTest, ABadSpecIsRefusedWithTheFieldThatIsWrong) {
  ModelSpec spec = SimpleSpec(16, 2);
  ASSERT_TRUE(ValidateSpec(spec, SpecLimits()).ok());
  GetParam().spoil(spec);
  SpecLimits limits;
  limits.max_tensors = 4;
  limits.max_groups = 4;
  limits.max_elements = 1 << 20;
  limits.max_payload_bytes = 1 << 16;
  const absl::Status status = ValidateSpec(spec, limits);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GetErrorInfo(status).reason, Reason::kInvalidSpec);
  EXPECT_THAT(std::string(status.message()), HasSubstr(GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(
    Table, SpecTest,
    ::testing::ValuesIn(std::vector<BadSpec>{
        {"EmptyName", [](auto& s) { s.name = ""; }, "name"},
        {"NameWithSlash", [](auto& s) { s.name = "a/b"; }, "name"},
        {"NameWithDot", [](auto& s) { s.name = ".."; }, "leading dot"},
        {"LongName", [](auto& s) { s.name = std::string(129, 'a'); }, "128"},
        {"NoTensors", [](auto& s) { s.tensors.clear(); }, "tensors"},
        {"TensorTwice", [](auto& s) { s.tensors.push_back(s.tensors[0]); },
         "named twice"},
        {"TensorName", [](auto& s) { s.tensors[0].name = "a b"; }, "a b"},
        {"ExtentZero",
         [](auto& s) {
           s.tensors[0].shape = {3, 0};
         },
         "extent 0"},
        {"ExtentNegative", [](auto& s) { s.tensors[0].shape = {-1}; },
         "extent -1"},
        {"ExtentsOverflow",
         [](auto& s) {
           s.tensors[0].shape = {std::numeric_limits<int64_t>::max(),
                                 std::numeric_limits<int64_t>::max()};
         },
         "more than"},
        {"Rank",
         [](auto& s) { s.tensors[0].shape = {1, 1, 1, 1, 1, 1, 1, 1, 1}; },
         "rank 9"},
        {"TooManyElements", [](auto& s) { s.tensors[0].shape = {2 << 20}; },
         "elements"},
        {"PushTooLarge", [](auto& s) { s.tensors[0].shape = {1 << 15}; },
         "--ingest_memory"},
        {"UnknownGroup", [](auto& s) { s.tensors[0].group = "none"; },
         "no group \"none\""},
        {"AdaptiveKOverTheQuota",
         [](auto& s) {
           s.groups[0].hyper.beta1 = 0.9;
           s.groups[0].adaptive_k = {.min_k = 1, .max_k = 4};
           s.max_pushes_per_worker = 3;
         },
         "max_k = 4 over max_pushes_per_worker = 3, want a cycle_timeout"},
        {"NoGroups", [](auto& s) { s.groups.clear(); }, "groups"},
        {"GroupTwice", [](auto& s) { s.groups.push_back(s.groups[0]); },
         "named twice"},
        {"GroupWithoutTensors",
         [](auto& s) {
           s.groups.push_back(s.groups[0]);
           s.groups[1].name = "empty";
         },
         "no tensors"},
        {"TooManyTensors",
         [](auto& s) {
           for (int i = 0; i < 4; ++i) {
             s.tensors.push_back({"t" + std::to_string(i), {1}, "all"});
           }
         },
         "at most 4"},
        {"KZero", [](auto& s) { s.groups[0].k = 0; }, "k"},
        {"UpdateEvery", [](auto& s) { s.groups[0].update_every = 3; },
         "update_every"},
        {"LearningRate", [](auto& s) { s.groups[0].hyper.learning_rate = -1; },
         "learning_rate"},
        {"Staleness", [](auto& s) { s.max_staleness = -2; }, "max_staleness"},
        {"Quota", [](auto& s) { s.max_pushes_per_worker = -1; },
         "max_pushes_per_worker"},
        {"Timeout", [](auto& s) { s.cycle_timeout = absl::ZeroDuration(); },
         "cycle_timeout"},
        {"MinPushes", [](auto& s) { s.min_pushes = 0; }, "min_pushes"},
        {"NominalWeight", [](auto& s) { s.nominal_weight = 0; },
         "nominal_weight"},
        {"Publications", [](auto& s) { s.max_publications = 1; },
         "max_publications"},
    }),
    [](const auto& info) { return info.param.name; });

TEST(SpecTest, DefaultsMakeEqualModelsHaveEqualSpecs) {
  ModelSpec implicit = SimpleSpec(16, 4);
  implicit.tensors[0].group = "";
  implicit.groups[0].update_every = 0;
  FillDefaults(implicit);
  EXPECT_EQ(implicit, SimpleSpec(16, 4));
}

// Also of a model made from what a daemon says of one, which is not told them.
TEST(SpecTest, HyperparametersThatAnOptimizerDoesNotHaveMakeNoDifference) {
  ModelSpec sgd = SimpleSpec(16, 4);
  sgd.groups[0].hyper.beta2 = 0.5;
  sgd.groups[0].hyper.epsilon = 1;
  FillDefaults(sgd);
  EXPECT_EQ(sgd, SimpleSpec(16, 4));
  ModelSpec lion = SimpleSpec(16, 4);
  lion.optimizer.optimizer = rule::Optimizer::kLion;
  ModelSpec other = lion;
  other.groups[0].hyper.epsilon = 1;
  FillDefaults(other);
  EXPECT_EQ(other, lion);
  other.groups[0].hyper.beta2 = 0.5;
  FillDefaults(other);
  EXPECT_EQ(other.groups[0].hyper.beta2, 0.5);
}

TEST(SpecTest, AdaptiveKWithAQuotaNeedsEnoughOfItOrATimeout) {
  ModelSpec spec = SimpleSpec(16, 2);
  spec.groups[0].hyper.beta1 = 0.9;
  spec.groups[0].adaptive_k = {.min_k = 1, .max_k = 4};
  spec.max_pushes_per_worker = 4;
  EXPECT_TRUE(ValidateSpec(spec, SpecLimits()).ok());
  spec.max_pushes_per_worker = 1;
  spec.cycle_timeout = absl::Seconds(1);
  EXPECT_TRUE(ValidateSpec(spec, SpecLimits()).ok());
}

// Where no manifest fits, no checkpoint does, and a full journal stays full.
TEST(SpecTest, GatheringIsNoLongerThanACheckpointHasRoomFor) {
  const int64_t most = MostHeldPushes(/*group_count=*/1);
  ModelSpec spec = SimpleSpec(1, most);
  spec.optimizer.buffering = rule::Buffering::kGather;
  EXPECT_EQ(ValidateSpec(spec, SpecLimits()), absl::OkStatus());
  spec.groups[0].k = spec.groups[0].update_every = most + 1;
  const auto refused = [&spec] {
    const absl::Status status = ValidateSpec(spec, SpecLimits());
    EXPECT_EQ(GetErrorInfo(status).reason, Reason::kInvalidSpec);
    return std::string(status.message());
  };
  EXPECT_THAT(refused(),
              HasSubstr("group \"all\": k = 37118, want at most 37117"));
  spec.groups[0].k = spec.groups[0].update_every = 2;
  spec.groups[0].adaptive_k = {.min_k = 2, .max_k = most + 1};
  EXPECT_THAT(refused(), HasSubstr("max_k = 37118, want at most 37117"));
  spec.optimizer.buffering = rule::Buffering::kClassic;
  EXPECT_EQ(ValidateSpec(spec, SpecLimits()), absl::OkStatus());
}

TEST(LayoutTest, TensorsFollowEachOtherInTheFlatVectorAndInTheirGroups) {
  ModelSpec spec = SimpleSpec(5, 1);
  spec.groups.push_back(spec.groups[0]);
  spec.groups[1].name = "other";
  spec.tensors = {{"a", {2, 3}, "all"},
                  {"b", {}, "other"},
                  {"c", {4}, "all"},
                  {"d", {2}, "other"}};
  const Layout layout(spec);
  EXPECT_EQ(layout.elems(), 13);
  EXPECT_EQ(layout.group_elems(), (std::vector<int64_t>{10, 3}));
  EXPECT_EQ(layout.tensors()[2].offset, 7);
  EXPECT_EQ(layout.tensors()[2].group_offset, 6);
  EXPECT_EQ(layout.tensors()[3].offset, 11);
  EXPECT_EQ(layout.tensors()[3].group_offset, 1);
  EXPECT_EQ(layout.FindTensor("d"), 3);
  EXPECT_EQ(layout.FindTensor("e"), -1);
}

}  // namespace
}  // namespace accrue
