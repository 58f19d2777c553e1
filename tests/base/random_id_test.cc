#include "server/base/random_id.h"

#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace accrue {
namespace {

TEST(RandomIdTest, IdsAre32LowercaseHexDigitsAndDiffer) {
  std::set<std::string> ids;
  for (int i = 0; i < 1000; ++i) {
    const std::string id = RandomId();
    EXPECT_EQ(id.size(), 32u);
    EXPECT_EQ(id.find_first_not_of("0123456789abcdef"), std::string::npos);
    ids.insert(id);
  }
  EXPECT_EQ(ids.size(), 1000u);
}

TEST(RandomIdTest, EveryDigitTakesEveryValue) {
  // 1,000 ids miss one of 16 values at one of 32 places with probability below
  // 32 * 16 * (15/16)^1000 = 5e-26.
  std::set<char> seen[32];
  for (int i = 0; i < 1000; ++i) {
    const std::string id = RandomId();
    for (size_t place = 0; place < 32; ++place) seen[place].insert(id[place]);
  }
  for (const std::set<char>& values : seen) EXPECT_EQ(values.size(), 16u);
}

}  // namespace
}  // namespace accrue
