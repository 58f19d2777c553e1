#include "server/base/float_env.h"

#include "gtest/gtest.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace accrue {
namespace {

TEST(FloatEnvTest, AThreadKeepsDenormalsByDefault) {
  EXPECT_TRUE(DenormalsKept());
  AssertDenormalsKept();
}

#if defined(__x86_64__)
class FloatEnvFlushTest : public testing::TestWithParam<unsigned> {};

TEST_P(FloatEnvFlushTest, FlushingIsNoticedAndFatal) {
  const unsigned saved = _mm_getcsr();
  _mm_setcsr(saved | GetParam());
  const bool kept = DenormalsKept();
  _mm_setcsr(saved);
  EXPECT_FALSE(kept);
  EXPECT_DEATH(
      {
        _mm_setcsr(saved | GetParam());
        AssertDenormalsKept();
      },
      "flushes denormals");
}

constexpr unsigned kFlushToZero = 0x8000;
constexpr unsigned kDenormalsAreZero = 0x0040;
INSTANTIATE_TEST_SUITE_P(Bits, FloatEnvFlushTest,
                         testing::Values(kFlushToZero, kDenormalsAreZero));
#endif

}  // namespace
}  // namespace accrue
