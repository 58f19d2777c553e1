// Floats: element-inl.h's N of a GPU's thread, Quad or One: as many floats as
// one access to memory moves.
//
// Included inside a backend's own namespace, after ACCRUE_ELEMENT (element-inl)
// is defined, with <cmath> and <cstdint> visible.
//
// Memory.   loads and stores are aligned to the whole of it.

template <int kCount>
struct Floats {
  static constexpr int64_t kElems = kCount;

  alignas(kCount * sizeof(float)) float x[kCount];

  Floats() = default;
  ACCRUE_ELEMENT explicit Floats(float all) {
    for (float& element : x) element = all;
  }

  // value(0), value(1), ...
  template <class F>
  static ACCRUE_ELEMENT Floats Each(const F& value) {
    Floats result;
    for (int i = 0; i < kCount; ++i) result.x[i] = value(i);
    return result;
  }

  // As one object: nvcc would copy its bytes one by one.
  static ACCRUE_ELEMENT Floats Load(const float* from) {
    return *reinterpret_cast<const Floats*>(from);
  }
  ACCRUE_ELEMENT void Store(float* to) const {
    *reinterpret_cast<Floats*>(to) = *this;
  }
  // A GPU's caches are no obstacle to what is only written.
  ACCRUE_ELEMENT void StoreFar(float* to) const { Store(to); }

  friend ACCRUE_ELEMENT Floats operator+(const Floats& a, const Floats& b) {
    return Each([&](int i) { return a.x[i] + b.x[i]; });
  }
  friend ACCRUE_ELEMENT Floats operator-(const Floats& a, const Floats& b) {
    return Each([&](int i) { return a.x[i] - b.x[i]; });
  }
  friend ACCRUE_ELEMENT Floats operator*(const Floats& a, const Floats& b) {
    return Each([&](int i) { return a.x[i] * b.x[i]; });
  }
  friend ACCRUE_ELEMENT Floats operator/(const Floats& a, const Floats& b) {
    return Each([&](int i) { return a.x[i] / b.x[i]; });
  }
  friend ACCRUE_ELEMENT Floats Sqrt(const Floats& a) {
    return Each([&](int i) { return sqrtf(a.x[i]); });
  }
  friend ACCRUE_ELEMENT Floats Clamp(const Floats& a, const Floats& high) {
    return Each([&](int i) {
      const float below = a.x[i] < high.x[i] ? a.x[i] : high.x[i];
      return a.x[i] > 0 ? below : 0.0f;
    });
  }
  friend ACCRUE_ELEMENT Floats Sign(const Floats& a) {
    return Each([&](int i) {
      return a.x[i] > 0 ? 1.0f : a.x[i] < 0 ? -1.0f : 0.0f;
    });
  }
  friend ACCRUE_ELEMENT bool IsFinite(const Floats& a) {
    constexpr float kLargest = 0x1.fffffep127f;
    bool finite = true;
    for (const float element : a.x) finite &= fabsf(element) <= kLargest;
    return finite;
  }
};

using Quad = Floats<4>;
using One = Floats<1>;
