// The conversions of one element, written once for every backend.
//
// Included inside a backend's own namespace, after it has defined
//   ACCRUE_ELEMENT   how a function is declared here
//   W                a 32-bit word: W(uint32_t), + - & |, << and >> by a W or
//                    an int (zeros move in), and
//                      Above(W, W)       unsigned >, for values below 2^31
//                      Select(c, W, W)   the first where c, else the second
//                      Product(W, float) the bits of float(w) * f, w < 2^24
//                    An unsigned int, or a vector of them.
//
// Numerics. Widening is exact. Narrowing rounds to nearest, ties to even, keeps
//           denormals, overflows to infinity; a NaN stays one, and quiet.
// No include guard: a source that is compiled for several SIMD targets includes
// this once for each.

// The bits of a float -> bfloat16, in the low half.
template <class W>
ACCRUE_ELEMENT W NarrowToBf16(W bits) {
  const W magnitude = bits & W(0x7fffffff);
  const W odd = (bits >> 16) & W(1);
  const W rounded = (bits + W(0x7fff) + odd) >> 16;
  const W quiet = (bits >> 16) | W(0x40);
  return Select(Above(magnitude, W(0x7f800000)), quiet, rounded);
}

template <class W>
ACCRUE_ELEMENT W WidenFromBf16(W half) {
  return half << 16;
}

// The bits of a float -> IEEE binary16, in the low half.
template <class W>
ACCRUE_ELEMENT W NarrowToF16(W bits) {
  const W magnitude = bits & W(0x7fffffff);
  const auto normal = Above(magnitude, W(0x387fffff));  // from 2^-14
  // The exponent's bias changes from 127 to 15.
  const W odd = (magnitude >> 13) & W(1);
  const W rounded = (magnitude - W(112 << 23) + W(0xfff) + odd) >> 13;
  // Below, a result counts units of 2^-24: significand >> (126 - exponent). A
  // shift by 25 leaves nothing of any significand.
  const W exponent = magnitude >> 23;
  const W significand = (magnitude & W(0x7fffff)) | W(0x800000);
  const W shift = Select(
      normal, W(14), Select(Above(W(101), exponent), W(25), W(126) - exponent));
  const W small_odd = (significand >> shift) & W(1);
  const W small_half = (W(1) << (shift - W(1))) - W(1);
  const W small = (significand + small_half + small_odd) >> shift;

  W result = Select(normal, rounded, small);
  result = Select(Above(magnitude, W(0x477fefff)), W(0x7c00), result);  // 65520
  const W quiet = ((magnitude >> 13) & W(0x3ff)) | W(0x7e00);
  result = Select(Above(magnitude, W(0x7f800000)), quiet, result);
  return result | ((bits >> 16) & W(0x8000));
}

template <class W>
ACCRUE_ELEMENT W WidenFromF16(W half) {
  const W magnitude = half & W(0x7fff);
  const W rebias = W(112 << 23);
  const W normal = (magnitude << 13) + rebias;
  W result = Select(Above(magnitude, W(0x7bff)), normal + rebias, normal);
  result =
      Select(Above(W(0x400), magnitude), Product(magnitude, 0x1p-24f), result);
  return result | ((half & W(0x8000)) << 16);
}
