// Payload, PayloadBuffer: views of the caller's memory that are sent from and
// received into, without a copy in between.
//
//   std::vector<float> flat(model.parameter_count());
//   worker.Push(flat, options);                 // one array for the model
//   std::vector<std::vector<float>> tensors;    // or one array a tensor
//   worker.Push(tensors, options);
//   worker.Push(Payload::Encoded(Encoding::kBf16, half_words), options);
//
// Shapes.    the model's tensors in the spec's order, row-major, no padding; in
//            one part or in as many as the caller likes, cut anywhere (one a
//            tensor is usual). With a tensor filter: only those tensors.
// Units.     elements are little-endian, which the host must be
// Memory.    not owned: the caller keeps it alive, and leaves it alone, until
//            the call that got the view returns (PushAsync: until the push is
//            waited for)
// Threading. immutable

#ifndef ACCRUE_CLIENT_PAYLOAD_H_
#define ACCRUE_CLIENT_PAYLOAD_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "accrue/spec.h"

namespace accrue::client {

class Payload {
 public:
  using Part = absl::Span<const std::byte>;

  // Single precision. NOLINTs: the conversions are meant to be implicit.
  Payload(absl::Span<const float> flat);                       // NOLINT
  Payload(absl::Span<const absl::Span<const float>> parts);    // NOLINT
  Payload(const std::vector<float>& flat);                     // NOLINT
  Payload(const std::vector<std::vector<float>>& parts);       // NOLINT
  Payload(const std::vector<absl::Span<const float>>& parts);  // NOLINT

  // BF16 or F16, as 16-bit words.
  static Payload Encoded(Encoding encoding, absl::Span<const uint16_t> flat);
  // Any encoding, as bytes, which parts may cut anywhere.
  static Payload Encoded(Encoding encoding, absl::Span<const Part> parts);

  Encoding encoding() const { return encoding_; }
  absl::Span<const Part> parts() const { return parts_; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  explicit Payload(Encoding encoding) : encoding_(encoding) {}
  void Add(const void* data, size_t size_bytes);

  Encoding encoding_;
  std::vector<Part> parts_;  // none empty
  int64_t size_bytes_ = 0;
};

class PayloadBuffer {
 public:
  using Part = absl::Span<std::byte>;

  // Single precision.
  PayloadBuffer(absl::Span<float> flat);                     // NOLINT
  PayloadBuffer(absl::Span<const absl::Span<float>> parts);  // NOLINT
  PayloadBuffer(std::vector<float>* flat);                   // NOLINT
  PayloadBuffer(std::vector<std::vector<float>>* parts);     // NOLINT

  // BF16 or F16, as 16-bit words.
  static PayloadBuffer Encoded(Encoding encoding, absl::Span<uint16_t> flat);
  // Any encoding, as bytes.
  static PayloadBuffer Encoded(Encoding encoding, absl::Span<const Part> parts);

  Encoding encoding() const { return encoding_; }
  absl::Span<const Part> parts() const { return parts_; }
  int64_t size_bytes() const { return size_bytes_; }

 private:
  explicit PayloadBuffer(Encoding encoding) : encoding_(encoding) {}
  void Add(void* data, size_t size_bytes);

  Encoding encoding_;
  std::vector<Part> parts_;  // none empty
  int64_t size_bytes_ = 0;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_PAYLOAD_H_
