// What the daemons on failing devices and their tests have agreed on.
#ifndef ACCRUE_TESTS_E2E_FAULTY_DAEMON_H_
#define ACCRUE_TESTS_E2E_FAULTY_DAEMON_H_

#include <cstdint>

namespace accrue {

inline constexpr char kFaultyProgram[] = "accrued_faulty";
// A pass of models of so many elements fails, after so many that do not.
inline constexpr int64_t kFaultyElems = 97;
inline constexpr int64_t kGoodPasses = 2;
// Of models of so many a GPU fails that pass between two of its chunks,
inline constexpr int64_t kHalfFoldedElems = 1'500'007;
// or is lost there.
inline constexpr int64_t kLosingElems = 5'000'011;

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_FAULTY_DAEMON_H_
