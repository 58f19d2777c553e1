// ForEachSimdTarget: runs a test body on every instruction set that the CPU at
// hand offers and the kernels are compiled for.
#ifndef ACCRUE_TESTS_KERNELS_SIMD_TARGETS_H_
#define ACCRUE_TESTS_KERNELS_SIMD_TARGETS_H_

#include <cstdint>

#include "gtest/gtest.h"
#include "hwy/targets.h"

namespace accrue::kernels {

template <class Body>
void ForEachSimdTarget(Body body) {
  for (const int64_t target : hwy::SupportedAndGeneratedTargets()) {
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    body();
    hwy::SetSupportedTargetsForTest(0);
  }
}

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_KERNELS_SIMD_TARGETS_H_
