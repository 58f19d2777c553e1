#include "client/cpp/src/far_copy.h"

#include <algorithm>
#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace accrue::client::internal {

#if defined(__SSE2__)

void FarCopy(std::byte* to, const std::byte* from, size_t size) {
  // A streaming store wants an aligned address, and a whole line of them leaves
  // the core at once.
  constexpr size_t kLine = 64;
  const size_t head =
      std::min(size, (kLine - reinterpret_cast<uintptr_t>(to) % kLine) % kLine);
  std::memcpy(to, from, head);
  to += head, from += head, size -= head;
  for (; size >= kLine; to += kLine, from += kLine, size -= kLine) {
    const auto* const in = reinterpret_cast<const __m128i*>(from);
    auto* const out = reinterpret_cast<__m128i*>(to);
    const __m128i a = _mm_loadu_si128(in), b = _mm_loadu_si128(in + 1),
                  c = _mm_loadu_si128(in + 2), d = _mm_loadu_si128(in + 3);
    _mm_stream_si128(out, a);
    _mm_stream_si128(out + 1, b);
    _mm_stream_si128(out + 2, c);
    _mm_stream_si128(out + 3, d);
  }
  std::memcpy(to, from, size);
  // Streaming stores are not ordered with those that follow.
  _mm_sfence();
}

#else

void FarCopy(std::byte* to, const std::byte* from, size_t size) {
  std::memcpy(to, from, size);
}

#endif

}  // namespace accrue::client::internal
