#include "server/durability/checkpoint_writing.h"

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <utility>
#include <xxhash.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/kernels/payload_hash.h"

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
  const absl::StatusOr<int64_t> lsn = target_.lsn();
  if (!lsn.ok()) return Fail(lsn.status());
  manifest_.instance = target_.instance;
  manifest_.lsn = *lsn;
  manifest_.spec = target_.spec;
  manifest_.state = std::move(contents.state);
  contents_ = std::move(contents);
  MutexLock lock(&mutex_);
  Wake();
}

void CheckpointWriting::AddPiece(CheckpointMemory::Block block) {
  // Here, where it was read a moment ago.
  const int64_t piece = [this] {
    MutexLock lock(&mutex_);
    return added_++ % piece_count();
  }();
  const Bytes bytes = BytesOf(block.data(), ElemsOf(piece));
  const uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
  MutexLock lock(&mutex_);
  pieces_.push_back({std::move(block), hash});
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
  Piece piece;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    status = failure_;
    if (status.ok() && !TakePiece(&piece)) {
      is_awake_ = false;
      return;
    }
  }
  if (status.ok()) {
    const WorkPool::Waiting waiting;
    status = WriteNext(piece);
    if (!status.ok()) {
      status =
          MakeError(absl::StatusCode::kUnavailable, Reason::kCheckpointFailed,
                    absl::StrCat("checkpoint of model \"", target_.spec.name,
                                 "\": ", status.message()));
    }
  }
  piece = {};
  if (!status.ok() || part_ == Part::kNone) return Finish(std::move(status));
  target_.pool->Post(lane_, [self = shared_from_this()] { self->Step(); });
}

bool CheckpointWriting::TakePiece(Piece* piece) {
  if (part_ != Part::kArrays) return true;
  const bool has_parameters = !contents_.parameters.empty();
  if (has_parameters && added_ == array_piece_count()) return true;
  if (pieces_.empty()) return has_parameters;
  *piece = std::move(pieces_.front());
  pieces_.pop_front();
  return true;
}

void CheckpointWriting::Finish(absl::Status status) {
  std::deque<Piece> unused;
  {
    MutexLock lock(&mutex_);
    failure_ = status.ok() ? absl::InternalError("it has ended") : status;
    unused.swap(pieces_);
  }
  unused.clear();
  contents_ = {};
  {
    const WorkPool::Waiting waiting;
    state_file_.reset();
    parameters_file_.reset();
    files_.reset();
  }
  if (!status.ok()) return done_(std::move(status));
  done_(InfoOf(manifest_));
}

absl::Status CheckpointWriting::WriteNext(const Piece& piece) {
  switch (part_) {
    case Part::kDirectory:
      return MakeDirectory();
    case Part::kArrays:
      if (piece.block.data() != nullptr) return WriteArrayPiece(piece);
      return WriteParameterPiece();
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
  part_ = Part::kArrays;
  EndArrays();
  return absl::OkStatus();
}

absl::Status CheckpointWriting::WriteArrayPiece(const Piece& piece) {
  if (array_piece_ == 0) {
    ACCRUE_ASSIGN_OR_RETURN(
        state_file_,
        files_->BeginArrays(kStateFile,
                            ArrayFileHeader(target_.spec, contents_.arrays)));
  }
  const int64_t of_array = array_piece_ % piece_count();
  if (of_array == 0) {
    state_file_->BeginArray(contents_.arrays[array_piece_ / piece_count()]);
  }
  ACCRUE_RETURN_IF_ERROR(state_file_->AppendPiece(
      {BytesOf(piece.block.data(), ElemsOf(of_array))}, piece.hash));
  if (++array_piece_ < array_piece_count()) return absl::OkStatus();
  EndArrays();
  return state_file_->End();
}

absl::Status CheckpointWriting::WriteParameterPiece() {
  if (parameter_piece_ == 0) {
    ACCRUE_ASSIGN_OR_RETURN(
        parameters_file_,
        files_->BeginArrays(
            kParametersFile,
            ArrayFileHeader(target_.spec, {StateArray::kParameters})));
    parameters_file_->BeginArray(StateArray::kParameters);
  }
  const std::vector<Bytes> runs = ParameterRuns(parameter_piece_);
  kernels::PayloadHash hash;
  for (const Bytes& run : runs) hash.Update(run.data(), std::ssize(run));
  ACCRUE_RETURN_IF_ERROR(parameters_file_->AppendPiece(runs, hash.Digest()));
  if (++parameter_piece_ < piece_count()) return absl::OkStatus();
  contents_.parameters.clear();
  contents_.publication = nullptr;
  EndArrays();
  return parameters_file_->End();
}

void CheckpointWriting::EndArrays() {
  if (contents_.parameters.empty() && array_piece_ == array_piece_count()) {
    part_ = Part::kHeld;
  }
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

absl::Status CheckpointWriting::WriteHeldPush() {
  const auto count = static_cast<int64_t>(contents_.held.size());
  if (count == 0) {
    part_ = Part::kManifest;
    return absl::OkStatus();
  }
  if (held_push_ == 0) ACCRUE_RETURN_IF_ERROR(files_->BeginHeld());
  ACCRUE_RETURN_IF_ERROR(
      files_->AppendHeld(contents_.held[held_push_]->payload));
  if (++held_push_ < count) return absl::OkStatus();
  part_ = Part::kManifest;
  return files_->EndHeld();
}

absl::Status CheckpointWriting::Commit() {
  manifest_.made_at_unix_nanos = absl::GetCurrentTimeNanos();
  ACCRUE_RETURN_IF_ERROR(files_->Commit(manifest_));
  part_ = Part::kNone;
  return absl::OkStatus();
}

}  // namespace accrue
