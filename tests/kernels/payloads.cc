#include "tests/kernels/payloads.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace accrue::kernels {
namespace {

template <class T>
void Append(const T& value, std::vector<std::byte>& bytes) {
  const auto* const data = reinterpret_cast<const std::byte*>(&value);
  bytes.insert(bytes.end(), data, data + sizeof(value));
}

}  // namespace

float RandomFloat(Random& random) {
  std::uniform_real_distribution<float> unit(-1, 1);
  switch (random() % 16) {
    case 0:
      return 0.0f;
    case 1:
      return -0.0f;
    case 2:
      return unit(random) * 0x1p-127f;
    case 3:
      return std::ldexp(unit(random), static_cast<int>(random() % 90) - 60);
    default:
      return unit(random);
  }
}

std::vector<float> RandomFloats(int64_t count, Random& random) {
  std::vector<float> floats(static_cast<size_t>(count));
  for (float& x : floats) x = RandomFloat(random);
  return floats;
}

std::vector<std::byte> RandomBytes(int64_t count, Encoding encoding,
                                   Random& random) {
  std::vector<std::byte> bytes;
  // Top-k: of 1 element in a few, in long stretches without any, or of every
  // one until there are as many as there may be.
  const uint64_t rarity = 1 + random() % 3 * 40;
  const auto most_pair_bytes =
      static_cast<size_t>(PayloadBytesOf(Encoding::kTopK, count).most);
  for (int64_t i = 0; i < count; ++i) {
    const bool last_chance = i + 1 == count && bytes.empty();
    switch (encoding) {
      case Encoding::kF32:
        Append(RandomFloat(random), bytes);
        break;
      case Encoding::kBf16:
      case Encoding::kF16: {
        auto half = static_cast<uint16_t>(random());
        // Half the exponent's bits off: finite, and no square overflows.
        half &= encoding == Encoding::kBf16 ? 0xbfff : 0xbfff & ~0x0400;
        Append(half, bytes);
        break;
      }
      case Encoding::kInt8:
        if (i % kScaledElems == 0)
          Append(std::fabs(RandomFloat(random)), bytes);
        Append(static_cast<int8_t>(random()), bytes);
        break;
      case Encoding::kTopK:
        if (random() % rarity != 0 && !last_chance) break;
        if (bytes.size() == most_pair_bytes) break;
        Append(static_cast<uint32_t>(i), bytes);
        Append(RandomFloat(random), bytes);
        break;
    }
  }
  return bytes;
}

ByteChain CutIntoSpans(const std::vector<std::byte>& bytes, int64_t max_span,
                       int64_t misalignment, Random& random) {
  ByteChain chain;
  const auto total = static_cast<int64_t>(bytes.size());
  for (int64_t begin = 0; begin < total;) {
    const auto wanted =
        1 + static_cast<int64_t>(random() % static_cast<uint64_t>(max_span));
    const int64_t size = std::min(total - begin, wanted);
    auto* const memory =
        new std::byte[static_cast<size_t>(misalignment + size)];
    std::memcpy(memory + misalignment, bytes.data() + begin,
                static_cast<size_t>(size));
    chain.Append(
        memory + misalignment, size,
        {.fn = [](void* arg) { delete[] static_cast<std::byte*>(arg); },
         .arg = memory});
    begin += size;
  }
  return chain;
}

}  // namespace accrue::kernels
