#include "client/cpp/src/chunk_stream.h"

#include <string>
#include <vector>
#include <xxhash.h>

#include <grpcpp/support/proto_buffer_reader.h>
#include <gtest/gtest.h>

#include "accrue/v1/worker_service.pb.h"

namespace accrue::client::internal {
namespace {

std::vector<std::byte> Pattern(size_t size) {
  std::vector<std::byte> bytes(size);
  // A prime period: no two chunks look alike.
  for (size_t i = 0; i < size; ++i) bytes[i] = std::byte(i % 251);
  return bytes;
}

// A payload of these bytes, cut into parts of the given sizes, in turn.
Payload Cut(const std::vector<std::byte>& bytes,
            const std::vector<size_t>& sizes) {
  std::vector<Payload::Part> parts;
  size_t start = 0;
  for (size_t i = 0; start < bytes.size(); ++i) {
    const size_t size = std::min(sizes[i % sizes.size()], bytes.size() - start);
    parts.emplace_back(bytes.data() + start, size);
    start += size;
  }
  return Payload::Encoded(Encoding::kF32, parts);
}

v1::PushRequest Parse(grpc::ByteBuffer message) {
  v1::PushRequest request;
  grpc::ProtoBufferReader reader(&message);
  EXPECT_TRUE(request.ParseFromZeroCopyStream(&reader));
  return request;
}

TEST(ChunkStreamTest, MessagesAreTheApisWhateverTheCut) {
  v1::PushHeader header;
  header.set_model("m");
  header.set_payload_bytes(1);
  const std::vector<std::vector<size_t>> kParts = {
      {1 << 30}, {1}, {3, 50'000, 8191, 8192, 1}, {8192}, {65'536, 7}};
  constexpr int64_t kChunk = 64 << 10;
  for (const int64_t size :
       std::vector<int64_t>{0, 1, 8191, 8192, kChunk - 1, kChunk, kChunk + 1,
                            3 * kChunk, 300'007}) {
    const std::vector<std::byte> bytes = Pattern(size);
    for (const auto& parts : kParts) {
      const Payload payload = Cut(bytes, parts);
      ChunkStream chunks(payload, header.SerializeAsString(), kChunk);
      std::string sent;
      int messages = 0;
      do {
        ASSERT_FALSE(chunks.done());
        const v1::PushRequest request = Parse(chunks.Next());
        EXPECT_EQ(request.has_header(), messages == 0);
        if (messages == 0) {
          EXPECT_EQ(request.header().model(), "m");
        }
        sent += request.chunk();
        ++messages;
        if (!chunks.done()) {
          EXPECT_EQ(request.chunk().size(), kChunk);
        }
      } while (!chunks.done());
      EXPECT_EQ(messages, std::max<int64_t>(1, (size + kChunk - 1) / kChunk));
      EXPECT_EQ(sent, std::string(reinterpret_cast<const char*>(bytes.data()),
                                  bytes.size()));
      EXPECT_EQ(chunks.held(), 0);
    }
  }
}

TEST(ChunkStreamTest, LargePiecesAreReferencedNotCopied) {
  const std::vector<std::byte> bytes = Pattern(1 << 20);
  const Payload payload = Cut(bytes, {1 << 20});
  ChunkStream chunks(payload, "", 256 << 10);
  int64_t start = 0;
  std::vector<grpc::ByteBuffer> messages;
  for (int i = 0; !chunks.done(); ++i) {
    messages.push_back(chunks.Next());
    EXPECT_EQ(chunks.held(), i + 1);
    std::vector<grpc::Slice> slices;
    ASSERT_TRUE(messages.back().Dump(&slices).ok());
    ASSERT_EQ(slices.size(), 2);
    EXPECT_EQ(static_cast<const void*>(slices[1].begin()),
              bytes.data() + start);
    start += slices[1].size();
  }
  // They are given back one by one, whoever else still refers to them.
  grpc::ByteBuffer copy = messages[0];
  messages.clear();
  EXPECT_EQ(chunks.held(), 1);
  copy.Clear();
  EXPECT_EQ(chunks.held(), 0);
}

TEST(ChunkStreamTest, TheFirstMessageIsOneThatCanWait) {
  const std::vector<std::byte> bytes = Pattern((2 << 20) + 1);
  const Payload payload = Cut(bytes, {bytes.size()});
  ChunkStream chunks(payload, "", 1 << 20);
  std::vector<int64_t> sizes;
  while (!chunks.done()) sizes.push_back(Parse(chunks.Next()).chunk().size());
  EXPECT_EQ(sizes, (std::vector<int64_t>{64 << 10, 1 << 20,
                                         (1 << 20) + 1 - (64 << 10)}));
}

TEST(ChunkStreamTest, TheChecksumIsThatOfTheWholePayload) {
  const std::vector<std::byte> bytes = Pattern(100'003);
  for (const size_t part : {size_t{1 << 20}, size_t{7}, size_t{4096}}) {
    EXPECT_EQ(Checksum(Cut(bytes, {part})),
              XXH3_64bits(bytes.data(), bytes.size()));
  }
}

}  // namespace
}  // namespace accrue::client::internal
