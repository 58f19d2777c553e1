#include "server/durability/checkpoint_writer.h"

#include <utility>

#include "absl/types/span.h"
#include "server/durability/checkpoint_writing.h"

namespace accrue {
namespace {

// Before the first push.
std::vector<GroupState> FirstGroups(const ModelSpec& spec) {
  std::vector<GroupState> groups;
  for (const GroupSpec& group : spec.groups) {
    GroupState& state = groups.emplace_back();
    state.hyper = group.hyper;
    state.k = group.k;
    state.update_every = group.update_every;
  }
  return groups;
}

}  // namespace

CheckpointWriter::CheckpointWriter(CheckpointTarget target, CheckpointDone done)
    : writing_(std::make_shared<CheckpointWriting>(std::move(target),
                                                   std::move(done))) {}

CheckpointWriter::~CheckpointWriter() {
  if (!ended_) Fail(absl::CancelledError("the model's state was not read"));
}

void CheckpointWriter::Begin(CapturedState captured) {
  arrays_ = captured.arrays;
  CheckpointContents contents;
  contents.state = std::move(captured.state);
  if (captured.newest != nullptr) {
    contents.parameters = captured.newest->groups();
  }
  contents.publication = std::move(captured.newest);
  contents.held = std::move(captured.held);
  contents.arrays = std::move(captured.arrays);
  writing_->Start(std::move(contents));
}

bool CheckpointWriter::Read(const ArrayReader& arrays,
                            std::function<void()> resume) {
  while (array_ < arrays_.size() && !writing_->failed()) {
    CheckpointMemory::Block block = writing_->memory().Take(resume);
    if (block.data() == nullptr) return false;
    const auto elems = static_cast<size_t>(writing_->ElemsOf(piece_));
    const absl::Status read =
        arrays.Read(arrays_[array_], piece_, {block.data(), elems});
    if (!read.ok()) {
      Fail(read);
      return true;
    }
    writing_->AddPiece(std::move(block));
    if (++piece_ < writing_->piece_count()) continue;
    ++array_;
    piece_ = 0;
  }
  ended_ = true;
  // Who was woken for a block that it has no use for wakes the next.
  if (array_ < arrays_.size()) writing_->memory().PassOn();
  return true;
}

void CheckpointWriter::Fail(const absl::Status& why) {
  ended_ = true;
  writing_->Fail(why);
}

void WriteCheckpoint(CheckpointTarget target, BeginChange begin,
                     CheckpointDone done) {
  CheckpointContents contents;
  contents.state = std::move(begin.state);
  if (contents.state.groups.empty()) {
    contents.state.groups = FirstGroups(target.spec);
  }
  contents.parameters = std::move(begin.parameters);
  std::make_shared<CheckpointWriting>(std::move(target), std::move(done))
      ->Start(std::move(contents));
}

}  // namespace accrue
