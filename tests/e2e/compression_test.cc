// Compressed pushes through the SDK and the real daemon: what it has folded and
// what a worker holds back are all that was pushed.
#include <cmath>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "tests/e2e/communication.h"

namespace accrue {
namespace {

using client::Compression;
using client::Encoding;

constexpr int64_t kElems = 5'003;

class CompressionTest : public CommunicationTest {};

// In integers from -999 to 999.
std::vector<float> Gradient(int64_t step) {
  std::vector<float> gradient(kElems);
  for (int64_t i = 0; i < kElems; ++i) {
    gradient[static_cast<size_t>(i)] =
        static_cast<float>((i * i * 7 + step * 131) % 1999 - 999);
  }
  return gradient;
}

TEST_F(CompressionTest, NothingIsLostAlsoWhereEveryThirdPushIsRefused) {
  const std::vector<Compression> compressions = {
      {.encoding = Encoding::kBf16},
      {.encoding = Encoding::kF16},
      {.encoding = Encoding::kTopK, .top_fraction = 0.1},
      {.encoding = Encoding::kTopK, .top_fraction = 0.001},
      {.encoding = Encoding::kInt8}};
  for (size_t c = 0; c < compressions.size(); ++c) {
    SCOPED_TRACE(testing::Message() << "compression " << c);
    // theta is minus the sum of all that was folded.
    const client::Model model =
        Make(PlainSgd(absl::StrCat("m", c), {kElems}, {1}));
    client::Worker worker = *model.OpenWorker({.compression = compressions[c]});
    std::vector<float> parameters(kElems);
    std::vector<double> want(kElems);
    for (int64_t step = 0; step < 30; ++step) {
      ASSERT_TRUE(worker.Pull(&parameters).ok());
      const std::vector<float> held = worker.residual();
      std::vector<float> gradient = Gradient(step);
      const bool spoilt = step % 3 == 2;
      if (spoilt) {
        gradient[static_cast<size_t>(step)] =
            step % 2 == 0 ? std::nanf("") : INFINITY;
      }
      const auto pushed = worker.Push(gradient);
      ASSERT_TRUE(pushed.ok()) << pushed.status();
      ASSERT_EQ(pushed->accepted, !spoilt);
      if (spoilt) {
        EXPECT_EQ(pushed->reason, client::Reason::kNonFinite);
        EXPECT_EQ(worker.residual(), held);
      } else {
        for (size_t i = 0; i < want.size(); ++i) want[i] += gradient[i];
      }
      ASSERT_TRUE(worker.Pull(&parameters).ok());
      const std::vector<float> residual = worker.residual();
      // Integers below 2^24 are exact. Not so int8's products and what is left
      // of them, nor their sum in theta: each rounds by 2^-24 of at most 2^11,
      // 2^11 and 2^15.
      const double bound =
          compressions[c].encoding == Encoding::kInt8
              ? static_cast<double>(step + 1) * (0x1p-13 + 0x1p-13 + 0x1p-9)
              : 0;
      for (size_t i = 0; i < want.size(); ++i) {
        ASSERT_NEAR(static_cast<double>(residual[i]) - parameters[i], want[i],
                    bound)
            << "element " << i << " after step " << step;
      }
    }
  }
}

// Of a push that is one version behind half is folded, the residual's part in
// it included, and the other half does not come back.
TEST_F(CompressionTest, TheDampingOfAStalePushIsOfAllThatItSent) {
  client::ModelSpec spec = PlainSgd("m", {kElems}, {1});
  spec.stale_policy = client::StalePolicy::kDampen;
  const client::Model model = Make(spec);
  client::Worker worker = *model.OpenWorker(
      {.compression = {.encoding = Encoding::kTopK, .top_fraction = 0.1}});
  client::Worker other = *model.OpenWorker();
  std::vector<float> before(kElems);
  std::vector<float> after(kElems);
  std::vector<double> whole(kElems);  // gradient and residual
  for (int64_t step = 0; step < 6; ++step) {
    const bool stale = step % 2 == 1;
    const std::vector<float> gradient = Gradient(step);
    const std::vector<float> held = worker.residual();
    for (size_t i = 0; i < whole.size(); ++i) {
      whole[i] = static_cast<double>(gradient[i]) + held[i];
    }
    ASSERT_TRUE(worker.Pull(&before).ok());
    if (stale) {
      ASSERT_TRUE(other.Pull(&after).ok());
      ASSERT_TRUE(other.Push(std::vector<float>(kElems, 0)).ok());
    }
    const auto pushed = worker.Push(gradient);
    ASSERT_TRUE(pushed.ok() && pushed->accepted) << pushed.status();
    ASSERT_TRUE(other.Pull(&after).ok());
    const std::vector<float> residual = worker.residual();
    for (size_t i = 0; i < whole.size(); ++i) {
      // Halves of integers: nothing rounds.
      const double sent = whole[i] - residual[i];
      ASSERT_EQ(static_cast<double>(before[i]) - after[i],
                stale ? sent / 2 : sent)
          << "element " << i << " of step " << step;
    }
  }
}

}  // namespace
}  // namespace accrue
