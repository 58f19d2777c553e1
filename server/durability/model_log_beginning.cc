// ModelLog's beginnings: how a model is initialized, or goes back to a
// checkpoint, so that a restart finds either all of that or none of it.
#include <optional>
#include <utility>

#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/durability/change_record.h"
#include "server/durability/checkpoint_directory.h"
#include "server/durability/checkpoint_files.h"
#include "server/durability/checkpoint_reader.h"
#include "server/durability/model_log.h"

namespace accrue {

// A checkpoint is the record of a beginning. In the journal it has a number, so
// that no other checkpoint has that; and behind it, once it is there, that it
// counts: whatever a failing disk has left of it otherwise, the model goes on
// as if it had never been.
void ModelLog::NumberBegin(
    Done done, absl::AnyInvocable<void(int64_t lsn, Done done)> write) {
  auto numbered = [self = shared_from_this(), write = std::move(write)](
                      int64_t lsn, Done done) mutable {
    // Not in the journal's job, which others wait for.
    self->environment_.pool->Post(
        self->lane_, [self, lsn, write = std::move(write),
                      done = std::move(done)]() mutable {
          absl::Status removed = self->RemoveRefused();
          if (!removed.ok()) {
            self->NoteChange();  // which no checkpoint has yet
            return done(std::move(removed));
          }
          write(lsn, self->RemoveIfRefused(lsn, std::move(done)));
        });
  };
  if (journal_ == nullptr) return numbered(NextNumber(), std::move(done));
  journal_->Append(EncodeBegin(),
                   [self = shared_from_this(), numbered = std::move(numbered),
                    done = std::move(done)](absl::Status durable) mutable {
                     if (!durable.ok()) return done(std::move(durable));
                     numbered(self->journal_->Roll() - 1, std::move(done));
                   });
}

CommitLog::Done ModelLog::RemoveIfRefused(int64_t lsn, Done done) {
  return [self = shared_from_this(), lsn,
          done = std::move(done)](absl::Status begun) mutable {
    if (begun.ok()) return done(std::move(begun));
    {
      MutexLock lock(&self->mutex_);
      self->refused_.push_back(lsn);
      self->changed_ = true;
    }
    // Not in the journal's job, which others wait for.
    auto end = [self, begun = std::move(begun),
                done = std::move(done)]() mutable {
      self->environment_.pool->Post(
          self->lane_,
          [self, begun = std::move(begun), done = std::move(done)]() mutable {
            if (self->IsOutOfDoubt()) self->RemoveRefused().IgnoreError();
            done(std::move(begun));
          });
    };
    if (self->IsOutOfDoubt()) return end();
    self->journal_->Append(
        EncodeBegin(),
        [end = std::move(end)](const absl::Status&) mutable { end(); });
  };
}

bool ModelLog::IsOutOfDoubt() const {
  MutexLock lock(&mutex_);
  return refused_.empty() || journal_ == nullptr ||
         journal_->durable_lsn() > refused_.back();
}

absl::Status ModelLog::RemoveRefused() {
  std::vector<int64_t> refused;
  {
    MutexLock lock(&mutex_);
    refused = refused_;
  }
  const WorkPool::Waiting waiting;
  for (const int64_t lsn : refused) {
    const absl::Status removed =
        RemoveCheckpoint(*environment_.files, directory_, CheckpointName(lsn));
    // It may never have been there.
    if (!removed.ok() && !absl::IsNotFound(removed)) {
      return Refuse(absl::StatusCode::kUnavailable, Reason::kCheckpointFailed,
                    removed.message());
    }
    MutexLock lock(&mutex_);
    std::erase(refused_, lsn);
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> ModelLog::NumberCapture() {
  if (!IsOutOfDoubt()) {
    {
      MutexLock lock(&mutex_);
      behind_refused_ = BehindRefused{.capture_ended = false, .written = {}};
    }
    journal_->Append(EncodeBegin(),
                     [self = shared_from_this()](absl::Status written) {
                       {
                         MutexLock lock(&self->mutex_);
                         self->behind_refused_->written = std::move(written);
                       }
                       self->CaptureBehindRefused();
                     });
    return Refuse(absl::StatusCode::kUnavailable, Reason::kCheckpointFailed,
                  "what it was to begin with is in the journal's way");
  }
  ACCRUE_RETURN_IF_ERROR(RemoveRefused());
  if (journal_ == nullptr) return NextNumber();
  return journal_->Roll() - 1;
}

bool ModelLog::ContinueBehindRefused() {
  {
    MutexLock lock(&mutex_);
    if (!behind_refused_.has_value()) return false;
    behind_refused_->capture_ended = true;
  }
  CaptureBehindRefused();
  return true;
}

void ModelLog::CaptureBehindRefused() {
  absl::Status written;
  {
    MutexLock lock(&mutex_);
    if (!behind_refused_.has_value() || !behind_refused_->capture_ended ||
        !behind_refused_->written.has_value()) {
      return;
    }
    written = *std::move(behind_refused_->written);
    behind_refused_.reset();
  }
  // Not in the journal's job, which others wait for.
  environment_.pool->Post(
      lane_, [self = shared_from_this(), written = std::move(written)] {
        if (written.ok()) return self->Capture();
        self->OnCheckpoint(self->Refuse(absl::StatusCode::kUnavailable,
                                        Reason::kCheckpointFailed,
                                        written.message()));
      });
}

void ModelLog::AppendBegin(BeginChange change, Done done) {
  NumberBegin(std::move(done), [this, change = std::move(change)](
                                   int64_t lsn, Done written) mutable {
    WriteCheckpoint(Target([lsn] { return lsn; }), std::move(change),
                    [self = shared_from_this(), written = std::move(written)](
                        absl::StatusOr<CheckpointInfo> made) mutable {
                      self->EndBegin(std::move(made), std::move(written));
                    });
  });
}

void ModelLog::AppendRestore(RestoreChange change, Done done) {
  NumberBegin(std::move(done), [this, change = std::move(change)](
                                   int64_t lsn, Done written) mutable {
    environment_.pool->Post(
        lane_, [self = shared_from_this(), lsn, change = std::move(change),
                written = std::move(written)]() mutable {
          absl::StatusOr<CheckpointInfo> made = [&] {
            const WorkPool::Waiting waiting;
            return self->WriteRestored(change, lsn);
          }();
          self->EndBegin(std::move(made), std::move(written));
        });
  });
}

// The same files under another manifest.
absl::StatusOr<CheckpointInfo> ModelLog::WriteRestored(
    const RestoreChange& change, int64_t lsn) {
  const auto& source = static_cast<const CheckpointReader&>(*change.source);
  Manifest manifest;
  manifest.instance = instance_;
  manifest.lsn = lsn;
  manifest.made_at_unix_nanos = absl::ToUnixNanos(absl::Now());
  manifest.spec = spec_;
  manifest.state = change.state;
  const auto write = [&]() -> absl::Status {
    ACCRUE_ASSIGN_OR_RETURN(
        const auto files,
        CheckpointFiles::Create(environment_.files, directory_));
    ACCRUE_RETURN_IF_ERROR(files->Link(source.path(), source.manifest()));
    return files->Commit(manifest);
  };
  if (absl::Status written = write(); !written.ok()) {
    return Refuse(absl::StatusCode::kUnavailable, Reason::kCheckpointFailed,
                  written.message());
  }
  return InfoOf(manifest);
}

void ModelLog::EndBegin(absl::StatusOr<CheckpointInfo> made, Done done) {
  if (!made.ok()) return done(made.status());
  if (journal_ == nullptr) {
    OnBegun(*made);
    return done(absl::OkStatus());
  }
  journal_->Append(EncodeBegun(),
                   [self = shared_from_this(), made = *std::move(made),
                    done = std::move(done)](absl::Status durable) mutable {
                     if (durable.ok()) self->OnBegun(made);
                     done(std::move(durable));
                   });
}

void ModelLog::OnBegun(const CheckpointInfo& made) {
  if (progress_ != nullptr) progress_->Note(*made.version, made.folded_pushes);
  {
    MutexLock lock(&mutex_);
    newest_ = made;
    version_ = *made.version;
    folded_pushes_ = made.folded_pushes;
  }
  Retire();
}

}  // namespace accrue
