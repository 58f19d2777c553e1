// Parameters in 16 bits, of one version after another: those that were made
// with a version, since the one before was read so, and those that were made
// for the reader, are the same bytes.
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

// Several blocks, and a rest.
constexpr int64_t kElems = 3 * 16384 + 17;

// The nearest of the numbers that have 8 bits of mantissa, ties to even: none
// of these is so large that it would overflow.
std::string InBf16(const std::string& floats) {
  std::string bytes;
  for (size_t i = 0; i < floats.size(); i += 4) {
    uint32_t bits = 0;
    std::memcpy(&bits, floats.data() + i, 4);
    bits += 0x7fff + ((bits >> 16) & 1);
    bytes.append(
        {static_cast<char>(bits >> 16), static_cast<char>(bits >> 24)});
  }
  return bytes;
}

std::vector<float> Gradient(int64_t seed) {
  std::vector<float> gradient(kElems);
  for (int64_t i = 0; i < kElems; ++i) {
    gradient[static_cast<size_t>(i)] =
        std::sin(static_cast<float>(i * 31 + seed * 17));
  }
  return gradient;
}

class CopiesTest : public ::testing::TestWithParam<v1::Optimizer> {
 protected:
  CopiesTest() : daemon_(Daemon::Start()), wire_(daemon_->tcp()) {}

  void Push() {
    const std::vector<float> gradient = Gradient(++sequence_);
    const Ending ending = wire_.Push(
        wire_.Header("m", session_, sequence_, gradient), FloatBytes(gradient));
    ASSERT_TRUE(ending.status.ok()) << ending.status.error_message();
  }

  const std::unique_ptr<Daemon> daemon_;
  Wire wire_;
  std::string session_;
  int64_t sequence_ = 0;
};

TEST_P(CopiesTest, EveryVersionsAreItsParametersNarrowed) {
  v1::ModelSpec spec = Wire::Spec("m", kElems, 2);
  spec.mutable_optimizer()->set_optimizer(GetParam());
  spec.mutable_groups(0)->mutable_hyperparameters()->set_clip_norm(1);
  wire_.Make(spec);
  session_ = wire_.Open("m", "w");
  for (int version = 1; version <= 8; ++version) {
    Push();
    Push();
    // Two versions that nobody reads so, in between.
    if (version == 4 || version == 5) continue;
    const std::string narrowed = wire_.Parameters("m", v1::ENCODING_BF16);
    EXPECT_TRUE(narrowed == InBf16(wire_.Parameters("m"))) << version;
  }
  EXPECT_EQ(wire_.Describe("m").version().number(), 8);
}

INSTANTIATE_TEST_SUITE_P(Optimizers, CopiesTest,
                         ::testing::Values(v1::OPTIMIZER_SGD,
                                           v1::OPTIMIZER_ADAMW,
                                           v1::OPTIMIZER_LAMB),
                         [](const auto& info) {
                           return v1::Optimizer_Name(info.param);
                         });

}  // namespace
}  // namespace accrue
