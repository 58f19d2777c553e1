#include "accrue/per_layer_k.h"

#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"

namespace accrue::client {
namespace {

using ::testing::HasSubstr;

// Layers 0 to `last`, a weight each.
ModelSpec Layers(int64_t last) {
  ModelSpec spec;
  spec.name = "m";
  spec.groups = {{.name = "all", .hyperparameters = {.learning_rate = 0.5}}};
  for (int64_t l = 0; l <= last; ++l) {
    spec.tensors.push_back(
        {.name = absl::StrCat("layer", l, ".weight"), .shape = {2}});
  }
  return spec;
}

PerLayerK Depths(int64_t last, int64_t k_min, int64_t max_k) {
  PerLayerK per_layer{.k_min = k_min, .max_k = max_k};
  for (int64_t l = 0; l <= last; ++l) {
    per_layer.depths.push_back(
        {.tensors = absl::StrCat("layer", l, ".*"), .depth = l});
  }
  return per_layer;
}

std::vector<int64_t> Ks(const ModelSpec& spec) {
  std::vector<int64_t> ks;
  for (const TensorSpec& tensor : spec.tensors) {
    for (const GroupSpec& group : spec.groups) {
      if (group.name == tensor.group) ks.push_back(group.k);
    }
  }
  return ks;
}

TEST(PerLayerKTest, DoublesEveryTwoLayersUpToItsCap) {
  const auto split = SplitByDepth(Layers(6), Depths(6, 3, 20));
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(Ks(*split), (std::vector<int64_t>{12, 12, 12, 6, 6, 3, 3}));
  ASSERT_EQ(split->groups.size(), 3);
  EXPECT_EQ(split->groups[0].name, "all.k12");
  EXPECT_EQ(split->groups[2].hyperparameters.learning_rate, 0.5);
}

// Errata, eq. 54: k_0*2^((L-l)/2) is 45*k_0 at 12 layers and 1.2e7*k_0 at 48.
// Capped, the cycles of 48 layers nest too.
TEST(PerLayerKTest, IsBoundedAndNestsHoweverManyLayersThereAre) {
  EXPECT_NEAR(std::pow(2.0, 11 / 2.0), 45, 0.3);
  EXPECT_NEAR(std::pow(2.0, 47 / 2.0), 1.2e7, 0.05e7);
  for (const int64_t layers : {12, 48, 200}) {
    const auto split =
        SplitByDepth(Layers(layers - 1), Depths(layers - 1, 1, 33));
    ASSERT_TRUE(split.ok()) << split.status();
    const std::vector<int64_t> ks = Ks(*split);
    EXPECT_EQ(ks.front(), 32);
    EXPECT_EQ(ks.back(), 1);
    for (size_t l = 1; l < ks.size(); ++l) EXPECT_EQ(ks[l - 1] % ks[l], 0);
  }
}

TEST(PerLayerKTest, ANameIsMoreThanItsBeginningAndGroupsStayApart) {
  ModelSpec spec = Layers(2);
  spec.tensors.push_back({.name = "layer0.bias", .group = "biases"});
  spec.groups.push_back({.name = "biases"});
  PerLayerK per_layer = Depths(2, 1, 8);
  per_layer.depths.push_back({.tensors = "layer0.bias", .depth = 4});
  const auto split = SplitByDepth(spec, per_layer);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(Ks(*split), (std::vector<int64_t>{4, 2, 2, 1}));
  EXPECT_EQ(split->tensors[3].group, "biases.k1");
}

TEST(PerLayerKTest, WhatCannotBeIsRefusedByName) {
  const auto refused = [](const ModelSpec& spec, const PerLayerK& per_layer,
                          const char* why) {
    const auto split = SplitByDepth(spec, per_layer);
    EXPECT_EQ(split.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(split.status().message()), HasSubstr(why));
  };
  refused(Layers(1), Depths(1, 0, 4), "k_min = 0");
  refused(Layers(1), Depths(1, 8, 4), "max_k = 4");
  refused(Layers(2), Depths(1, 1, 4), "tensor \"layer2.weight\" has no depth");
  refused(Layers(1), Depths(2, 1, 4), "no tensor takes its depth from");
  PerLayerK twice = Depths(1, 1, 4);
  twice.depths.push_back(twice.depths[0]);
  refused(Layers(1), twice, "has two depths");
  twice.depths.back() = {.tensors = "x", .depth = -1};
  refused(Layers(1), twice, "depth -1");
  ModelSpec adaptive = Layers(1);
  adaptive.groups[0].adaptive_k = AdaptiveK{.min_k = 1, .max_k = 2};
  refused(adaptive, Depths(1, 1, 4), "has adaptive_k");
  ModelSpec explicit_k = Layers(1);
  explicit_k.groups[0].k = 4;
  refused(explicit_k, Depths(1, 1, 4), "group \"all\" has k = 4");
  ModelSpec lost = Layers(1);
  lost.tensors[0].group = "none";
  refused(lost, Depths(1, 1, 4), "no group \"none\"");
}

}  // namespace
}  // namespace accrue::client
