// ChunkWalk: takes blocks through a pass on one CPU thread, tile by tile.
//
// Symbols.   j: payloads of the pass; p: a group's push, base 0; m, v, a:
//            tile.h.
// Memory.    gradients are read in place where a tile's elements are floats
//            that lie in one span of the payload, and tiles are cut so that
//            nearly all do; else they are gathered and widened in a scratch
//            array of 32 KiB, which is most of a core's first cache or all of
//            it. The sum a of gathered pushes is a tile of scratch too.
// Numerics.  bit_exact_cpu_gpu.
// Threading. compatible; walks of different blocks may run at the same time.
//            Never blocks.
#ifndef ACCRUE_SERVER_KERNELS_CHUNK_WALK_H_
#define ACCRUE_SERVER_KERNELS_CHUNK_WALK_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "server/kernels/block.h"
#include "server/kernels/payload_reader.h"
#include "server/kernels/shard.h"
#include "server/kernels/square_lanes.h"
#include "server/kernels/tile.h"
#include "server/kernels/trust_rate.h"

namespace accrue::kernels {

// A shard's arrays, flat; those it does not have are null.
struct ShardArrays {
  float* m = nullptr;
  float* v = nullptr;
  float* a = nullptr;
  // They are far from any cache. New parameters, which a pass only writes, are
  // then stored without the reading of a line that precedes an ordinary store.
  bool far = false;
};

class ChunkWalk {
 public:
  // Both must outlive the walk.
  ChunkWalk(const Pass& pass, const ShardArrays& arrays);

  // kFold, kFoldAndUpdate: all of the group's pushes. Gather: never kFold,
  // whose sum nobody would keep. Returns the block's sum of squares of m, after
  // an update of a group that measures it; else 0.
  double Run(const Block& block, TileStage stage, float clip = 1) {
    return Walk(block, stage, clip, nullptr);
  }

  // Of the last Run, where that was an update of lamb: the block's sums of
  // squares of theta and of the direction, which is in `next`.
  const TrustSquares& trust_squares() const { return trust_squares_; }

  // The sum of squares of what the block's clipping bounds, after kFold: m, or
  // the mean gradient under classic buffering.
  double ClippedSquares(const Block& block) const;

  // The same of a gathering group, whose mean gradient is made for it alone:
  // nothing is written.
  double MeanSquares(const Block& block);

 private:
  // Pushes that one reading of its moments folds, and elements of a tile.
  // Gradients read in place stream through it: the longer a run of each, the
  // less often their prefetching starts anew (measured: a pass over 8 pushes
  // with tiles of 8,192 takes 0.8 times what it takes with 2,048), while the
  // moments stay in the second cache for a cycle of more pushes than that.
  // Gradients that are decoded first pass through 32 KiB of scratch: about a
  // first cache, and well inside the second.
  static constexpr int64_t kFusedPushes = 8;
  static constexpr int64_t kTileElems = 8192;
  static constexpr int64_t kDecodedElems = 1024;
  // Elements of a tile across the end of a payload's span: a turn of the loop.
  static constexpr int64_t kBridgeElems = 64;

  // `mean_squares`: the mean's are added to them; null: nobody wants them.
  double Walk(const Block& block, TileStage stage, float clip,
              SquareLanes* mean_squares);
  // Of the tile that begins at `offset`, with `left` elements of its block to
  // go and `pushes` of the group to fold.
  int64_t TileSize(const GroupPass& group, int64_t pushes, int64_t offset,
                   int64_t left);
  TileArrays Arrays(const Block& block, int64_t begin, int64_t size);

  const Pass& pass_;
  const ShardArrays& arrays_;
  std::vector<PayloadReader> readers_;  // [j]
  TrustSquares trust_squares_;
  alignas(64) float gradients_[kFusedPushes][kDecodedElems];
  alignas(64) std::byte encoded_[kDecodedElems * 2];
  alignas(64) float sum_[kTileElems];  // gather: a
};

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_CHUNK_WALK_H_
