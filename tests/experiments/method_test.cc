#include "client/examples/experiments/method.h"

#include <map>
#include <set>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/examples/experiments/image_settings.h"

namespace accrue::experiments {
namespace {

using client::Decay;

client::ModelSpec SpecOf(const Setting& setting) {
  return MakeSpec(setting, "m", {{.name = "w", .shape = {3}}});
}

TEST(MethodTest, EachIsADecayAndAPaceOfUpdates) {
  struct Case {
    Method method;
    Decay decay;
    int64_t k;
    int64_t update_every;
  };
  for (const Case& wanted :
       {Case{Method::kStandard, Decay::kPerCycle, 1, 1},
        Case{Method::kBetaOnly, Decay::kSliding, 4, 1},
        Case{Method::kSparseOnly, Decay::kPerPush, 4, 4},
        Case{Method::kAccumulation, Decay::kPerCycle, 4, 4},
        Case{Method::kFull, Decay::kSliding, 4, 4}}) {
    const client::ModelSpec spec = SpecOf({.method = wanted.method, .k = 4});
    EXPECT_EQ(spec.optimizer.decay, wanted.decay) << Name(wanted.method);
    EXPECT_EQ(spec.groups[0].k, wanted.k) << Name(wanted.method);
    EXPECT_EQ(spec.groups[0].update_every, wanted.update_every)
        << Name(wanted.method);
  }
}

TEST(MethodTest, TheArticlesSgdmIsDampedByItsMomentum) {
  EXPECT_EQ(SpecOf({}).groups[0].hyperparameters.dampening, 0.9);
  EXPECT_EQ(SpecOf({.dampening = 0}).groups[0].hyperparameters.dampening, 0);
}

TEST(MethodTest, OfSeveralWorkersEachHasItsShareOfAVersion) {
  const client::ModelSpec spec =
      SpecOf({.method = Method::kSparseOnly, .k = 4, .workers = 2});
  EXPECT_EQ(spec.groups[0].k, 8);
  EXPECT_EQ(spec.groups[0].update_every, 8);
  EXPECT_EQ(spec.max_pushes_per_worker, 4);
}

TEST(MethodTest, OnlyBeta1Slides) {
  EXPECT_EQ(SpecOf({.method = Method::kFull,
                    .k = 4,
                    .optimizer = client::Optimizer::kAdamW})
                .optimizer.slide_beta2,
            false);
}

client::ModelSpec ImageSpecOf(const std::string& name) {
  for (const ImageSetting& setting : ImageSettings(false)) {
    if (setting.name != name) continue;
    auto spec = MakeImageSpec(setting, MakeNetwork(setting.hidden), "m");
    EXPECT_TRUE(spec.ok()) << spec.status();
    return *std::move(spec);
  }
  ADD_FAILURE() << name;
  return {};
}

// Eq. 54 of 4 layers: 2^(3/2), 2^(2/2), 2^(1/2) and 1 times k_min, exponents
// rounded down.
TEST(ImageSettingsTest, KByLayerIsTheFormulas) {
  const client::ModelSpec spec = ImageSpecOf("sgd/deep/own_k");
  std::map<std::string, int64_t> k_of_group;
  for (const auto& group : spec.groups) k_of_group[group.name] = group.k;
  const int64_t wanted[] = {4, 4, 2, 2};
  ASSERT_EQ(spec.tensors.size(), 8);
  for (size_t i = 0; i < spec.tensors.size(); ++i) {
    EXPECT_EQ(k_of_group.at(spec.tensors[i].group), wanted[i / 2])
        << spec.tensors[i].name;
  }
}

TEST(ImageSettingsTest, LayersApartAreOneGroupEachOfTheSameK) {
  const client::ModelSpec spec = ImageSpecOf("sgd/deep/k4");
  ASSERT_EQ(spec.groups.size(), 4);
  for (size_t i = 0; i < spec.tensors.size(); ++i) {
    EXPECT_EQ(spec.tensors[i].group, spec.groups[i / 2].name);
    EXPECT_EQ(spec.groups[i / 2].k, 4);
  }
}

TEST(ImageSettingsTest, AScheduleIsAsLongAsThereAreUpdates) {
  const auto updates_of = [](const std::string& name) {
    return ImageSpecOf(name).groups[0].hyperparameters.schedule->total_updates;
  };
  EXPECT_EQ(updates_of("sgd/cosine/updates"), ImagePushes(false) / 4);
  EXPECT_EQ(updates_of("sgd/cosine/pushes"), ImagePushes(false));
}

TEST(ImageSettingsTest, WhereKChangesAWorkersShareIsNotBounded) {
  const client::ModelSpec spec = ImageSpecOf("sgd/adaptive");
  EXPECT_TRUE(spec.groups[0].adaptive_k.has_value());
  EXPECT_EQ(spec.max_pushes_per_worker, 0);
}

TEST(ImageSettingsTest, NamesAreUniqueAndTheQuickOnesAmongAll) {
  std::set<std::string> all;
  for (const ImageSetting& setting : ImageSettings(false)) {
    EXPECT_TRUE(all.insert(setting.name).second) << setting.name;
  }
  for (const ImageSetting& setting : ImageSettings(true)) {
    EXPECT_THAT(all, testing::Contains(setting.name));
  }
}

}  // namespace
}  // namespace accrue::experiments
