// WrappedShards: models' shards inside others, which interfere with some of
// what they do.
#ifndef ACCRUE_TESTS_MODEL_WRAPPED_SHARDS_H_
#define ACCRUE_TESTS_MODEL_WRAPPED_SHARDS_H_

#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "server/base/status_macros.h"
#include "server/kernels/shard.h"
#include "server/model/model.h"
#include "tests/kernels/forwarding_shard.h"

namespace accrue {

using kernels::ForwardingShard;

// For every model a shard of `inner`'s, inside what wrap(shard, elems of the
// model) makes of it.
template <class Wrap>
ShardFactory WrappedShards(Wrap wrap,
                           ShardFactory inner = kernels::MakeCpuShard) {
  return [wrap, inner](const kernels::ShardOptions& options, Device* device,
                       WorkPool* pool, WorkPool::Lane lane)
             -> absl::StatusOr<std::unique_ptr<kernels::Shard>> {
    ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<kernels::Shard> shard,
                            inner(options, device, pool, lane));
    return wrap(std::move(shard), options.blocks->elems);
  };
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_MODEL_WRAPPED_SHARDS_H_
