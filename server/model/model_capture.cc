// ModelImpl's state, taken out while it trains on.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "server/base/status_macros.h"
#include "server/device/driver_wait.h"
#include "server/model/model_arrays.h"
#include "server/model/model_impl.h"

namespace accrue {

// The arrays as the step that is running has them.
class ModelImpl::Arrays final : public ArrayReader {
 public:
  explicit Arrays(const ModelImpl& model) : model_(model) {}

  absl::Status Read(StateArray array, int64_t piece,
                    absl::Span<float> out) const override {
    const int64_t offset = piece * kStatePieceElems;
    if (array != StateArray::kLookAhead) {
      return model_.shard_->Read(ShardArray(array), offset, out);
    }
    std::fill(out.begin(), out.end(), 0.0F);
    const auto elems = static_cast<int64_t>(out.size());
    for (const LayoutRun& run : model_.layout_->Runs(offset, elems)) {
      ACCRUE_RETURN_IF_ERROR(
          ReadAhead(run, out.subspan(static_cast<size_t>(run.offset - offset),
                                     static_cast<size_t>(run.elems))));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status ReadAhead(const LayoutRun& run, absl::Span<float> out) const {
    const auto& next = model_.next_[static_cast<size_t>(run.group)];
    if (next == nullptr) return absl::OkStatus();
    if (!model_.shard_->device().allocates_host_memory()) {
      return model_.shard_->Read(kernels::Shard::Array::kParameters, run.offset,
                                 out);
    }
    std::copy_n(next->floats() + run.group_offset, run.elems, out.data());
    return absl::OkStatus();
  }

  const ModelImpl& model_;
};

bool ModelImpl::LooksAhead(size_t group, const rule::CycleState& cycle) const {
  return spec_.optimizer.nesterov &&
         spec_.optimizer.buffering == rule::Buffering::kEmbedded &&
         cycle.position > 0 && next_[group] != nullptr;
}

std::vector<SessionState> ModelImpl::SessionStates() const {
  std::vector<SessionState> states;
  for (const auto& [worker, session] : sessions_.by_worker()) {
    states.push_back({.worker = worker,
                      .id = session->id,
                      .last_sequence = session->last_sequence,
                      .last_outcome = session->last_outcome,
                      .last_hash = session->last_hash});
  }
  return states;
}

TrainingState ModelImpl::FirstState(const Version& version) const {
  TrainingState state;
  state.version = version;
  // They may have been changed before; what begins anew is as it was made.
  for (const rule::RuleSpec& rule :
       CountsAsPoisoned() ? GroupRules(spec_) : rules_) {
    GroupState group;
    group.hyper = rule.hyper;
    group.k = rule.k;
    group.update_every = rule.update_every;
    state.groups.push_back(group);
  }
  state.sessions = SessionStates();
  return state;
}

TrainingState ModelImpl::State() const {
  TrainingState state;
  state.version = version_;
  state.folded_pushes = folded_pushes_;
  const Gathering::Open held = gathering_.All();
  for (size_t g = 0; g < rules_.size(); ++g) {
    GroupState group;
    group.hyper = rules_[g].hyper;
    group.k = rules_[g].k;
    group.update_every = rules_[g].update_every;
    group.cycle = cycles_[g];
    if (newest_ != nullptr) group.version = newest_->facts().group_versions[g];
    group.looks_ahead = LooksAhead(g, cycles_[g]);
    group.gather_begin = static_cast<int64_t>(held.begins[g]);
    group.clip_norm = clip_norms_[g];
    group.noise = noise_[g];
    state.groups.push_back(group);
  }
  if (newest_ != nullptr) {
    state.published_folded_pushes = newest_->facts().folded_pushes;
    state.pushes_this_version = sessions_.PushesAfter(version_->number);
  }
  for (const Held& push : held.pushes) {
    state.held.push_back({.worker = push->worker,
                          .encoding = push->encoding,
                          .payload_bytes = push->payload.size_bytes(),
                          .facts = push->facts,
                          .group_square_sums = push->group_square_sums});
  }
  state.sessions = SessionStates();
  state.fenced_sessions = sessions_.fenced();
  state.window = window_;
  state.window_pushes = window_pushes_;
  state.loss_sum = loss_sum_;
  state.loss_count = loss_count_;
  state.last_loss = last_loss_;
  state.short_cycles = short_cycles_;
  state.received_bytes = received_bytes_;
  state.micro_steps = micro_steps_;
  state.recent_micro_steps = recent_micro_steps_.last();
  state.k_changes.assign(k_changes_.begin(), k_changes_.end());
  return state;
}

void ModelImpl::CaptureState(std::shared_ptr<Capture> capture) {
  Run([this, capture = std::move(capture)] { return DoCapture(capture); });
}

bool ModelImpl::DoCapture(const std::shared_ptr<Capture>& capture) {
  CapturedState captured;
  absl::Status usable;
  {
    MutexLock lock(&mu_);
    usable = Usable();
    if (usable.ok()) {
      captured.state = State();
      if (newest_ != nullptr) captured.newest = store_->Hold(newest_);
      captured.held = gathering_.All().pushes;
    }
  }
  if (!usable.ok()) {
    capture->Fail(usable);
    return true;
  }
  if (captured.newest != nullptr) {
    captured.arrays = ShardArrays(spec_);
    const auto& groups = captured.state.groups;
    if (std::any_of(groups.begin(), groups.end(), [](const GroupState& group) {
          return group.looks_ahead;
        })) {
      captured.arrays.push_back(StateArray::kLookAhead);
    }
  }
  capture->Begin(std::move(captured));
  return ReadCapture(capture);
}

bool ModelImpl::ReadCapture(const std::shared_ptr<Capture>& capture) {
  const DriverWait wait(*environment_.device);
  return capture->Read(Arrays(*this), [self = Self(), capture] {
    self->environment_.pool->Post(self->lane_, [self, capture] {
      if (self->ReadCapture(capture)) self->Drive();
    });
  });
}

}  // namespace accrue
