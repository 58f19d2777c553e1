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

#include "absl/types/span.h"
#include "server/kernels/block.h"
#include "server/kernels/encoding.h"

namespace accrue::kernels {

class ArrivalScan {
 public:
  ArrivalScan(std::shared_ptr<const BlockMap> blocks, Encoding encoding);

  // The next `size` bytes. Bytes past the end of the last element: ignored.
  void Update(const std::byte* data, int64_t size);

  // After the last byte. True if no element is a NaN or an infinity.
  bool finite() const;
  // Index in the flat vector of the first element that is not finite; -1.
  int64_t first_non_finite() const;
  // The largest |x| (0 for an empty gradient); only where finite().
  double max_abs() const;
  // [groups] sum of x^2 over the group's elements.
  std::vector<double> group_square_sums() const;

 private:
  // Implementation's; see arrival_scan.cc.
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_ARRIVAL_SCAN_H_
