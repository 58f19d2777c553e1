#include "server/kernels/convert.h"

#include <cstddef>
#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "server/kernels/convert.cc"
#include "hwy/foreach_target.h"  // includes this file once for each target
#include "hwy/highway.h"
#include "server/kernels/unaligned-inl.h"

HWY_BEFORE_NAMESPACE();
namespace accrue::kernels::HWY_NAMESPACE {
namespace {

// conversion-inl.h's W: a vector of 32-bit words that reads like one.
template <class D>
struct Word {
  using SignedD = hn::RebindToSigned<D>;
  hn::Vec<D> lanes;

  HWY_INLINE explicit Word(uint32_t x) : lanes(hn::Set(D(), x)) {}
  HWY_INLINE explicit Word(hn::Vec<D> x) : lanes(x) {}

  friend HWY_INLINE Word operator+(Word x, Word y) {
    return Word(hn::Add(x.lanes, y.lanes));
  }
  friend HWY_INLINE Word operator-(Word x, Word y) {
    return Word(hn::Sub(x.lanes, y.lanes));
  }
  friend HWY_INLINE Word operator&(Word x, Word y) {
    return Word(hn::And(x.lanes, y.lanes));
  }
  friend HWY_INLINE Word operator|(Word x, Word y) {
    return Word(hn::Or(x.lanes, y.lanes));
  }
  friend HWY_INLINE Word operator<<(Word x, Word count) {
    return Word(hn::Shl(x.lanes, count.lanes));
  }
  friend HWY_INLINE Word operator>>(Word x, Word count) {
    return Word(hn::Shr(x.lanes, count.lanes));
  }
  friend HWY_INLINE Word operator<<(Word x, int count) {
    return Word(hn::ShiftLeftSame(x.lanes, count));
  }
  friend HWY_INLINE Word operator>>(Word x, int count) {
    return Word(hn::ShiftRightSame(x.lanes, count));
  }
  friend HWY_INLINE auto Above(Word x, Word y) {
    const SignedD d;
    return hn::RebindMask(
        D(), hn::Gt(hn::BitCast(d, x.lanes), hn::BitCast(d, y.lanes)));
  }
  friend HWY_INLINE Word Select(hn::Mask<D> where, Word yes, Word no) {
    return Word(hn::IfThenElse(where, yes.lanes, no.lanes));
  }
  friend HWY_INLINE Word Product(Word x, float factor) {
    const hn::RebindToFloat<D> d;
    const auto value = hn::ConvertTo(d, hn::BitCast(SignedD(), x.lanes));
    return Word(hn::BitCast(D(), hn::Mul(value, hn::Set(d, factor))));
  }
};

#define ACCRUE_ELEMENT HWY_INLINE
#include "server/base/conversion-inl.h"
#undef ACCRUE_ELEMENT

const hn::ScalableTag<uint32_t> kWords;
using WordLanes = Word<decltype(kWords)>;
constexpr int64_t kMaxLanes = hn::MaxLanes(kWords);

HWY_INLINE void EncodeLanes(const float* in, Encoding encoding, uint16_t* out) {
  const hn::RebindToFloat<decltype(kWords)> floats;
  const hn::RebindToSigned<decltype(kWords)> integers;
  const hn::Rebind<uint16_t, decltype(kWords)> halves;
  const WordLanes bits(hn::BitCast(kWords, LoadAny(floats, in)));
  const WordLanes half =
      encoding == Encoding::kBf16 ? NarrowToBf16(bits) : NarrowToF16(bits);
  const auto narrow = hn::DemoteTo(halves, hn::BitCast(integers, half.lanes));
  StoreAny(narrow, halves, out);
}

HWY_INLINE void DecodeLanes(const uint16_t* in, Encoding encoding, float* out) {
  const hn::RebindToFloat<decltype(kWords)> floats;
  const hn::Rebind<uint16_t, decltype(kWords)> halves;
  const WordLanes half(hn::PromoteTo(kWords, LoadAny(halves, in)));
  const WordLanes bits =
      encoding == Encoding::kBf16 ? WidenFromBf16(half) : WidenFromF16(half);
  StoreAny(hn::BitCast(floats, bits.lanes), floats, out);
}

// convert(in + i, encoding, out + i) for whole vectors; what is left at the end
// goes through a copy of a vector's size, for Highway's shifts by a variable
// are not those of a lane in vectors of one lane.
template <class In, class Out, class Convert>
HWY_INLINE void ForEachVector(const In* in, int64_t count, Encoding encoding,
                              Out* out, const Convert& convert) {
  const auto lanes = static_cast<int64_t>(hn::Lanes(kWords));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) convert(in + i, encoding, out + i);
  if (i == count) return;
  const auto left = static_cast<size_t>(count - i);
  In last_in[kMaxLanes] = {};
  Out last_out[kMaxLanes];
  std::memcpy(last_in, static_cast<const void*>(in + i), left * sizeof(In));
  convert(last_in, encoding, last_out);
  std::memcpy(static_cast<void*>(out + i), last_out, left * sizeof(Out));
}

// The addresses need not be those of whole elements.

void EncodeHalves(const float* in, int64_t count, Encoding encoding,
                  uint16_t* out) {
  ForEachVector(in, count, encoding, out, EncodeLanes);
}

void DecodeHalves(const uint16_t* in, int64_t count, Encoding encoding,
                  float* out) {
  ForEachVector(in, count, encoding, out, DecodeLanes);
}

void ScaleInt8(const int8_t* in, int64_t count, float scale, float* out) {
  const hn::ScalableTag<float> floats;
  const hn::RebindToSigned<decltype(floats)> integers;
  const hn::Rebind<int8_t, decltype(floats)> bytes;
  const auto factor = hn::Set(floats, scale);
  const auto lanes = static_cast<int64_t>(hn::Lanes(floats));
  int64_t i = 0;
  for (; i + lanes <= count; i += lanes) {
    const auto value = hn::PromoteTo(integers, hn::LoadU(bytes, in + i));
    StoreAny(hn::Mul(factor, hn::ConvertTo(floats, value)), floats, out + i);
  }
  for (; i < count; ++i) out[i] = scale * static_cast<float>(in[i]);
}

}  // namespace
}  // namespace accrue::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace accrue::kernels {

HWY_EXPORT(EncodeHalves);
HWY_EXPORT(DecodeHalves);
HWY_EXPORT(ScaleInt8);

void Encode(const float* in, int64_t count, Encoding encoding, std::byte* out) {
  if (count == 0) return;
  if (encoding == Encoding::kF32) {
    std::memcpy(out, in, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  HWY_DYNAMIC_DISPATCH(EncodeHalves)
  (in, count, encoding, reinterpret_cast<uint16_t*>(out));
}

void Decode(const std::byte* in, int64_t count, Encoding encoding, float* out) {
  if (count == 0) return;
  if (encoding == Encoding::kF32) {
    std::memcpy(out, in, static_cast<size_t>(count) * sizeof(float));
    return;
  }
  HWY_DYNAMIC_DISPATCH(DecodeHalves)
  (reinterpret_cast<const uint16_t*>(in), count, encoding, out);
}

void DecodeScaled(const std::byte* in, int64_t count, float scale, float* out) {
  HWY_DYNAMIC_DISPATCH(ScaleInt8)
  (reinterpret_cast<const int8_t*>(in), count, scale, out);
}

}  // namespace accrue::kernels
#endif  // HWY_ONCE
