// SquareLanes: a sum of squares that comes out the same on every machine.
//
// Equation.  sum over i of (scale*x[i])^2, where scale*x[i] is rounded to
//            float, and its square is exact in double.
// Symbols.   lane: element i of a block is summed in lane i mod 16, in
//            ascending order of i; the lanes are then summed in theirs.
// Numerics.  bit_exact_cpu_gpu: the lanes are fixed, not those of the machine.
// Threading. compatible.
#ifndef ACCRUE_SERVER_KERNELS_SQUARE_LANES_H_
#define ACCRUE_SERVER_KERNELS_SQUARE_LANES_H_

#include <cstdint>

namespace accrue::kernels {

struct SquareLanes {
  static constexpr int kCount = 16;
  double lane[kCount] = {};

  // Adds x[0 .. size), whose first element has index `first` in its block; x
  // needs no alignment. Returns the largest |x[i]|'s bits, without the scale:
  // at least kNonFiniteBits if one is a NaN or an infinity.
  int32_t Add(const float* x, int64_t size, int64_t first, float scale);

  double Total() const {
    double total = 0;
    for (const double sum : lane) total += sum;
    return total;
  }
};

// A float's bits without its sign, read as an integer, are in the order of its
// size; infinity's come next after the largest number's, and a NaN's after it.
inline constexpr int32_t kNonFiniteBits = 0x7f800000;

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_SQUARE_LANES_H_
