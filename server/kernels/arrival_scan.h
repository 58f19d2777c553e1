// ArrivalScan: one look at a gradient's bytes while they are hot in cache:
// are they what their encoding allows, are all elements finite, how large is
// the largest, what is each group's norm.
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
#include <string>
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

  // After the last byte. What the encoding does not allow, the first of it;
  // empty: nothing. All else is only known of a payload without a flaw.
  const std::string& flaw() const { return flaw_; }
  // True if no element is a NaN or an infinity.
  bool finite() const { return max_bits_ < kNonFiniteBits; }
  // Index in the flat vector of the first element that is not finite; -1.
  int64_t first_non_finite() const { return first_non_finite_; }
  // The largest |x| (0 for an empty gradient); only where finite().
  double max_abs() const;
  // [groups] sum of x^2 over the group's elements; only where finite().
  std::vector<double> group_square_sums() const;

 private:
  // Bytes that tell something only together: the next ones.
  int64_t UnitBytes() const;
  // Scans some of the next units, of which one at least is there whole, and
  // returns their bytes; 0 past the last element.
  int64_t Take(const std::byte* data, int64_t size);
  int64_t TakePlain(const std::byte* data, int64_t size);
  int64_t TakeScaled(const std::byte* data, int64_t size);
  int64_t TakePairs(const std::byte* data, int64_t size);
  void AddNamed(int64_t index, float x);
  void Scan(const float* x, int64_t count);
  void EndBlock();
  static int64_t FindNonFinite(const float* x, int64_t count);

  std::shared_ptr<const BlockMap> blocks_;
  Encoding encoding_;
  int64_t position_ = 0;  // elements seen
  int64_t block_ = 0;     // that the next element belongs to
  SquareLanes lanes_;     // of that block
  int32_t max_bits_ = 0;
  int64_t first_non_finite_ = -1;
  std::vector<double> group_sums_;
  std::string flaw_;
  // Int8: the scale of the elements before this one.
  int64_t scaled_to_ = 0;
  float scale_ = 0;
  int64_t pairs_ = 0;        // top-k: seen
  int64_t last_index_ = -1;  // the last one's
  // The bytes at hand of a unit that a piece's end cut in two.
  std::array<std::byte, 8> cut_ = {};
  int64_t cut_bytes_ = 0;
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_ARRIVAL_SCAN_H_
