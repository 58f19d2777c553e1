#include "tests/oracle/combinations.h"

#include <cstdint>
#include <iostream>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/rule/groups.h"

namespace accrue::oracle {
namespace {

// The choices that a name spells out, one a dimension.
std::vector<std::string> Split(const std::string& name) {
  std::vector<std::string> parts(1);
  for (const char c : name) {
    if (c == '/') {
      parts.emplace_back();
    } else {
      parts.back().push_back(c);
    }
  }
  // update_every counts as "k" or "1", as it is chosen.
  parts[3] = parts[3].substr(5) == parts[2].substr(1) ? "k" : "1";
  return parts;
}

std::set<std::pair<std::string, std::string>> Pairs(
    const std::vector<Combination>& combinations) {
  std::set<std::pair<std::string, std::string>> pairs;
  for (const Combination& c : combinations) {
    const std::vector<std::string> parts = Split(c.Name());
    for (size_t i = 0; i < parts.size(); ++i) {
      for (size_t j = i + 1; j < parts.size(); ++j) {
        pairs.insert(
            {std::to_string(i) + parts[i], std::to_string(j) + parts[j]});
      }
    }
  }
  return pairs;
}

TEST(CombinationsTest, NamesAreUnique) {
  const std::vector<Combination> all = AllCombinations();
  std::set<std::string> names;
  for (const Combination& c : all) names.insert(c.Name());
  EXPECT_EQ(names.size(), all.size());
}

TEST(CombinationsTest, AllowedOnesHaveNoReasonAgainstThem) {
  const std::vector<Combination> allowed = AllowedCombinations();
  std::cout << AllCombinations().size() << " combinations, " << allowed.size()
            << " allowed\n";
  std::set<std::string> optimizers;
  for (const Combination& c : allowed) {
    ASSERT_EQ(rule::ValidateRule(c.Rule()), "") << c.Name();
    optimizers.insert(Split(c.Name())[0]);
  }
  EXPECT_EQ(optimizers.size(), 6u);
}

TEST(CombinationsTest, MicroStepsFitTheirCycle) {
  for (const Combination& c : AllowedCombinations()) {
    std::string why;
    ASSERT_TRUE(
        rule::MicroStepsAllowed({c.Rule()}, c.Facts(0).micro_steps, &why))
        << c.Name() << ": " << why;
    for (int64_t push = 0; push < 10; ++push) {
      ASSERT_EQ(c.Facts(push).micro_steps, c.Facts(0).micro_steps);
      ASSERT_GE(c.Facts(push).weight, rule::kMinWeight);
      ASSERT_LE(c.Facts(push).weight, rule::kMaxWeight);
    }
  }
}

TEST(CombinationsTest, ThePairwiseSubsetHasEveryPair) {
  const std::vector<Combination> allowed = AllowedCombinations();
  const std::vector<Combination> subset = PairwiseSubset(allowed);
  EXPECT_EQ(Pairs(subset), Pairs(allowed));
  EXPECT_LT(subset.size(), 100u) << "few, so that each can run over gRPC";
  EXPECT_EQ(subset, PairwiseSubset(allowed)) << "the same every time";
}

}  // namespace
}  // namespace accrue::oracle
