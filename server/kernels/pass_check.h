// PassCheck: whether a pass, or a range of elements, fits a shard, and what a
// pass does to its groups.
//
// Errors.    INTERNAL: whoever made the pass is wrong; nothing was done.
//            Of Shard::Read and Write: OUT_OF_RANGE, FAILED_PRECONDITION.
// Threading. safe. Never blocks.
#ifndef ACCRUE_SERVER_KERNELS_PASS_CHECK_H_
#define ACCRUE_SERVER_KERNELS_PASS_CHECK_H_

#include <cstdint>

#include "absl/status/status.h"
#include "server/kernels/block.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

absl::Status CheckPass(const BlockMap& blocks, const Pass& pass);

// Whether elements [offset, offset + count) exist, and their array does:
// `begin` is its first element, null if it is none.
absl::Status CheckRange(const BlockMap& blocks, Shard::Array array,
                        const float* begin, int64_t offset, int64_t count);

// Whether anything of the group is read or written.
bool IsTouched(const GroupPass& group);
// Whether |m|^2 is asked for and there is an update.
bool IsMeasured(const GroupPass& group);
// Whether a norm stands between its fold and its update.
bool IsClipped(const GroupPass& group);
bool IsGathered(const GroupPass& group);
// Whether it ends in a step of lamb, whose rate needs norms of the direction.
bool IsTrusted(const GroupPass& group);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_PASS_CHECK_H_
