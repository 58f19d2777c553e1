// Number: a vector of floats that reads like one float; what element-inl.h's
// N is on the CPU. Compiled anew for every SIMD target.
#if defined(ACCRUE_SERVER_KERNELS_NUMBER_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef ACCRUE_SERVER_KERNELS_NUMBER_INL_H_
#undef ACCRUE_SERVER_KERNELS_NUMBER_INL_H_
#else
#define ACCRUE_SERVER_KERNELS_NUMBER_INL_H_
#endif

#include "hwy/highway.h"
#include "server/kernels/unaligned-inl.h"
#include "server/rule/cycle.h"

HWY_BEFORE_NAMESPACE();
namespace accrue::kernels::HWY_NAMESPACE {

// Several vectors at once, so that a scalar is fetched once for all of them.
template <class D, int kVectors>
struct Number {
  using Vector = hn::Vec<D>;
  static constexpr int64_t kLanes = static_cast<int64_t>(hn::MaxLanes(D()));
  static constexpr int64_t kElems = kVectors * kLanes;

  Vector vectors[kVectors];

  Number() = default;
  HWY_INLINE explicit Number(float x)
      : Number(Each([all = hn::Set(D(), x)](int) HWY_ATTR { return all; })) {}

  // vector(0), vector(1), ...
  template <class F>
  static HWY_INLINE Number Each(const F& vector) {
    Number result;
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) result.vectors[i] = vector(i);
    return result;
  }

  static HWY_INLINE Number Load(const float* from) {
    return Each([&](int i)
                    HWY_ATTR { return LoadAny(D(), from + i * kLanes); });
  }
  HWY_INLINE void Store(float* to) const {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      hn::StoreU(vectors[i], D(), to + i * kLanes);
    }
  }

  // Past the caches, to a vector's alignment.
  HWY_INLINE void StoreFar(float* to) const {
    HWY_UNROLL(4)
    for (int i = 0; i < kVectors; ++i) {
      hn::Stream(vectors[i], D(), to + i * kLanes);
    }
  }

  friend HWY_INLINE Number operator+(const Number& x, const Number& y) {
    return Each([&](int i)
                    HWY_ATTR { return hn::Add(x.vectors[i], y.vectors[i]); });
  }
  friend HWY_INLINE Number operator-(const Number& x, const Number& y) {
    return Each([&](int i)
                    HWY_ATTR { return hn::Sub(x.vectors[i], y.vectors[i]); });
  }
  friend HWY_INLINE Number operator*(const Number& x, const Number& y) {
    return Each([&](int i)
                    HWY_ATTR { return hn::Mul(x.vectors[i], y.vectors[i]); });
  }
  friend HWY_INLINE Number operator/(const Number& x, const Number& y) {
    return Each([&](int i)
                    HWY_ATTR { return hn::Div(x.vectors[i], y.vectors[i]); });
  }
  friend HWY_INLINE Number Sqrt(const Number& x) {
    return Each([&](int i) HWY_ATTR { return hn::Sqrt(x.vectors[i]); });
  }
  friend HWY_INLINE Number Clamp(const Number& x, const Number& high) {
    const Vector zero = hn::Zero(D());
    return Each([&](int i) HWY_ATTR {
      const Vector below = hn::IfThenElse(hn::Lt(x.vectors[i], high.vectors[i]),
                                          x.vectors[i], high.vectors[i]);
      return hn::IfThenElseZero(hn::Gt(x.vectors[i], zero), below);
    });
  }
  friend HWY_INLINE Number Sign(const Number& x) {
    const Vector zero = hn::Zero(D());
    const Vector one = hn::Set(D(), 1.0f);
    const Vector minus_one = hn::Set(D(), -1.0f);
    return Each([&](int i) HWY_ATTR {
      const Vector or_below =
          hn::IfThenElseZero(hn::Lt(x.vectors[i], zero), minus_one);
      return hn::IfThenElse(hn::Gt(x.vectors[i], zero), one, or_below);
    });
  }
};

#define ACCRUE_ELEMENT HWY_INLINE
#include "server/kernels/element-inl.h"
#undef ACCRUE_ELEMENT

}  // namespace accrue::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ACCRUE_SERVER_KERNELS_NUMBER_INL_H_
