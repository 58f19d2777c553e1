// DeviceShard: a shard whose arrays lie on GPUs: cut into contiguous parts, one
// a GPU, that go through a pass at the same time and end it together.
//
// Memory.    m, v (adaptive), the accumulation buffer (classic) and theta: 4
//            bytes an element each, on the devices and nowhere else. A group's
//            `next` is pinned memory of the host; published vectors are not
//            read: each part has its own, as Load or its last pass left it.
// Order.     slices of the payloads are copied into slots of the rings, from
//            there to the device, decoded and folded, chunk by chunk on the
//            slots' streams; new parameters go back on the same streams. `done`
//            is called when all of it has ended, so that a later pass cannot
//            touch what is still being copied; on the pool of the options: the
//            units' threads are for filling and queueing. Load and Reset wait
//            for the devices there, each part on its own unit's.
// Errors.    RESOURCE_EXHAUSTED: no memory on the devices; nothing is left.
//            A pass that failed on one device has failed.
#ifndef ACCRUE_SERVER_KERNELS_DEVICE_SHARD_H_
#define ACCRUE_SERVER_KERNELS_DEVICE_SHARD_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "server/base/work_pool.h"
#include "server/kernels/device_unit.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

struct DeviceShardOptions {
  // A part has at least so many elements, or is the only one: waiting for
  // another GPU costs more than what it takes over of a small model.
  int64_t least_part_elems = int64_t{1} << 22;
  // Where `done` is called; null: on a thread of a unit.
  WorkPool* pool = nullptr;
  WorkPool::Lane lane = {};
};

// On the first of `units`, and on as many of the others as are worth it, those
// left out that have no room or are lost; they outlive it, as does the pool.
absl::StatusOr<std::unique_ptr<Shard>> MakeDeviceShard(
    const ShardOptions& options, std::vector<DeviceUnit*> units,
    const DeviceShardOptions& device_options = {});

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_DEVICE_SHARD_H_
