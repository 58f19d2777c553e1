#include "server/kernels/payload_hash.h"

#include <vector>
#include <xxhash.h>

#include "gtest/gtest.h"
#include "tests/kernels/payloads.h"

namespace accrue::kernels {
namespace {

TEST(PayloadHashTest, IsXxh3HoweverTheBytesAreCut) {
  const uint64_t seed = 5;
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  Random random(seed);
  for (const int64_t size : {0, 1, 3, 239, 240, 241, 1023, 1024, 65537}) {
    std::vector<std::byte> bytes(static_cast<size_t>(size));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    const ByteChain chain = CutIntoSpans(bytes, 300, 1, random);
    PayloadHash hash;
    for (const ByteChain::Span& span : chain.spans()) {
      hash.Update(span.data, span.size);
    }
    EXPECT_EQ(hash.Digest(), XXH3_64bits(bytes.data(), bytes.size())) << size;
  }
}

TEST(PayloadHashTest, ADigestMayBeTakenOnTheWay) {
  const std::vector<std::byte> bytes(1000, std::byte{7});
  PayloadHash hash;
  hash.Update(bytes.data(), 400);
  EXPECT_EQ(hash.Digest(), XXH3_64bits(bytes.data(), 400));
  hash.Update(bytes.data() + 400, 600);
  EXPECT_EQ(hash.Digest(), XXH3_64bits(bytes.data(), 1000));
}

}  // namespace
}  // namespace accrue::kernels
