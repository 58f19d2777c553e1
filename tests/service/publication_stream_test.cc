#include "server/service/publication_stream.h"

#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace accrue {
namespace {

class PublicationStreamTest : public testing::Test {
 protected:
  // A publication without groups, that tells when it goes.
  std::shared_ptr<const Publication> MakePublication() {
    return std::make_shared<const Publication>(
        Publication::Facts(), nullptr,
        std::vector<std::shared_ptr<GroupBuffer>>(), [this] { ++released_; });
  }

  static Publication::Range RangeOf(const std::string& bytes) {
    return {reinterpret_cast<const std::byte*>(bytes.data()),
            static_cast<int64_t>(bytes.size())};
  }

  int released_ = 0;
};

TEST_F(PublicationStreamTest, CutsRangesIntoChunks) {
  constexpr auto kChunk = static_cast<size_t>(PublicationStream::kChunkBytes);
  for (const size_t total :
       {size_t{0}, size_t{1}, kChunk - 1, kChunk, kChunk + 1, 3 * kChunk}) {
    for (const size_t cut : {size_t{0}, size_t{3}, total / 2, total}) {
      if (cut > total) continue;
      std::string bytes(total, '\0');
      for (size_t i = 0; i < total; ++i) bytes[i] = static_cast<char>(i % 251);
      const std::string first = bytes.substr(0, cut);
      const std::string second = bytes.substr(cut);
      PublicationStream stream(MakePublication(),
                               {RangeOf(first), RangeOf(second)});
      EXPECT_EQ(stream.total_bytes(), static_cast<int64_t>(total));
      std::string sent;
      while (!stream.done()) {
        size_t size = 0;
        for (const grpc::Slice& slice : stream.Next()) {
          sent.append(reinterpret_cast<const char*>(slice.begin()),
                      slice.size());
          size += slice.size();
        }
        EXPECT_TRUE(size == kChunk || stream.done());
      }
      EXPECT_TRUE(sent == bytes) << total << " bytes cut at " << cut;
    }
  }
}

TEST_F(PublicationStreamTest, SlicesPointIntoThePublicationAndHoldIt) {
  const std::string bytes(5000, 'x');
  auto stream = std::make_unique<PublicationStream>(
      MakePublication(), std::vector{RangeOf(bytes)});
  const std::weak_ptr<const void> hold = stream->hold();
  std::vector<grpc::Slice> slices = stream->Next();
  ASSERT_EQ(slices.size(), 1U);
  EXPECT_EQ(reinterpret_cast<const char*>(slices[0].begin()), bytes.data());
  stream.reset();
  grpc::Slice copy = slices[0];
  slices.clear();
  EXPECT_EQ(released_, 0);
  EXPECT_FALSE(hold.expired());
  copy = grpc::Slice();
  EXPECT_EQ(released_, 1);
  EXPECT_TRUE(hold.expired());
}

}  // namespace
}  // namespace accrue
