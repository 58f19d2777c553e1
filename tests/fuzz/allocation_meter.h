// AllocationMeter: the most bytes that were allocated at once while it lives,
// beyond those that were when it was made.
//
// Threading. one at a time, in a process of one thread.
#ifndef ACCRUE_TESTS_FUZZ_ALLOCATION_METER_H_
#define ACCRUE_TESTS_FUZZ_ALLOCATION_METER_H_

#include <cstdint>

namespace accrue::fuzz {

class AllocationMeter {
 public:
  AllocationMeter();
  ~AllocationMeter();
  AllocationMeter(const AllocationMeter&) = delete;
  AllocationMeter& operator=(const AllocationMeter&) = delete;

  int64_t peak_bytes() const;
};

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_ALLOCATION_METER_H_
