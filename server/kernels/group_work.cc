#include "server/kernels/group_work.h"

#include <algorithm>

#include "server/kernels/pass_check.h"

namespace accrue::kernels {
namespace {

// Whether the stage takes the group from its folded pushes to its update.
bool Updates(const GroupPass& group, PassStage stage) {
  return group.update.has_value() &&
         stage == (IsClipped(group) ? PassStage::kUpdate : PassStage::kFold);
}

void DescribeGroup(const GroupPass& group, GroupWork& work) {
  work.buffering = group.buffering;
  work.adaptive = rule::HasSecondMoment(group.optimizer);
  work.epsilon_inside = group.epsilon_place == rule::EpsilonPlace::kInside;
  work.nesterov = group.nesterov;
  work.sign = rule::StepsBySign(group.optimizer);
  work.lamb = group.optimizer == rule::Optimizer::kLamb;
  work.buffer_fold = group.buffer_fold.value_or(rule::BufferFold());
  work.update = group.update.value_or(rule::UpdateScalars());
}

}  // namespace

bool TakesPart(const GroupPass& group, PassStage stage) {
  switch (stage) {
    case PassStage::kFold:
      return IsTouched(group);
    case PassStage::kUpdate:
      return IsClipped(group);
    case PassStage::kStep:
      return IsTrusted(group);
  }
  return false;
}

bool ReadsPayloads(const GroupPass& group, PassStage stage) {
  if (group.pushes.empty()) return false;
  // What was gathered for the norm alone is gathered again.
  return stage == PassStage::kFold ||
         (stage == PassStage::kUpdate && IsClipped(group) && IsGathered(group));
}

bool EndsUpdate(const GroupPass& group, PassStage stage) {
  if (IsTrusted(group)) return stage == PassStage::kStep;
  return Updates(group, stage);
}

GroupWork MakeGroupWork(const GroupPass& group, PassStage stage,
                        const LaunchPushes& pushes, float clip) {
  GroupWork work;
  DescribeGroup(group, work);
  std::copy_n(group.pushes.begin() + pushes.first, pushes.count, work.pushes);
  work.push_count = static_cast<int32_t>(pushes.count);
  const bool of_mean = work.buffering != rule::Buffering::kEmbedded;
  // Embedded: ahead of the first push. Of a mean: with its fold.
  work.has_look_ahead =
      group.look_ahead.has_value() && (of_mean || pushes.is_first);
  if (work.has_look_ahead) work.look_ahead = *group.look_ahead;
  work.clip = clip;

  const bool reads = ReadsPayloads(group, stage);
  const bool updates = pushes.is_last && Updates(group, stage);
  // Lamb's update is a step of its own, but for what it makes of a mean.
  const bool steps_here = updates && (!work.lamb || of_mean);
  work.stage = !steps_here ? TileStage::kFold
               : reads     ? TileStage::kFoldAndUpdate
                           : TileStage::kUpdate;
  work.wanted.fold_and_update =
      stage != PassStage::kStep &&
      (steps_here || pushes.count > 0 ||
       (stage == PassStage::kFold && work.has_look_ahead));
  work.wanted.sum_clipped =
      pushes.is_last && stage == PassStage::kFold && IsClipped(group);
  work.wanted.sum_trust = updates && work.lamb;
  work.wanted.step_lamb = stage == PassStage::kStep;
  work.wanted.sum_momentum =
      pushes.is_last && EndsUpdate(group, stage) && group.measure;
  return work;
}

}  // namespace accrue::kernels
