#include "server/kernels/pass_check.h"

#include <cstddef>
#include <cstdint>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"

namespace accrue::kernels {
namespace {

absl::Status CheckGroup(const GroupPass& group, size_t payload_count) {
  const size_t want =
      group.payloads.empty() ? payload_count : group.payloads.size();
  if (!group.pushes.empty() && group.pushes.size() != want) {
    return absl::InternalError(absl::StrCat(
        "pass: scalars of ", group.pushes.size(), " pushes, want ", want));
  }
  for (const int32_t payload : group.payloads) {
    if (payload < 0 || static_cast<size_t>(payload) >= payload_count) {
      return absl::InternalError(
          absl::StrCat("pass: payload ", payload, " of ", payload_count));
    }
  }
  if (IsGathered(group) && IsTouched(group) &&
      (!group.update.has_value() || !group.buffer_fold.has_value() ||
       group.pushes.empty())) {
    return absl::InternalError("pass: gathers less than a cycle");
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckPass(const BlockMap& blocks, const Pass& pass) {
  if (pass.groups.size() != blocks.group_elems.size()) {
    return absl::InternalError(absl::StrCat("pass: ", pass.groups.size(),
                                            " groups, want ",
                                            blocks.group_elems.size()));
  }
  for (const PushPayload& push : pass.payloads) {
    const PayloadBytes want = PayloadBytesOf(push.encoding, blocks.elems);
    if (!want.Allow(push.payload->size_bytes())) {
      return absl::InternalError(absl::StrCat(
          "pass: payload of ", push.payload->size_bytes(), " bytes, want ",
          want.least, " to ", want.most, " in steps of ", want.step));
    }
  }
  for (const GroupPass& group : pass.groups) {
    ACCRUE_RETURN_IF_ERROR(CheckGroup(group, pass.payloads.size()));
  }
  return absl::OkStatus();
}

absl::Status CheckRange(const BlockMap& blocks, Shard::Array array,
                        const float* begin, int64_t offset, int64_t count) {
  if (begin == nullptr) {
    return absl::FailedPreconditionError(
        array == Shard::Array::kVariance
            ? "shard: no second moments under this optimizer"
        : array == Shard::Array::kAccumulation
            ? "shard: no accumulation buffer under embedded buffering"
            : "shard: no parameters of its own");
  }
  if (offset < 0 || offset > blocks.elems || count > blocks.elems - offset) {
    return absl::OutOfRangeError(absl::StrCat(
        "shard: elements [", offset, ", +", count, ") of ", blocks.elems));
  }
  return absl::OkStatus();
}

bool IsTouched(const GroupPass& group) {
  return !group.pushes.empty() || group.update.has_value();
}

bool IsMeasured(const GroupPass& group) {
  return group.update.has_value() && group.measure;
}

bool IsClipped(const GroupPass& group) {
  return group.update.has_value() && group.update->clip_norm > 0;
}

bool IsGathered(const GroupPass& group) {
  return group.buffering == rule::Buffering::kGather;
}

bool IsTrusted(const GroupPass& group) {
  return group.update.has_value() && group.optimizer == rule::Optimizer::kLamb;
}

}  // namespace accrue::kernels
