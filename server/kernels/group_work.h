// GroupWork of a pass: what each of its stages does to each group.
//
// A pass has up to three stages, between which the host looks at sums over all
// blocks: after the fold a clip's norm must be known, and before lamb's step
// those of its direction. A group whose sums nobody waits for is done in the
// first.
//
// Threading. safe: no state. Never blocks.
#ifndef ACCRUE_SERVER_KERNELS_GROUP_WORK_H_
#define ACCRUE_SERVER_KERNELS_GROUP_WORK_H_

#include <cstdint>

#include "server/kernels/device_work.h"
#include "server/kernels/shard.h"

namespace accrue::kernels {

enum class PassStage { kFold, kUpdate, kStep };

// Whether the stage does anything to the group.
bool TakesPart(const GroupPass& group, PassStage stage);
// Whether it needs the pushes' payloads for it.
bool ReadsPayloads(const GroupPass& group, PassStage stage);
// Whether the group's theta is its next publication's after the stage.
bool EndsUpdate(const GroupPass& group, PassStage stage);

// The pushes of one launch: [first, first + count) of the group's, which are
// the stage's first ones, its last ones, or both.
struct LaunchPushes {
  int64_t first = 0;
  int64_t count = 0;  // at most kLaunchPushes
  bool is_first = true;
  bool is_last = true;
};

// Of a group that takes part. `clip`: rule::ClipFactor's, once it is known.
GroupWork MakeGroupWork(const GroupPass& group, PassStage stage,
                        const LaunchPushes& pushes, float clip);

}  // namespace accrue::kernels

#endif  // ACCRUE_SERVER_KERNELS_GROUP_WORK_H_
