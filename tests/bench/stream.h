// Stream: the fastest that memory can be read and written, array for array:
// what a kernel that touches the same arrays is compared with.
//
// Equation.  with s = the sum of the reads: updates[a] += s; writes[a] = s.
// Shapes.    every array: [count].
#ifndef ACCRUE_TESTS_BENCH_STREAM_H_
#define ACCRUE_TESTS_BENCH_STREAM_H_

#include <cstdint>
#include <vector>

namespace accrue::bench {

struct StreamArrays {
  std::vector<const float*> reads;  // 1, 2, 4, 5, 8 or 9
  std::vector<float*> updates;      // read and written; 1 or 2
  std::vector<float*> writes;       // 0 or 1
};

// Elements [begin, end) of every array, on this thread.
void Stream(const StreamArrays& arrays, int64_t begin, int64_t end);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_STREAM_H_
