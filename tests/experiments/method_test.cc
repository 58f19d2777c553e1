#include "client/examples/experiments/method.h"

#include <set>

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
