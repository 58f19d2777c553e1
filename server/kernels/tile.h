// Tile: the piece of a block that one call's loop goes over.
//
// Equation.  rule/cycle.h, per element, in the order given there.
// Symbols.   m, v: moments; a: a cycle's sum of gradients; theta, next: the
//            published and the new parameters; x: a push's payload as floats.
// Shapes.    every array: [size], contiguous; any alignment.
// Memory.    host; the arrays do not overlap.
// Numerics.  bit_exact_cpu_gpu: the same expressions for every element, at a
//            tile's end as in its middle, at any SIMD width.
// Threading. safe: no state. Never blocks.
#ifndef ACCRUE_SERVER_KERNELS_TILE_H_
#define ACCRUE_SERVER_KERNELS_TILE_H_

#include <cstdint>

#include "server/rule/cycle.h"

namespace accrue::kernels {

// Which half of a pass a tile goes through. They are apart where a norm must
// be known between them (clipping).
enum class TileStage { kFold, kUpdate, kFoldAndUpdate };

// Arrays that a group does not have are null.
struct TileArrays {
  float* m = nullptr;
  float* v = nullptr;  // adaptive optimizers
  float* a = nullptr;  // classic: the accumulation buffer; gather: scratch
  const float* theta = nullptr;
  float* next = nullptr;
  // [push_count] gradients, each [size]. The pointers need no alignment.
  const float* const* x = nullptr;
  int64_t size = 0;
  // Stores of an update's `next` go past the caches. Whoever hands it to
  // another thread calls hwy::FlushStream first.
  bool far_next = false;
};

// The scalars of a group's pass. Optional parts are null where absent.
//   kFold, embedded:    look_ahead's `ahead`, the pushes, look_ahead's `l2`
//                       after the first of them
//   kFold, classic:     the pushes, into a; so with gather
//   kUpdate, embedded:  clip, update
//   kUpdate, classic:   buffer_fold (with clip and look_ahead), update
//   kFoldAndUpdate:     both
// Of lamb, an update leaves the direction r in `next`; RunLambStep makes it a
// step, once the norms of whole tensors are known.
struct TileScalars {
  const rule::PushScalars* pushes = nullptr;
  int64_t push_count = 0;
  const rule::LookAhead* look_ahead = nullptr;
  const rule::BufferFold* buffer_fold = nullptr;
  const rule::UpdateScalars* update = nullptr;
  float clip = 1;  // 1 changes no bit
  bool epsilon_inside = false;
  bool nesterov = false;
  bool sign = false;  // signum, lion
  bool lamb = false;
};

void RunTile(TileStage stage, const TileScalars& scalars,
             const TileArrays& arrays);

// next = theta - rate*next, of [size] elements.
void RunLambStep(float rate, const float* theta, float* next, int64_t size);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_TILE_H_
