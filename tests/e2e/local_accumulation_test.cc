// Gradients that a worker adds up itself are worth as much as pushed one by
// one.
#include "accrue/local_accumulation.h"

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "tests/e2e/communication.h"

namespace accrue {
namespace {

using client::LocalAccumulation;

constexpr int64_t kElems = 2'003;

class LocalAccumulationTest : public CommunicationTest {
 protected:
  // Momentum 1/2, dampening 1/2, learning rate 1/2.
  client::ModelSpec Momentum(const std::string& name, int64_t k) {
    client::ModelSpec spec = PlainSgd(name, {kElems}, {k});
    spec.groups[0].hyperparameters = {
        .learning_rate = 0.5, .beta1 = 0.5, .dampening = 0.5};
    return spec;
  }
};

TEST_F(LocalAccumulationTest, IsBitForBitTheSamePushesWhereNothingRounds) {
  for (const int64_t steps : {1, 2, 4}) {
    const client::Model one_by_one =
        Make(Momentum(absl::StrCat("one", steps), 4));
    const client::Model at_once = Make(Momentum(absl::StrCat("sum", steps), 4));
    client::Worker single = *one_by_one.OpenWorker();
    client::Worker summing = *at_once.OpenWorker();
    LocalAccumulation sum(kElems);
    std::vector<float> want(kElems), got(kElems);
    ASSERT_TRUE(single.Pull(&want).ok());
    ASSERT_TRUE(summing.Pull(&got).ok());
    // The bits of m suffice for 16 cycles of integers up to 8.
    for (int64_t step = 1; step <= 4 * 12; ++step) {
      std::vector<float> gradient(kElems);
      for (size_t i = 0; i < gradient.size(); ++i) {
        gradient[i] = static_cast<float>(
            static_cast<int64_t>(i * 31 + static_cast<size_t>(step * step)) %
                17 -
            8);
      }
      ASSERT_TRUE(single.Push(gradient)->accepted);
      ASSERT_TRUE(sum.Add(gradient, 0.5).ok());
      EXPECT_EQ(sum.count(), (step - 1) % steps + 1);
      if (step % steps == 0) {
        const auto pushed = sum.PushTo(summing);
        ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
        EXPECT_EQ(pushed->folded_pushes, step);
        EXPECT_EQ(sum.count(), 0);
      }
      if (step % 4 != 0) continue;
      ASSERT_TRUE(single.PullNewer(&want, absl::Seconds(10)).ok());
      ASSERT_TRUE(summing.PullNewer(&got, absl::Seconds(10)).ok());
      ASSERT_EQ(got, want) << "after step " << step;
    }
    EXPECT_EQ(at_once.Describe()->last_loss, 0.5);
  }
}

TEST_F(LocalAccumulationTest, ElsewhereItIsWithinWhatRounds) {
  constexpr int64_t kSteps = 3;
  const client::Model one_by_one = Make(PlainSgd("one", {kElems}, {kSteps}));
  const client::Model at_once = Make(PlainSgd("sum", {kElems}, {kSteps}));
  client::Worker single = *one_by_one.OpenWorker();
  client::Worker summing = *at_once.OpenWorker();
  LocalAccumulation sum(kElems);
  std::vector<float> want(kElems), got(kElems);
  ASSERT_TRUE(single.Pull(&want).ok());
  ASSERT_TRUE(summing.Pull(&got).ok());
  const uint64_t seed = 5;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> unit(-1, 1);
  std::vector<double> pushed(kElems);  // the sum of |gradient|
  for (int64_t step = 1; step <= 20 * kSteps; ++step) {
    std::vector<float> gradient(kElems);
    for (size_t i = 0; i < gradient.size(); ++i) {
      gradient[i] = unit(random);
      pushed[i] += std::fabs(gradient[i]);
    }
    ASSERT_TRUE(single.Push(gradient)->accepted);
    ASSERT_TRUE(sum.Add(gradient).ok());
    if (step % kSteps == 0) {
      ASSERT_TRUE(sum.PushTo(summing)->accepted);
      ASSERT_TRUE(single.PullNewer(&want, absl::Seconds(10)).ok());
      ASSERT_TRUE(summing.PullNewer(&got, absl::Seconds(10)).ok());
    }
  }
  // Of a cycle either side rounds gains, products and sums: 8 roundings of at
  // most the cycle's sum of |g|/3 each, and theta rounds once a cycle, by at
  // most the sum of all so far.
  for (size_t i = 0; i < pushed.size(); ++i) {
    ASSERT_NEAR(got[i], want[i], 2 * (8 + 20) * pushed[i] / 3 * 0x1p-24) << i;
  }
}

TEST_F(LocalAccumulationTest, ARefusedSumIsForgottenAndAnImpossibleOneKept) {
  const client::Model model = Make(PlainSgd("m", {kElems}, {4}));
  client::Worker worker = *model.OpenWorker();
  LocalAccumulation sum(kElems);
  EXPECT_EQ(sum.PushTo(worker).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(sum.Add(std::vector<float>(3)).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(sum.count(), 0);
  const std::vector<float> ones(kElems, 1.0f);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(sum.Add(ones).ok());
  // It has pulled nothing: of which version are they?
  EXPECT_FALSE(sum.PushTo(worker).ok());
  EXPECT_EQ(sum.count(), 2);
  std::vector<float> parameters(kElems);
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  EXPECT_TRUE(sum.PushTo(worker)->accepted);
  // NaN: a skipped step, both of them.
  ASSERT_TRUE(sum.Add(std::vector<float>(kElems, std::nanf(""))).ok());
  ASSERT_TRUE(sum.Add(ones).ok());
  EXPECT_FALSE(sum.PushTo(worker)->accepted);
  EXPECT_EQ(sum.count(), 0);
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(sum.Add(ones).ok());
  EXPECT_TRUE(sum.PushTo(worker)->published);
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  EXPECT_EQ(parameters, std::vector<float>(kElems, -1.0f));
}

TEST_F(LocalAccumulationTest, PartsMayBeCutAnywhere) {
  const client::Model model = Make(PlainSgd("m", {kElems}, {2}));
  client::Worker worker = *model.OpenWorker();
  std::vector<float> parameters(kElems);
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  std::vector<float> gradient(kElems);
  for (size_t i = 0; i < gradient.size(); ++i) {
    gradient[i] = static_cast<float>(i);
  }
  const auto bytes = absl::MakeConstSpan(
      reinterpret_cast<const std::byte*>(gradient.data()), 4 * kElems);
  std::vector<client::Payload::Part> parts;
  for (size_t at = 0, size = 1; at < bytes.size(); at += size) {
    size = (size * 3 + 1) % 13 + 1;
    parts.push_back(bytes.subspan(at, size));
  }
  LocalAccumulation sum(kElems);
  ASSERT_TRUE(sum.Add(gradient).ok());
  ASSERT_TRUE(
      sum.Add(client::Payload::Encoded(client::Encoding::kF32, parts)).ok());
  ASSERT_TRUE(sum.PushTo(worker)->published);
  ASSERT_TRUE(worker.Pull(&parameters).ok());
  for (size_t i = 0; i < parameters.size(); ++i) {
    ASSERT_EQ(parameters[i], -gradient[i]);
  }
}

}  // namespace
}  // namespace accrue
