// What the daemon on a failing device and its test have agreed on.
#ifndef ACCRUE_TESTS_E2E_FAULTY_DAEMON_H_
#define ACCRUE_TESTS_E2E_FAULTY_DAEMON_H_

#include <cstdint>

namespace accrue {

inline constexpr char kFaultyProgram[] = "accrued_faulty";
// Models of so many elements lose their device after so many passes.
inline constexpr int64_t kFaultyElems = 97;
inline constexpr int64_t kGoodPasses = 2;

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_FAULTY_DAEMON_H_
