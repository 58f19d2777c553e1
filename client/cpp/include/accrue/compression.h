// Compression: sends a worker's gradients in fewer bytes.
//
//   model.OpenWorker({.compression = {.encoding = Encoding::kTopK,
//                                     .top_fraction = 0.1}});
//
// Each push sends encode(gradient + residual). With error feedback the residual
// is what pushes so far have left out: no part of any gradient is lost, it only
// comes later.
//
//   encoding   bytes of a push of N elements
//   kBf16      2N, rounded to nearest, ties to even
//   kF16       2N, the same; beyond 65504 the daemon refuses it (kNonFinite)
//   kInt8      N + 4*ceil(N/1024): of each 1024 elements the largest becomes
//              127, the others are rounded to nearest, ties to even; all become
//              0 where the largest is below 127*2^-126
//   kTopK      8*round(top_fraction*N) at most, 8 at least: the elements of
//              largest magnitude (of equal ones those that come first), without
//              zeros
//
// Invariant. The residual changes only when a push is known to be folded. One
//            that was refused, failed, or is in doubt leaves it alone; if
//            Settle() or the next push finds that it was folded, it changes
//            then. A gradient with a NaN or an infinity is sent as such, and
//            refused. Under Buffering::kGather folded means held, for the fold
//            at the cycle's end.
// Errors.    A push whose fate nobody can tell any more (UNKNOWN) counts as not
//            folded. If it was, what it sent of the residual is sent once more,
//            and what it left out of its gradient is lost. If it was not, its
//            gradient is lost, as that of any push that is not repeated.
// Lineage.   The residual outlives it: what was held back goes out with the
//            first push that the new lineage folds, while what had been sent
//            before is gone with the old one. A new Worker begins without.
// Units.     The residual is in units of the gradient: a push's scale is taken
//            out of it. Its weight and micro_steps apply to all that it sends,
//            what earlier ones had left out included. So does the damping of a
//            stale push (StalePolicy::kDampen): what that takes away of what
//            was sent is not held back for later.
// Memory.    8 bytes a parameter with error feedback, 4 without, and the
//            encoded push. It belongs to the Worker and goes with it.

#ifndef ACCRUE_CLIENT_COMPRESSION_H_
#define ACCRUE_CLIENT_COMPRESSION_H_

#include "accrue/spec.h"

namespace accrue::client {

struct Compression {
  // kF32: gradients are sent as they are, in whatever encoding they come.
  // Otherwise they have to come as floats.
  Encoding encoding = Encoding::kF32;
  // kTopK: in (0, 0.5]; beyond, pairs would take more than the floats.
  double top_fraction = 0.1;
  // False: what a push leaves out is lost.
  bool error_feedback = true;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_COMPRESSION_H_
