#include "server/durability/checkpoint_writing.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

using Bytes = CheckpointFiles::Bytes;

Bytes BytesOf(const float* floats, int64_t elems) {
  return {reinterpret_cast<const std::byte*>(floats),
          static_cast<size_t>(elems) * sizeof(float)};
}

// Together with the last run, where it goes on from there.
void AddRun(Bytes run, std::vector<Bytes>& runs) {
  if (!runs.empty() && runs.back().data() + runs.back().size() == run.data()) {
    runs.back() = {runs.back().data(), runs.back().size() + run.size()};
  } else {
    runs.push_back(run);
  }
}

}  // namespace

CheckpointWriting::CheckpointWriting(CheckpointTarget target,
                                     CheckpointDone done)
    : target_(std::move(target)),
      lane_(target_.pool->NewLane()),
      done_(std::move(done)) {}

int64_t CheckpointWriting::ElemsOf(int64_t piece) const {
  return std::min(kStatePieceElems,
                  target_.layout->elems() - piece * kStatePieceElems);
}

void CheckpointWriting::Start(CheckpointContents contents) {
  manifest_.instance = target_.instance;
  manifest_.lsn = target_.lsn();
  manifest_.spec = target_.spec;
  manifest_.state = std::move(contents.state);
  contents_ = std::move(contents);
  MutexLock lock(&mutex_);
  Wake();
}

void CheckpointWriting::AddPiece(CheckpointMemory::Block block) {
  MutexLock lock(&mutex_);
  blocks_.push_back(std::move(block));
  Wake();
}

void CheckpointWriting::Fail(const absl::Status& why) {
  MutexLock lock(&mutex_);
  if (failure_.ok()) failure_ = why;
  Wake();
}

bool CheckpointWriting::failed() const {
  MutexLock lock(&mutex_);
  return !failure_.ok();
}

void CheckpointWriting::Wake() {
  if (is_awake_) return;
  is_awake_ = true;
  target_.pool->Post(lane_, [self = shared_from_this()] { self->Step(); });
}

void CheckpointWriting::Step() {
  CheckpointMemory::Block block;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    status = failure_;
    if (status.ok() && part_ == Part::kArrays) {
      if (blocks_.empty()) {
        is_awake_ = false;
        return;
      }
      block = std::move(blocks_.front());
      blocks_.pop_front();
    }
  }
  if (status.ok()) {
    const WorkPool::Waiting waiting;
    status = WriteNext(block.data());
    if (!status.ok()) {
      status =
          MakeError(absl::StatusCode::kUnavailable, Reason::kCheckpointFailed,
                    absl::StrCat("checkpoint of model \"", target_.spec.name,
                                 "\": ", status.message()));
    }
  }
  block = {};
  if (!status.ok() || part_ == Part::kNone) return Finish(std::move(status));
  target_.pool->Post(lane_, [self = shared_from_this()] { self->Step(); });
}

void CheckpointWriting::Finish(absl::Status status) {
  std::deque<CheckpointMemory::Block> unused;
  {
    MutexLock lock(&mutex_);
    failure_ = status.ok() ? absl::InternalError("it has ended") : status;
    unused.swap(blocks_);
  }
  unused.clear();
  contents_ = {};
  {
    const WorkPool::Waiting waiting;
    files_.reset();
  }
  if (!status.ok()) return done_(std::move(status));
  done_(InfoOf(manifest_));
}

absl::Status CheckpointWriting::WriteNext(const float* block) {
  switch (part_) {
    case Part::kDirectory:
      return MakeDirectory();
    case Part::kParameters:
      return WriteParameterPiece();
    case Part::kArrays:
      return WriteArrayPiece(block);
    case Part::kHeld:
      return WriteHeldPush();
    case Part::kManifest:
      return Commit();
    case Part::kNone:
      break;
  }
  return absl::OkStatus();
}

absl::Status CheckpointWriting::MakeDirectory() {
  ACCRUE_ASSIGN_OR_RETURN(
      files_, CheckpointFiles::Create(target_.files, target_.directory));
  part_ = Part::kParameters;
  return absl::OkStatus();
}

absl::Status CheckpointWriting::WriteParameterPiece() {
  const Part next = contents_.arrays.empty() ? Part::kHeld : Part::kArrays;
  if (contents_.parameters.empty()) {
    part_ = next;
    return absl::OkStatus();
  }
  if (next_ == 0) {
    ACCRUE_RETURN_IF_ERROR(files_->BeginFile(
        kParametersFile,
        ArrayFileHeader(target_.spec, {StateArray::kParameters})));
    files_->BeginArray(StateArray::kParameters);
  }
  ACCRUE_RETURN_IF_ERROR(files_->AppendPiece(ParameterRuns(next_)));
  if (++next_ < piece_count()) return absl::OkStatus();
  // The model waits for their memory.
  contents_.parameters.clear();
  contents_.publication = nullptr;
  part_ = next;
  next_ = 0;
  return files_->EndFile();
}

std::vector<Bytes> CheckpointWriting::ParameterRuns(int64_t piece) const {
  std::vector<Bytes> runs;
  for (const LayoutRun& run :
       target_.layout->Runs(piece * kStatePieceElems, ElemsOf(piece))) {
    const auto group = static_cast<size_t>(run.group);
    AddRun(BytesOf(contents_.parameters[group]->floats() + run.group_offset,
                   run.elems),
           runs);
  }
  return runs;
}

absl::Status CheckpointWriting::WriteArrayPiece(const float* block) {
  const int64_t piece = next_ % piece_count();
  if (next_ == 0) {
    ACCRUE_RETURN_IF_ERROR(files_->BeginFile(
        kStateFile, ArrayFileHeader(target_.spec, contents_.arrays)));
  }
  if (piece == 0) files_->BeginArray(contents_.arrays[next_ / piece_count()]);
  ACCRUE_RETURN_IF_ERROR(files_->AppendPiece({BytesOf(block, ElemsOf(piece))}));
  ++next_;
  if (next_ < piece_count() * static_cast<int64_t>(contents_.arrays.size())) {
    return absl::OkStatus();
  }
  part_ = Part::kHeld;
  next_ = 0;
  return files_->EndFile();
}

absl::Status CheckpointWriting::WriteHeldPush() {
  const auto count = static_cast<int64_t>(contents_.held.size());
  if (count == 0) {
    part_ = Part::kManifest;
    return absl::OkStatus();
  }
  if (next_ == 0) ACCRUE_RETURN_IF_ERROR(files_->BeginHeld());
  ACCRUE_RETURN_IF_ERROR(files_->AppendHeld(contents_.held[next_]->payload));
  if (++next_ < count) return absl::OkStatus();
  part_ = Part::kManifest;
  return files_->EndFile();
}

absl::Status CheckpointWriting::Commit() {
  manifest_.made_at_unix_nanos = absl::GetCurrentTimeNanos();
  ACCRUE_RETURN_IF_ERROR(files_->Commit(manifest_));
  part_ = Part::kNone;
  return absl::OkStatus();
}

}  // namespace accrue
