#include "accrue/payload.h"

#include <bit>

namespace accrue::client {

static_assert(std::endian::native == std::endian::little,
              "payloads are sent as they lie in memory: little-endian");

Payload::Payload(absl::Span<const float> flat) : Payload(Encoding::kF32) {
  Add(flat.data(), flat.size() * sizeof(float));
}

Payload::Payload(absl::Span<const absl::Span<const float>> parts)
    : Payload(Encoding::kF32) {
  for (const auto part : parts) Add(part.data(), part.size() * sizeof(float));
}

Payload::Payload(const std::vector<float>& flat)
    : Payload(absl::MakeConstSpan(flat)) {}

Payload::Payload(const std::vector<std::vector<float>>& parts)
    : Payload(Encoding::kF32) {
  for (const auto& part : parts) Add(part.data(), part.size() * sizeof(float));
}

Payload::Payload(const std::vector<absl::Span<const float>>& parts)
    : Payload(absl::MakeConstSpan(parts)) {}

Payload Payload::Encoded(Encoding encoding, absl::Span<const uint16_t> flat) {
  Payload payload(encoding);
  payload.Add(flat.data(), flat.size() * sizeof(uint16_t));
  return payload;
}

Payload Payload::Encoded(Encoding encoding, absl::Span<const Part> parts) {
  Payload payload(encoding);
  for (const Part part : parts) payload.Add(part.data(), part.size());
  return payload;
}

void Payload::Add(const void* data, size_t size_bytes) {
  if (size_bytes == 0) return;
  parts_.emplace_back(static_cast<const std::byte*>(data), size_bytes);
  size_bytes_ += static_cast<int64_t>(size_bytes);
}

PayloadBuffer::PayloadBuffer(absl::Span<float> flat)
    : PayloadBuffer(Encoding::kF32) {
  Add(flat.data(), flat.size() * sizeof(float));
}

PayloadBuffer::PayloadBuffer(absl::Span<const absl::Span<float>> parts)
    : PayloadBuffer(Encoding::kF32) {
  for (const auto part : parts) Add(part.data(), part.size() * sizeof(float));
}

PayloadBuffer::PayloadBuffer(std::vector<float>* flat)
    : PayloadBuffer(absl::MakeSpan(*flat)) {}

PayloadBuffer::PayloadBuffer(std::vector<std::vector<float>>* parts)
    : PayloadBuffer(Encoding::kF32) {
  for (auto& part : *parts) Add(part.data(), part.size() * sizeof(float));
}

PayloadBuffer PayloadBuffer::Encoded(Encoding encoding,
                                     absl::Span<uint16_t> flat) {
  PayloadBuffer buffer(encoding);
  buffer.Add(flat.data(), flat.size() * sizeof(uint16_t));
  return buffer;
}

PayloadBuffer PayloadBuffer::Encoded(Encoding encoding,
                                     absl::Span<const Part> parts) {
  PayloadBuffer buffer(encoding);
  for (const Part part : parts) buffer.Add(part.data(), part.size());
  return buffer;
}

void PayloadBuffer::Add(void* data, size_t size_bytes) {
  if (size_bytes == 0) return;
  parts_.emplace_back(static_cast<std::byte*>(data), size_bytes);
  size_bytes_ += static_cast<int64_t>(size_bytes);
}

}  // namespace accrue::client
