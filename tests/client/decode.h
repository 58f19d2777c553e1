// DecodePayload: the floats that a payload stands for, by the definition of its
// encoding in proto/accrue/v1/model.proto.

#ifndef ACCRUE_TESTS_CLIENT_DECODE_H_
#define ACCRUE_TESTS_CLIENT_DECODE_H_

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include "accrue/spec.h"

namespace accrue::client {

inline float DecodeF16(uint16_t half) {
  const float sign = (half & 0x8000) != 0 ? -1.0f : 1.0f;
  const int exponent = (half >> 10) & 0x1f;
  const auto fraction = static_cast<float>(half & 0x3ff);
  if (exponent == 0x1f) {
    return fraction == 0 ? sign * std::numeric_limits<float>::infinity()
                         : std::numeric_limits<float>::quiet_NaN();
  }
  return exponent == 0 ? sign * std::ldexp(fraction, -24)
                       : sign * std::ldexp(fraction + 1024, exponent - 25);
}

inline std::vector<float> DecodePayload(Encoding encoding,
                                        const std::string& payload,
                                        size_t count) {
  std::vector<float> x(count);
  const char* at = payload.data();
  const auto next = [&at](auto value) {
    std::memcpy(&value, at, sizeof(value));
    at += sizeof(value);
    return value;
  };
  if (encoding == Encoding::kTopK) {
    while (at != payload.data() + payload.size()) {
      const uint32_t index = next(uint32_t{});
      x.at(index) = next(float{});
    }
    return x;
  }
  float scale = 0;
  for (size_t i = 0; i < count; ++i) {
    switch (encoding) {
      case Encoding::kBf16:
        x[i] = std::bit_cast<float>(uint32_t{next(uint16_t{})} << 16);
        break;
      case Encoding::kF16:
        x[i] = DecodeF16(next(uint16_t{}));
        break;
      case Encoding::kInt8:
        if (i % 1024 == 0) scale = next(float{});
        x[i] = scale * static_cast<float>(next(int8_t{}));
        break;
      default:
        x[i] = next(float{});
    }
  }
  return x;
}

}  // namespace accrue::client

#endif  // ACCRUE_TESTS_CLIENT_DECODE_H_
