#include "tests/faults/gradient.h"

#include <cmath>
#include <cstring>
#include <random>

namespace accrue::faults {
namespace {

using client::Encoding;

// Of the kinds of floating-point numbers that travel.
struct Format {
  int mantissa_bits;
  int exponent_bits;
  size_t bytes;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
};

Format FormatOf(Encoding encoding) {
  switch (encoding) {
    case Encoding::kBf16:
      return {7, 8, 2};
    case Encoding::kF16:
      return {10, 5, 2};
    default:
      return {23, 8, 4};
  }
}

constexpr int kLowestExponent = -6;
constexpr uint32_t kExponents = 8;

uint32_t RandomWord(const Format& format, std::mt19937_64& random) {
  const uint64_t bits = random();
  const auto sign = static_cast<uint32_t>(bits >> 63);
  const auto exponent = static_cast<uint32_t>(format.bias() + kLowestExponent) +
                        static_cast<uint32_t>(bits >> 32) % kExponents;
  const auto mantissa = static_cast<uint32_t>(bits & 0xffffffff) &
                        ((1u << format.mantissa_bits) - 1);
  return (sign << (format.mantissa_bits + format.exponent_bits)) |
         (exponent << format.mantissa_bits) | mantissa;
}

// Of a word that is no zero, denormal, infinity or NaN.
float Number(const Format& format, uint32_t word) {
  const uint32_t one = 1u << format.mantissa_bits;
  const uint32_t exponents = (1u << format.exponent_bits) - 1;
  const auto exponent =
      static_cast<int>((word >> format.mantissa_bits) & exponents);
  const float magnitude =
      std::ldexp(static_cast<float>(one | (word & (one - 1))),
                 exponent - format.bias() - format.mantissa_bits);
  const bool negative =
      word >> (format.mantissa_bits + format.exponent_bits) != 0;
  return negative ? -magnitude : magnitude;
}

template <class Value>
void Append(Value value, std::vector<std::byte>& bytes) {
  const auto* const begin = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), begin, begin + sizeof(value));
}

}  // namespace

uint64_t MixSeed(uint64_t seed, uint64_t use) {
  std::seed_seq sequence = {seed & 0xffffffff, seed >> 32, use & 0xffffffff,
                            use >> 32};
  return std::mt19937_64(sequence)();
}

Gradient Gradient::Random(uint64_t seed, Encoding encoding, int64_t elems) {
  const Format format = FormatOf(encoding);
  std::mt19937_64 random(seed);
  Gradient gradient(encoding);
  gradient.bytes_.resize(static_cast<size_t>(elems) * format.bytes);
  for (size_t at = 0; at < gradient.bytes_.size(); at += format.bytes) {
    const uint32_t word = RandomWord(format, random);
    std::memcpy(&gradient.bytes_[at], &word, format.bytes);
  }
  return gradient;
}

Gradient Gradient::OneHot(int64_t element) {
  Gradient gradient(Encoding::kTopK);
  Append(static_cast<uint32_t>(element), gradient.bytes_);
  Append(1.0f, gradient.bytes_);
  return gradient;
}

client::Payload Gradient::payload() const {
  const client::Payload::Part part(bytes_.data(), bytes_.size());
  return client::Payload::Encoded(encoding_, {part});
}

std::vector<float> Gradient::floats() const {
  const Format format = FormatOf(encoding_);
  std::vector<float> floats;
  for (size_t at = 0; at < bytes_.size(); at += format.bytes) {
    uint32_t word = 0;
    std::memcpy(&word, &bytes_[at], format.bytes);
    floats.push_back(Number(format, word));
  }
  return floats;
}

}  // namespace accrue::faults
