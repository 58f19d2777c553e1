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

template <class D>
struct Number {
  hn::Vec<D> lanes;

  HWY_INLINE explicit Number(float x) : lanes(hn::Set(D(), x)) {}
  HWY_INLINE explicit Number(hn::Vec<D> x) : lanes(x) {}

  static HWY_INLINE Number Load(D d, const float* from) {
    return Number(LoadAny(d, from));
  }
  HWY_INLINE void Store(D d, float* to) const { hn::StoreU(lanes, d, to); }

  friend HWY_INLINE Number operator+(Number x, Number y) {
    return Number(hn::Add(x.lanes, y.lanes));
  }
  friend HWY_INLINE Number operator-(Number x, Number y) {
    return Number(hn::Sub(x.lanes, y.lanes));
  }
  friend HWY_INLINE Number operator*(Number x, Number y) {
    return Number(hn::Mul(x.lanes, y.lanes));
  }
  friend HWY_INLINE Number operator/(Number x, Number y) {
    return Number(hn::Div(x.lanes, y.lanes));
  }
  friend HWY_INLINE Number Sqrt(Number x) { return Number(hn::Sqrt(x.lanes)); }
};

#define ACCRUE_ELEMENT HWY_INLINE
#include "server/kernels/element-inl.h"
#undef ACCRUE_ELEMENT

}  // namespace accrue::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ACCRUE_SERVER_KERNELS_NUMBER_INL_H_
