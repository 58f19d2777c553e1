#include "tests/model/stored.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "server/base/status_macros.h"

namespace accrue {

absl::Status Stored::Read(StateArray array, int64_t piece,
                          absl::Span<float> out) const {
  ACCRUE_RETURN_IF_ERROR(fault_);
  std::copy_n(arrays_.at(array).data() + piece * kStatePieceElems, out.size(),
              out.data());
  return absl::OkStatus();
}

absl::StatusOr<ByteChain> Stored::ReadHeld(int64_t index) const {
  return ByteChain::CopyOf(held_[static_cast<size_t>(index)]);
}

void MemoryCapture::Begin(CapturedState captured) {
  stored_->state_ = std::move(captured.state);
  left_ = std::move(captured.arrays);
  const auto elems = static_cast<size_t>(layout_->elems());
  for (const StateArray array : left_) stored_->arrays_[array].resize(elems);
  for (const Held& push : captured.held) {
    std::string bytes;
    for (const ByteChain::Span& span : push->payload.spans()) {
      bytes.append(reinterpret_cast<const char*>(span.data),
                   static_cast<size_t>(span.size));
    }
    stored_->held_.push_back(std::move(bytes));
  }
  if (captured.newest == nullptr) return;
  std::vector<float>& flat = stored_->arrays_[StateArray::kParameters];
  flat.resize(elems);
  for (const LayoutRun& run : layout_->Runs(0, layout_->elems())) {
    std::copy_n(captured.newest->group(run.group) + run.group_offset, run.elems,
                flat.data() + run.offset);
  }
}

bool MemoryCapture::Read(const ArrayReader& arrays,
                         std::function<void()> resume) {
  while (!left_.empty()) {
    const int64_t offset = piece_ * kStatePieceElems;
    const int64_t elems = std::min(kStatePieceElems, layout_->elems() - offset);
    std::vector<float>& flat = stored_->arrays_[left_.back()];
    stored_->fault_.Update(arrays.Read(
        left_.back(), piece_,
        absl::MakeSpan(flat.data() + offset, static_cast<size_t>(elems))));
    ++piece_;
    if (piece_ * kStatePieceElems >= layout_->elems()) {
      piece_ = 0;
      left_.pop_back();
    }
    if (step_) {
      MutexLock lock(&mutex_);
      resuming_.emplace_back(std::move(resume));
      return false;
    }
  }
  if (stored_->fault_.ok()) {
    promise_.set_value(std::move(stored_));
  } else {
    promise_.set_value(stored_->fault_);
  }
  return true;
}

absl::StatusOr<std::shared_ptr<Stored>> MemoryCapture::Wait() {
  auto stored = promise_.get_future().get();
  std::vector<std::thread> resuming;
  {
    MutexLock lock(&mutex_);
    resuming.swap(resuming_);
  }
  for (std::thread& thread : resuming) thread.join();
  return stored;
}

absl::StatusOr<std::shared_ptr<Stored>> CaptureNow(Model& model, bool step) {
  auto capture = std::make_shared<MemoryCapture>(model.layout(), step);
  model.CaptureState(capture);
  return capture->Wait();
}

absl::Status RestoreNow(Model& model, std::shared_ptr<const Stored> stored) {
  std::promise<absl::Status> done;
  StoredModel from;
  from.version = stored->state().version.value_or(Version());
  from.source = std::move(stored);
  model.Restore(std::move(from),
                [&done](absl::Status status) { done.set_value(status); });
  return done.get_future().get();
}

}  // namespace accrue
