#include "server/ingest/payload_assembly.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "server/ingest/admission.h"
#include "server/kernels/payload_hash.h"
#include "tests/ingest/fake_call.h"

namespace accrue {
namespace {

constexpr int64_t kElems = 40'000;
constexpr int64_t kBytes = kElems * 4;

class PayloadAssemblyTest : public testing::Test {
 protected:
  PayloadAssemblyTest() {
    std::mt19937 random(7);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& value : values_) value = uniform(random);
  }
  ~PayloadAssemblyTest() override { EXPECT_EQ(live_spans, 0); }

  PayloadAssembly Make(std::optional<uint64_t> checksum = std::nullopt,
                       bool copies = false) {
    auto blocks = std::make_shared<kernels::BlockMap>(
        kernels::MakeBlockMap({30'000, 10'000}, {0, 1}, 2));
    return PayloadAssembly({.what = "gradient for model \"m\"",
                            .subject = "m",
                            .payload_bytes = kBytes,
                            .blocks = std::move(blocks),
                            .checksum = checksum,
                            .copies = copies});
  }
  ByteChain Bytes(int64_t begin, int64_t end) {
    return TrackedChunk(reinterpret_cast<const char*>(values_.data()) + begin,
                        end - begin);
  }
  uint64_t Hash() {
    kernels::PayloadHash hash;
    hash.Update(reinterpret_cast<const std::byte*>(values_.data()), kBytes);
    return hash.Digest();
  }
  static Reason ReasonOf(const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(GetErrorInfo(status).subject, "m");
    return GetErrorInfo(status).reason;
  }

  std::vector<float> values_ = std::vector<float>(kElems);
};

TEST_F(PayloadAssemblyTest, CutsAnywhereGiveTheSameBytesHashAndScan) {
  const int64_t m = kMinChunkBytes;
  const std::vector<std::vector<int64_t>> cuts = {
      {0, kBytes},
      {kBytes, kBytes},
      {0, m, kBytes},
      {1, m + 2, 2 * m + 5, kBytes},
      {m - 1, 2 * m - 1, kBytes - 1, kBytes},
  };
  double large = 0;
  std::vector<double> sums;
  for (size_t cut = 0; cut < 2 * cuts.size(); ++cut) {
    const std::vector<int64_t>& ends = cuts[cut / 2];
    const bool copies = cut % 2 == 1;
    PayloadAssembly payload = Make(Hash(), copies);
    ASSERT_TRUE(payload.AddFirst(Bytes(0, ends[0])).ok());
    for (size_t i = 1; i < ends.size(); ++i) {
      payload.Scan();
      // What was read with is let go of as it is copied.
      EXPECT_EQ(live_spans == 0, copies || payload.received_bytes() == 0);
      ASSERT_TRUE(payload.Add(Bytes(ends[i - 1], ends[i])).ok()) << ends[i];
    }
    EXPECT_EQ(payload.received_bytes(), kBytes);
    EXPECT_TRUE(payload.Finish().ok());
    EXPECT_EQ(payload.hash(), Hash());
    EXPECT_EQ(payload.scan().first_non_finite(), -1);
    if (sums.empty()) {
      large = payload.scan().max_abs();
      sums = payload.scan().group_square_sums();
      EXPECT_EQ(sums.size(), 2u);
    }
    EXPECT_EQ(payload.scan().max_abs(), large);
    EXPECT_EQ(payload.scan().group_square_sums(), sums);
    const ByteChain chain = payload.TakeChain();
    EXPECT_EQ(live_spans == 0, copies);
    std::vector<float> seen(kElems);
    for (const ByteChain::Span& span : chain.spans()) {
      std::memcpy(reinterpret_cast<char*>(seen.data()) + span.start, span.data,
                  static_cast<size_t>(span.size));
    }
    EXPECT_EQ(seen, values_);
  }
}

TEST(KeptCopyTest, IsOfPiecesAndOfThatSizeHoweverTheBytesCame) {
  constexpr int64_t kPiece = KeptCopy::kPieceBytes;
  std::vector<std::byte> bytes(2 * kPiece + 7);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(i % 251);
  }
  for (const int64_t size : {int64_t{0}, int64_t{1}, kPiece - 1, kPiece,
                             kPiece + 1, 2 * kPiece + 7}) {
    for (const int64_t step : {int64_t{300'007}, 2 * kPiece + 7}) {
      KeptCopy copy(size);
      for (int64_t at = 0; at < size; at += step) {
        copy.Append(bytes.data() + at, std::min(step, size - at));
        EXPECT_EQ(copy.size_bytes(), std::min(at + step, size));
      }
      const ByteChain chain = copy.Take();
      EXPECT_EQ(chain.size_bytes(), size);
      EXPECT_EQ(chain.span_count(), (size + kPiece - 1) / kPiece);
      for (const ByteChain::Span& span : chain.spans()) {
        EXPECT_EQ(std::memcmp(span.data, bytes.data() + span.start,
                              static_cast<size_t>(span.size)),
                  0);
      }
    }
  }
}

TEST_F(PayloadAssemblyTest, TheFirstElementThatIsNotFiniteIsFound) {
  values_[12'345] = std::numeric_limits<float>::infinity();
  values_[12'346] = std::nanf("");
  PayloadAssembly payload = Make();
  ASSERT_TRUE(payload.AddFirst(Bytes(0, 12'345 * 4 + 1)).ok());
  ASSERT_TRUE(payload.Add(Bytes(12'345 * 4 + 1, kBytes)).ok());
  payload.Scan();
  EXPECT_EQ(payload.scan().first_non_finite(), 12'345);
}

TEST_F(PayloadAssemblyTest, MoreThanExpectedIsRefusedAtOnce) {
  PayloadAssembly payload = Make();
  ASSERT_TRUE(payload.AddFirst(Bytes(0, kBytes)).ok());
  const absl::Status status = payload.Add(Bytes(0, 4));
  EXPECT_EQ(ReasonOf(status), Reason::kWrongShape);
  EXPECT_EQ(status.message(),
            "gradient for model \"m\": at least 160004 bytes, want 160000");
}

TEST_F(PayloadAssemblyTest, OnlyTheLastChunkMayBeSmall) {
  PayloadAssembly small = Make();
  ASSERT_TRUE(small.AddFirst(Bytes(0, 100)).ok());  // came with the header
  EXPECT_EQ(ReasonOf(small.Add(Bytes(100, 100 + kMinChunkBytes - 1))),
            Reason::kWrongShape);

  PayloadAssembly empty = Make();
  ASSERT_TRUE(empty.AddFirst({}).ok());
  EXPECT_EQ(ReasonOf(empty.Add({})), Reason::kWrongShape);

  // An empty last message is a last message, and only one can be that.
  PayloadAssembly trailing = Make();
  ASSERT_TRUE(trailing.AddFirst(Bytes(0, kBytes)).ok());
  EXPECT_TRUE(trailing.Add({}).ok());
  EXPECT_EQ(ReasonOf(trailing.Add({})), Reason::kWrongShape);
}

TEST_F(PayloadAssemblyTest, LessThanExpectedIsPartial) {
  PayloadAssembly payload = Make(Hash());
  ASSERT_TRUE(payload.AddFirst(Bytes(0, kBytes - 1)).ok());
  const absl::Status status = payload.Finish();
  EXPECT_EQ(ReasonOf(status), Reason::kPartial);
  EXPECT_EQ(status.message(),
            "gradient for model \"m\": the stream ended after 159999 bytes, "
            "want 160000");
}

TEST_F(PayloadAssemblyTest, AnotherChecksumIsRefused) {
  PayloadAssembly payload = Make(Hash() + 1);
  ASSERT_TRUE(payload.AddFirst(Bytes(0, kBytes)).ok());
  EXPECT_EQ(ReasonOf(payload.Finish()), Reason::kChecksum);
}

}  // namespace
}  // namespace accrue
