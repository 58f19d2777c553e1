// ArrivalScan: one look at a gradient's bytes while they are hot in cache:
// are all elements finite, how large is the largest, what is each group's norm.
//
// Shapes.    the payload: [elems of the block map] in one encoding, given in
//            order in pieces cut anywhere, inside elements too.
// Numerics.  squares summed in double over fixed virtual lanes by element
//            index inside fixed blocks: the result does not depend on how the
//            bytes were cut. bit_exact_cpu_gpu.
// Threading. compatible; Update never blocks.
#ifndef ACCRUE_SERVER_KERNELS_ARRIVAL_SCAN_H_
#define ACCRUE_SERVER_KERNELS_ARRIVAL_SCAN_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "server/kernels/block.h"
#include "server/kernels/encoding.h"
#include "server/kernels/square_lanes.h"

namespace accrue::kernels {

class ArrivalScan {
 public:
  ArrivalScan(std::shared_ptr<const BlockMap> blocks, Encoding encoding);

  // The next `size` bytes. Bytes past the end of the last element: ignored.
  void Update(const std::byte* data, int64_t size);

  // After the last byte. True if no element is a NaN or an infinity.
  bool finite() const { return max_bits_ < kNonFiniteBits; }
  // Index in the flat vector of the first element that is not finite; -1.
  int64_t first_non_finite() const { return first_non_finite_; }
  // The largest |x| (0 for an empty gradient); only where finite().
  double max_abs() const;
  // [groups] sum of x^2 over the group's elements; only where finite().
  std::vector<double> group_square_sums() const { return group_sums_; }

 private:
  void ScanEncoded(const std::byte* data, int64_t count);
  void Scan(const float* x, int64_t count);
  static int64_t FindNonFinite(const float* x, int64_t count);

  std::shared_ptr<const BlockMap> blocks_;
  Encoding encoding_;
  int64_t position_ = 0;  // elements seen
  int64_t block_ = 0;     // that the next element belongs to
  SquareLanes lanes_;     // of that block
  int32_t max_bits_ = 0;
  int64_t first_non_finite_ = -1;
  std::vector<double> group_sums_;
  // The bytes at hand of an element that a piece's end cut in two.
  std::array<std::byte, 4> cut_ = {};
  int64_t cut_bytes_ = 0;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_ARRIVAL_SCAN_H_
