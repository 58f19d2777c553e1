// LoadAny, StoreAny: Highway's LoadU and StoreU for addresses that need not be
// those of a whole element either: a payload begins wherever the network put
// it. Compiled anew for every SIMD target.
#if defined(ACCRUE_SERVER_KERNELS_UNALIGNED_INL_H_) == \
    defined(HWY_TARGET_TOGGLE)
#ifdef ACCRUE_SERVER_KERNELS_UNALIGNED_INL_H_
#undef ACCRUE_SERVER_KERNELS_UNALIGNED_INL_H_
#else
#define ACCRUE_SERVER_KERNELS_UNALIGNED_INL_H_
#endif

#include <cstring>

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace accrue::kernels::HWY_NAMESPACE {

namespace hn = hwy::HWY_NAMESPACE;

// One lane is read as a plain T by Highway, which must then be aligned.

template <class D, class T = hn::TFromD<D>>
HWY_INLINE hn::Vec<D> LoadAny(D d, const T* from) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    T value;
    std::memcpy(&value, static_cast<const void*>(from), sizeof(value));
    return hn::Set(d, value);
  } else {
    return hn::LoadU(d, from);
  }
}

template <class D, class T = hn::TFromD<D>>
HWY_INLINE void StoreAny(hn::Vec<D> lanes, D d, T* to) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    const T value = hn::GetLane(lanes);
    std::memcpy(static_cast<void*>(to), &value, sizeof(value));
  } else {
    hn::StoreU(lanes, d, to);
  }
}

}  // namespace accrue::kernels::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif  // ACCRUE_SERVER_KERNELS_UNALIGNED_INL_H_
