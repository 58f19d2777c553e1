#include "tests/fuzz/push_message.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <utility>

#include "server/ingest/admission.h"
#include "server/kernels/convert.h"
#include "server/kernels/payload_hash.h"
#include "server/service/convert.h"
#include "tests/fuzz/any_value.h"

namespace accrue::fuzz {
namespace {

using kernels::Encoding;

template <typename T>
void Append(const T& value, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

// The i-th of a payload's values: from -8 to 8, of the input's bytes, over and
// over.
class Values {
 public:
  explicit Values(FuzzedDataProvider& in)
      : bytes_(
            in.ConsumeBytesAsString(in.ConsumeIntegralInRange<size_t>(0, 32))) {
  }
  int8_t Byte(int64_t i) const {
    if (bytes_.empty()) return 16;
    return static_cast<int8_t>(bytes_[static_cast<size_t>(i) % bytes_.size()]);
  }
  float Float(int64_t i) const { return static_cast<float>(Byte(i)) / 16; }

 private:
  const std::string bytes_;
};

// Every `stride`-th element.
std::string Pairs(const Values& values, int64_t elems, int64_t stride) {
  std::string bytes;
  const int64_t most = kernels::PayloadBytesOf(Encoding::kTopK, elems).most /
                       kernels::kPairBytes;
  for (int64_t i = 0; i < elems && i / stride < most; i += stride) {
    Append(static_cast<uint32_t>(i), bytes);
    Append(values.Float(i), bytes);
  }
  return bytes;
}

std::string ModerateBytes(FuzzedDataProvider& in, Encoding encoding,
                          int64_t elems) {
  const Values values(in);
  if (encoding == Encoding::kTopK) {
    return Pairs(values, elems, in.ConsumeIntegralInRange<int64_t>(2, 9));
  }
  std::string bytes;
  std::vector<float> floats(static_cast<size_t>(elems));
  for (int64_t i = 0; i < elems; ++i) {
    if (encoding == Encoding::kInt8) {
      if (i % kernels::kScaledElems == 0) Append(1.0f / 16, bytes);
      Append(values.Byte(i), bytes);
    } else {
      floats[static_cast<size_t>(i)] = values.Float(i);
    }
  }
  if (encoding == Encoding::kInt8) return bytes;
  bytes.resize(static_cast<size_t>(elems * kernels::EncodedBytes(encoding)));
  kernels::Encode(floats.data(), elems, encoding,
                  reinterpret_cast<std::byte*>(bytes.data()));
  return bytes;
}

uint64_t HashOf(const std::string& bytes) {
  kernels::PayloadHash hash;
  hash.Update(reinterpret_cast<const std::byte*>(bytes.data()),
              static_cast<int64_t>(bytes.size()));
  return hash.Digest();
}

// How many bytes the next message has, of so many that are left.
size_t ChunkBytes(FuzzedDataProvider& in, size_t left) {
  constexpr size_t kLeast = kMinChunkBytes;
  constexpr size_t kSizes[] = {std::numeric_limits<size_t>::max(),
                               kLeast,
                               0,
                               1,
                               kLeast - 1,
                               kLeast + 1,
                               3};
  return std::min(left, kSizes[in.ConsumeIntegralInRange<size_t>(0, 6)]);
}

// Perhaps other bytes, in several slices.
Arriving Message(FuzzedDataProvider& in, const v1::PushRequest& request) {
  Arriving arriving;
  arriving.bytes = request.SerializeAsString();
  if (Changes(in) && !arriving.bytes.empty()) {
    const size_t at = in.ConsumeIntegralInRange<size_t>(
        0, std::min<size_t>(arriving.bytes.size() - 1, 200));
    const std::string other =
        in.ConsumeBytesAsString(in.ConsumeIntegralInRange<size_t>(0, 8));
    arriving.bytes.replace(at, in.ConsumeIntegralInRange<size_t>(0, 8), other);
  }
  while (Changes(in) && arriving.slices.size() < 4) {
    arriving.slices.push_back(in.ConsumeIntegralInRange<size_t>(0, 40));
  }
  return arriving;
}

}  // namespace

Payload MakePayload(FuzzedDataProvider& in, int64_t elems) {
  Payload payload;
  payload.encoding =
      static_cast<Encoding>(in.ConsumeIntegralInRange<int>(0, 4));
  if (!Changes(in)) {
    payload.bytes = ModerateBytes(in, payload.encoding, elems);
    return payload;
  }
  const auto size = kernels::PayloadBytesOf(payload.encoding, elems);
  payload.bytes = in.ConsumeBytesAsString(
      static_cast<size_t>(std::min<int64_t>(size.most, 128)));
  payload.bytes.resize(static_cast<size_t>(
      size.step * in.ConsumeIntegralInRange<int64_t>(size.least / size.step,
                                                     size.most / size.step)));
  return payload;
}

v1::PushHeader MakePushHeader(FuzzedDataProvider& in, const PushFactsNow& now,
                              const Payload& payload) {
  v1::PushHeader header;
  header.set_model(Changes(in) ? in.ConsumeBytesAsString(4) : now.model);
  header.set_session_id(now.session_id);
  header.set_sequence(AnyInteger(in, now.sequence));
  header.mutable_version()->set_lineage(now.version.lineage);
  header.mutable_version()->set_number(AnyInteger(in, now.version.number));
  header.set_encoding(ToApi(payload.encoding));
  header.set_payload_bytes(
      AnyInteger(in, static_cast<int64_t>(payload.bytes.size())));
  if (Changes(in)) header.set_micro_steps(AnyInteger(in, 2));
  if (Changes(in)) header.set_weight(AnyNumber(in, 2));
  if (Changes(in)) header.set_scale(AnyNumber(in, 8));
  if (Changes(in)) header.set_loss(AnyNumber(in, 1));
  if (Changes(in)) {
    header.set_checksum(static_cast<uint64_t>(
        AnyInteger(in, static_cast<int64_t>(HashOf(payload.bytes)))));
  }
  return header;
}

std::vector<Arriving> MakePush(FuzzedDataProvider& in,
                               const PushFactsNow& now) {
  const Payload payload = MakePayload(in, now.elems);
  v1::PushRequest request;
  *request.mutable_header() = MakePushHeader(in, now, payload);
  std::string left = payload.bytes;
  if (Changes(in)) left.resize(left.size() + in.ConsumeIntegral<uint8_t>());
  if (Changes(in)) left.resize(left.size() / 2);
  std::vector<Arriving> messages;
  do {
    const size_t size = ChunkBytes(in, left.size());
    request.set_chunk(left.substr(0, size));
    left.erase(0, size);
    messages.push_back(Message(in, request));
    request.Clear();
  } while (!left.empty() && messages.size() < 6);
  if (!Changes(in)) messages.push_back({.kind = Arriving::Kind::kEnd});
  return messages;
}

bool IsFinite(const Payload& payload, int64_t elems) {
  const auto* bytes = reinterpret_cast<const std::byte*>(payload.bytes.data());
  const auto finite_at = [&](size_t offset) {
    float x;
    std::memcpy(&x, bytes + offset, sizeof(x));
    return std::isfinite(x);
  };
  if (payload.encoding == Encoding::kTopK) {
    for (size_t at = 4; at < payload.bytes.size(); at += kernels::kPairBytes) {
      if (!finite_at(at)) return false;
    }
    return true;
  }
  if (payload.encoding == Encoding::kInt8) {
    constexpr size_t kBlock = kernels::kScaledElems + kernels::kScaleBytes;
    for (size_t at = 0; at < payload.bytes.size(); at += kBlock) {
      if (!finite_at(at)) return false;
    }
    return true;
  }
  std::vector<float> floats(static_cast<size_t>(elems));
  kernels::Decode(bytes, elems, payload.encoding, floats.data());
  return std::all_of(floats.begin(), floats.end(),
                     [](float x) { return std::isfinite(x); });
}

}  // namespace accrue::fuzz
