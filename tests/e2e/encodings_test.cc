// Pushes in INT8 and TOPK against the real daemon: they fold as the floats that
// they stand for, and what their encodings do not allow changes nothing.
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/twin.h"
#include "tests/e2e/twin_fixture.h"
#include "tests/e2e/wire.h"

namespace accrue {
namespace {

using Detail = v1::ErrorDetail;
using grpc::StatusCode;

constexpr int64_t kElems = Twin::kElems;
constexpr int64_t kBlock = 1024;
constexpr int64_t kMostPairs = kElems / 2;

template <typename T>
void Append(std::string& bytes, T value) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// A gradient as it is sent, and the floats that it stands for.
struct Encoded {
  v1::Encoding encoding;
  std::string payload = {};
  std::vector<float> floats = std::vector<float>(kElems);
};

Encoded Int8(int64_t seed) {
  Encoded made = {v1::ENCODING_INT8};
  float scale = 0;
  for (int64_t i = 0; i < kElems; ++i) {
    if (i % kBlock == 0) {
      scale = 0.01f * static_cast<float>(seed + i / kBlock);
      Append(made.payload, scale);
    }
    const auto value = static_cast<int8_t>(i * 37 + seed);
    Append(made.payload, value);
    made.floats[static_cast<size_t>(i)] = scale * static_cast<float>(value);
  }
  return made;
}

Encoded TopK(int64_t seed) {
  Encoded made = {v1::ENCODING_TOPK};
  for (int64_t i = seed; i < kElems; i += 3 + i % 97) {
    const float value = std::sin(static_cast<float>(i + seed));
    Append(made.payload, static_cast<uint32_t>(i));
    Append(made.payload, value);
    made.floats[static_cast<size_t>(i)] = value;
  }
  return made;
}

class EncodingsTest : public TwinTest {};

INSTANTIATE_TEST_SUITE_P(States, EncodingsTest,
                         testing::ValuesIn(Twin::States()),
                         [](const auto& info) { return info.param.name; });

TEST_P(EncodingsTest, FoldAsTheFloatsThatTheyStandFor) {
  wire_->Make(GetParam().spec("encoded"));
  wire_->Make(GetParam().spec("floats"));
  const std::string encoded = wire_->Open("encoded", "w");
  const std::string floats = wire_->Open("floats", "w");
  for (int64_t i = 1; i <= 2 * Twin::kCycle; ++i) {
    const Encoded push = i % 2 == 0 ? Int8(i) : TopK(i);
    const v1::PushHeader plain =
        wire_->Header("floats", floats, i, push.floats);
    ASSERT_TRUE(wire_->Push(plain, FloatBytes(push.floats)).status.ok());
    v1::PushHeader header = wire_->Header("encoded", encoded, i, push.floats);
    header.set_encoding(push.encoding);
    header.set_payload_bytes(static_cast<int64_t>(push.payload.size()));
    const Ending ending =
        wire_->Push(header, push.payload, nullptr, Twin::kChunk);
    ASSERT_TRUE(ending.status.ok()) << ending.status.error_message();
    EXPECT_TRUE(wire_->Parameters("encoded") == wire_->Parameters("floats"))
        << "after push " << i;
  }
}

TEST_P(EncodingsTest, WhatTheyDoNotAllowIsRefused) {
  Twin twin(*wire_, GetParam());
  const float nan = std::nanf("");
  const float infinity = std::numeric_limits<float>::infinity();
  const std::string scaled = Int8(1).payload;
  const std::string pairs = TopK(1).payload;
  const auto with = [](std::string payload, size_t at, auto value) {
    std::memcpy(payload.data() + at, &value, sizeof(value));
    return payload;
  };
  const auto second_scale = [&](float scale) {
    return with(scaled, 4 + kBlock, scale);
  };
  const auto third_index = [&](uint32_t index) {
    return with(pairs, 16, index);
  };
  uint32_t second = 0;
  std::memcpy(&second, pairs.data() + 8, sizeof(second));
  struct Row {
    const char* name;
    v1::Encoding encoding;
    std::string payload;
    Detail::Reason reason;
  };
  const std::vector<Row> rows = {
      {"negative scale", v1::ENCODING_INT8, second_scale(-1),
       Detail::REASON_WRONG_SHAPE},
      {"NaN scale", v1::ENCODING_INT8, second_scale(nan),
       Detail::REASON_NON_FINITE},
      {"infinite scale", v1::ENCODING_INT8, second_scale(infinity),
       Detail::REASON_NON_FINITE},
      {"scale whose products overflow", v1::ENCODING_INT8, second_scale(3e38f),
       Detail::REASON_NON_FINITE},
      {"int8 too short", v1::ENCODING_INT8, scaled.substr(0, scaled.size() - 1),
       Detail::REASON_WRONG_SHAPE},
      {"int8 too long", v1::ENCODING_INT8, scaled + '\0',
       Detail::REASON_WRONG_SHAPE},
      {"int8 without scales", v1::ENCODING_INT8,
       std::string(static_cast<size_t>(kElems), '\1'),
       Detail::REASON_WRONG_SHAPE},
      {"duplicate index", v1::ENCODING_TOPK, third_index(second),
       Detail::REASON_WRONG_SHAPE},
      {"descending index", v1::ENCODING_TOPK, third_index(second - 1),
       Detail::REASON_WRONG_SHAPE},
      {"index out of range", v1::ENCODING_TOPK,
       with(pairs, pairs.size() - 8, uint32_t{kElems}),
       Detail::REASON_WRONG_SHAPE},
      {"largest index", v1::ENCODING_TOPK, third_index(0xffffffff),
       Detail::REASON_WRONG_SHAPE},
      {"NaN value", v1::ENCODING_TOPK, with(pairs, 20, nan),
       Detail::REASON_NON_FINITE},
      {"value that cannot be squared", v1::ENCODING_TOPK,
       with(pairs, 20, 0x1p64f), Detail::REASON_NON_FINITE},
      {"half a pair", v1::ENCODING_TOPK, pairs.substr(0, pairs.size() - 4),
       Detail::REASON_WRONG_SHAPE},
      {"no pair", v1::ENCODING_TOPK, "", Detail::REASON_WRONG_SHAPE},
      {"as many pairs as there may be, all of one element", v1::ENCODING_TOPK,
       std::string(static_cast<size_t>(kMostPairs * 8), '\0'),
       Detail::REASON_WRONG_SHAPE},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(row.name);
    v1::PushHeader header = twin.Next();
    header.set_encoding(row.encoding);
    header.set_payload_bytes(static_cast<int64_t>(row.payload.size()));
    ExpectRefused(wire_->Push(header, row.payload, nullptr, Twin::kChunk),
                  StatusCode::INVALID_ARGUMENT, row.reason);
  }
  twin.ExpectUntouched();
}

TEST_P(EncodingsTest, ParametersAreNotSentInThem) {
  Twin twin(*wire_, GetParam());
  ASSERT_TRUE(wire_->Create(GetParam().spec("empty")).status.ok());
  for (const v1::Encoding encoding : {v1::ENCODING_INT8, v1::ENCODING_TOPK}) {
    {
      BoundedContext context;
      v1::PullRequest request;
      request.set_model(Twin::kModel);
      request.set_encoding(encoding);
      auto reader = wire_->workers().Pull(&context, request);
      v1::PullResponse response;
      EXPECT_FALSE(reader->Read(&response));
      ExpectRefused(EndOf(reader->Finish(), context),
                    StatusCode::INVALID_ARGUMENT, Detail::REASON_UNSPECIFIED);
    }
    BoundedContext context;
    v1::InitializeModelResponse response;
    auto writer = wire_->models().InitializeModel(&context, &response);
    v1::InitializeModelRequest request;
    request.mutable_header()->set_model("empty");
    request.mutable_header()->set_encoding(encoding);
    const Encoded values = encoding == v1::ENCODING_INT8 ? Int8(1) : TopK(1);
    request.mutable_header()->set_payload_bytes(
        static_cast<int64_t>(values.payload.size()));
    request.set_chunk(values.payload);
    writer->Write(request);
    writer->WritesDone();
    ExpectRefused(EndOf(writer->Finish(), context),
                  StatusCode::INVALID_ARGUMENT, Detail::REASON_UNSPECIFIED);
    EXPECT_EQ(wire_->Describe("empty").state(), v1::Model::STATE_UNINITIALIZED);
  }
  ASSERT_TRUE(wire_->Delete("empty").status.ok());
  twin.ExpectUntouched();
}

// Memory was set aside for pushes in F32: of what takes more, none would ever
// come free.
TEST_P(EncodingsTest, PairsTakeNoMoreThanF32) {
  Twin twin(*wire_, GetParam());
  const auto push = [&](int64_t pairs, const v1::PushHeader& next) {
    std::string payload;
    for (int64_t i = 0; i < pairs; ++i) {
      Append(payload, static_cast<uint32_t>(2 * i));
      Append(payload, 1.0f);
    }
    v1::PushHeader header = next;
    header.set_encoding(v1::ENCODING_TOPK);
    header.set_payload_bytes(static_cast<int64_t>(payload.size()));
    return wire_->Push(header, payload, nullptr, Twin::kChunk);
  };
  for (const int64_t pairs : {kMostPairs + 1, kElems}) {
    const Ending refused = push(pairs, twin.Next());
    ExpectRefused(refused, StatusCode::INVALID_ARGUMENT,
                  Detail::REASON_WRONG_SHAPE);
    EXPECT_EQ(refused.status.error_message(),
              "gradient for model \"model\": " + std::to_string(8 * pairs) +
                  " bytes of pairs, want 8 to " +
                  std::to_string(8 * kMostPairs) +
                  " in steps of 8: no more than in F32");
  }
  twin.ExpectUntouched();
  EXPECT_TRUE(push(kMostPairs, twin.Next()).status.ok());
}

}  // namespace
}  // namespace accrue
