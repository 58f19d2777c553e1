#include "server/service/raw_message.h"

#include <algorithm>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/v1/worker_service.pb.h"

namespace accrue {
namespace {

// A message cut into slices of `piece` bytes.
grpc::ByteBuffer Cut(const std::string& bytes, size_t piece) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += piece) {
    slices.emplace_back(bytes.substr(at, piece));
  }
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Bytes(const ByteChain& chain) {
  std::string bytes;
  for (const ByteChain::Span& span : chain.spans()) {
    bytes.append(reinterpret_cast<const char*>(span.data),
                 static_cast<size_t>(span.size));
  }
  return bytes;
}

std::string Bytes(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  EXPECT_TRUE(buffer.Dump(&slices).ok());
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

v1::PushHeader Header() {
  v1::PushHeader header;
  header.set_model("mnist");
  header.set_session_id("0123456789abcdef0123456789abcdef");
  header.set_sequence(300);
  header.set_encoding(v1::ENCODING_F32);
  header.set_weight(1.5);
  return header;
}

std::string Pattern(size_t size) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + 3);
  return bytes;
}

constexpr size_t kPieces[] = {1, 2, 3, 7, 23, 24, 64, 1000, 1 << 20};

TEST(RawMessageTest, ReadsWhatAStubWritesHoweverItIsCut) {
  for (const size_t chunk_size : {0, 1, 3, 15, 16, 17, 127, 128, 20'011}) {
    v1::PushRequest request;
    *request.mutable_header() = Header();
    request.set_chunk(Pattern(chunk_size));
    const std::string bytes = request.SerializeAsString();
    for (const size_t piece : kPieces) {
      grpc::ByteBuffer buffer = Cut(bytes, piece);
      const auto message = ParseRawMessage(&buffer);
      ASSERT_TRUE(message.ok()) << message.status();
      EXPECT_EQ(buffer.Length(), 0U);
      v1::PushHeader header;
      ASSERT_TRUE(message->header.has_value());
      ASSERT_TRUE(header.ParseFromString(*message->header));
      EXPECT_EQ(header.SerializeAsString(), Header().SerializeAsString());
      EXPECT_EQ(Bytes(message->chunk), request.chunk())
          << chunk_size << " bytes cut every " << piece;
    }
  }
}

TEST(RawMessageTest, AMessageWithoutHeaderHasNone) {
  v1::PushRequest request;
  request.set_chunk("abc");
  grpc::ByteBuffer buffer = Cut(request.SerializeAsString(), 100);
  const auto message = ParseRawMessage(&buffer);
  ASSERT_TRUE(message.ok());
  EXPECT_FALSE(message->header.has_value());
  EXPECT_EQ(Bytes(message->chunk), "abc");
}

TEST(RawMessageTest, AnEmptyMessageIsOne) {
  grpc::ByteBuffer buffer = Cut("", 1);
  const auto message = ParseRawMessage(&buffer);
  ASSERT_TRUE(message.ok());
  EXPECT_FALSE(message->header.has_value());
  EXPECT_EQ(message->chunk.size_bytes(), 0);
}

TEST(RawMessageTest, AnEmptyHeaderIsAHeader) {
  grpc::ByteBuffer buffer = Cut(std::string("\x0a\x00", 2), 1);
  const auto message = ParseRawMessage(&buffer);
  ASSERT_TRUE(message.ok());
  EXPECT_TRUE(message->header.has_value());
}

// Fields of other numbers and wire types, as a later version of the API may
// add them: 1 (varint), 3 (varint), 4 (fixed64), 5 (bytes), 6 (a group with
// a group in it), 7 (fixed32).
TEST(RawMessageTest, SkipsUnknownFieldsAnywhere) {
  const std::string unknown[] = {
      std::string("\x08\x96\x01", 3),
      std::string("\x18\xff\xff\x03", 4),
      std::string("\x21") + "12345678",
      std::string("\x2a\x03", 2) + "xyz",
      std::string("\x33\x18\x01\x33\x34\x34", 6),
      std::string("\x3d") + "1234",
  };
  const std::string header = "\x0a\x07\x0a\x05mnist";
  const std::string chunk =
      "\x12\x05"
      "12345";
  for (const std::string& first : unknown) {
    for (const std::string& second : unknown) {
      for (const bool header_first : {true, false}) {
        const std::string bytes = first + (header_first ? header : chunk) +
                                  second + (header_first ? chunk : header) +
                                  first;
        for (const size_t piece : {1, 2, 5, 1000}) {
          grpc::ByteBuffer buffer = Cut(bytes, piece);
          const auto message = ParseRawMessage(&buffer);
          ASSERT_TRUE(message.ok()) << message.status();
          EXPECT_EQ(message->header, header.substr(2));
          EXPECT_EQ(Bytes(message->chunk), "12345");
        }
      }
    }
  }
}

TEST(RawMessageTest, LaterFieldsCountAsInAnyParser) {
  const std::string bytes = std::string(
                                "\x12\x03"
                                "abc") +
                            "\x0a\x03\x0a\x01"
                            "x" +
                            std::string(
                                "\x12\x02"
                                "de") +
                            "\x0a\x02\x18\x05";
  grpc::ByteBuffer buffer = Cut(bytes, 3);
  const auto message = ParseRawMessage(&buffer);
  ASSERT_TRUE(message.ok()) << message.status();
  EXPECT_EQ(Bytes(message->chunk), "de");
  v1::PushHeader header;
  ASSERT_TRUE(header.ParseFromString(*message->header));
  EXPECT_EQ(header.model(), "x");
  EXPECT_EQ(header.sequence(), 5);
}

TEST(RawMessageTest, RefusesWhatIsNoMessage) {
  const std::string malformed[] = {
      "\x0a",  // no length
      "\x0a\x05"
      "abc",                       // shorter than its length
      "\x12\xff\xff\xff\xff\x0f",  // 4 GiB that are not there
      std::string("\x00\x00", 2),  // field 0
      "\x0f",                      // wire type 7
      "\x1b\x18\x01",              // a group without end
      "\x1c",                      // an end without group
      "\x19"
      "1234567",                 // fixed64 of 7 bytes
      std::string(11, '\xff'),   // a varint without end
      std::string(500, '\x1b'),  // groups, too deep
  };
  for (const std::string& bytes : malformed) {
    for (const size_t piece : {1, 3, 1000}) {
      grpc::ByteBuffer buffer = Cut(bytes, piece);
      EXPECT_EQ(ParseRawMessage(&buffer).status().code(),
                absl::StatusCode::kInvalidArgument)
          << testing::PrintToString(bytes);
    }
  }
}

// Whatever protobuf's own parser takes is taken, with the same fields.
TEST(RawMessageTest, AgreesWithProtobufOnDamagedMessages) {
  const uint32_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937 random(seed);
  v1::PushRequest request;
  *request.mutable_header() = Header();
  request.set_chunk(Pattern(40));
  const std::string intact = request.SerializeAsString();
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = intact;
    for (uint32_t n = random() % 3 + 1; n > 0; --n) {
      // The header's inside is left alone: it is parsed by protobuf anyway.
      const size_t header_end = intact.size() - 42;
      const size_t at =
          random() % 3 == 0 ? random() % 2 : header_end + random() % 42;
      bytes[at] = static_cast<char>(random());
    }
    if (random() % 4 == 0) bytes.resize(random() % (bytes.size() + 1));
    v1::PushRequest expected;
    const bool valid = expected.ParseFromString(bytes);
    grpc::ByteBuffer buffer = Cut(bytes, random() % 50 + 1);
    const auto message = ParseRawMessage(&buffer);
    v1::PushHeader header;
    const bool ours =
        message.ok() && (!message->header.has_value() ||
                         header.ParseFromString(*message->header));
    ASSERT_EQ(ours, valid) << testing::PrintToString(bytes);
    if (!valid) continue;
    ASSERT_EQ(Bytes(message->chunk), expected.chunk());
    ASSERT_EQ(message->header.has_value(), expected.has_header());
    ASSERT_EQ(header.SerializeAsString(),
              expected.header().SerializeAsString());
  }
}

TEST(RawMessageTest, TheChunkIsNotCopiedAndHoldsItsSlices) {
  // Each slice tells when it is let go.
  struct Memory {
    std::string bytes;
    int released = 0;
  };
  Memory memory{.bytes = std::string("\x12\x90\x4e") + Pattern(10'000)};
  constexpr size_t kCut = 4'000;
  const auto slice = [&](size_t at, size_t size) {
    return grpc::Slice(
        memory.bytes.data() + at, size,
        [](void* arg) { ++static_cast<Memory*>(arg)->released; }, &memory);
  };
  grpc::ByteBuffer buffer;
  {
    const grpc::Slice slices[] = {slice(0, kCut),
                                  slice(kCut, memory.bytes.size() - kCut)};
    buffer = grpc::ByteBuffer(slices, 2);
  }
  auto message = ParseRawMessage(&buffer);
  ASSERT_TRUE(message.ok()) << message.status();
  ASSERT_EQ(message->chunk.span_count(), 2);
  EXPECT_EQ(reinterpret_cast<const char*>(message->chunk.spans()[0].data),
            memory.bytes.data() + 3);
  EXPECT_EQ(reinterpret_cast<const char*>(message->chunk.spans()[1].data),
            memory.bytes.data() + kCut);
  EXPECT_EQ(memory.released, 0);
  message->chunk.RemovePrefix(kCut - 3);
  EXPECT_EQ(memory.released, 1);
  message->chunk.Clear();
  EXPECT_EQ(memory.released, 2);
}

TEST(RawMessageTest, AStubReadsWhatIsMade) {
  v1::PullHeader header;
  header.set_payload_bytes(300);
  header.mutable_version()->set_number(7);
  const std::string header_bytes = header.SerializeAsString();
  for (const bool with_header : {true, false}) {
    for (const size_t size : {0, 1, 127, 128, 300, 70'000}) {
      const std::string payload = Pattern(size);
      std::vector<grpc::Slice> chunk;
      chunk.emplace_back(payload.substr(0, size / 3));
      chunk.emplace_back(payload.substr(size / 3));
      const grpc::ByteBuffer buffer = MakeRawMessage(
          with_header ? &header_bytes : nullptr, std::move(chunk));
      v1::PullResponse response;
      ASSERT_TRUE(response.ParseFromString(Bytes(buffer)));
      EXPECT_EQ(response.has_header(), with_header);
      EXPECT_EQ(response.chunk(), payload);
      if (with_header) {
        EXPECT_EQ(response.header().version().number(), 7);
      }
    }
  }
}

}  // namespace
}  // namespace accrue
