// conversion-inl.h's W for one element: a uint32_t.
//
// Included before it, likewise inside a backend's own namespace, after
//   ACCRUE_ELEMENT   how a function is declared here
// and with <cstdint> and <cstring> visible.

ACCRUE_ELEMENT float FloatOf(uint32_t bits) {
  float x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}

ACCRUE_ELEMENT uint32_t BitsOf(float x) {
  uint32_t bits;
  memcpy(&bits, &x, sizeof(bits));
  return bits;
}

ACCRUE_ELEMENT bool Above(uint32_t x, uint32_t y) { return x > y; }

ACCRUE_ELEMENT uint32_t Select(bool where, uint32_t yes, uint32_t no) {
  return where ? yes : no;
}

ACCRUE_ELEMENT uint32_t Product(uint32_t x, float factor) {
  return BitsOf(static_cast<float>(x) * factor);
}
