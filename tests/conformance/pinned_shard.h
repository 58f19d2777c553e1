// PinnedShard: a device's shard for callers whose parameters are in ordinary
// memory: new ones are copied to pinned memory and from there to where they are
// wanted, when the pass has ended.
//
// Threading. like the shard's.
#ifndef ACCRUE_TESTS_CONFORMANCE_PINNED_SHARD_H_
#define ACCRUE_TESTS_CONFORMANCE_PINNED_SHARD_H_

#include <memory>

#include "server/device/gpu.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

// `gpu` pins, and outlives the shard.
std::unique_ptr<Shard> MakePinnedShard(std::unique_ptr<Shard> shard, Gpu* gpu,
                                       std::shared_ptr<const BlockMap> blocks);

}  // namespace accrue::kernels

#endif  // ACCRUE_TESTS_CONFORMANCE_PINNED_SHARD_H_
