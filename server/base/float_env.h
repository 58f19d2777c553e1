// Float environment: checks that denormal numbers are kept.
//
// Flushing denormals to zero, which some libraries switch on for their thread's
// MXCSR register, would break the bitwise agreement of CPU and GPU.
//
// Threading. safe; judges the calling thread

#ifndef ACCRUE_SERVER_BASE_FLOAT_ENV_H_
#define ACCRUE_SERVER_BASE_FLOAT_ENV_H_

#include <cstdio>
#include <cstdlib>
#include <limits>

namespace accrue {

// False where denormal results (FTZ) or denormal operands (DAZ) become zero.
inline bool DenormalsKept() {
  volatile float smallest_normal = std::numeric_limits<float>::min();
  volatile float denormal = std::numeric_limits<float>::denorm_min();
  volatile float result = smallest_normal * 0.5f;
  volatile float operand = denormal * 0x1p100f;
  return result != 0.0f && operand != 0.0f;
}

// Ends the process if denormals are flushed: no result could be trusted.
inline void AssertDenormalsKept() {
  if (DenormalsKept()) return;
  std::fputs("accrue: this thread flushes denormals to zero (FTZ or DAZ)\n",
             stderr);
  std::abort();
}

// The same, once for each thread: for work that also runs on threads which are
// not ours to start.
inline void AssertDenormalsKeptHere() {
  static thread_local const bool checked = (AssertDenormalsKept(), true);
  static_cast<void>(checked);
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_FLOAT_ENV_H_
