#include "server/durability/model_log.h"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/logging.h"
#include "server/durability/change_record.h"
#include "server/model/model_arrays.h"

namespace accrue {
namespace {

// A journal may be as large as so many states; or as so many bytes, which are
// read again in no time.
constexpr int64_t kJournalStates = 8;
constexpr int64_t kLeastJournalBytes = int64_t{64} << 20;
// Of checkpoints that nobody has asked for: each takes what a full disk has
// left.
constexpr absl::Duration kPauseAfterFailure = absl::Seconds(10);

int64_t JournalLimit(const DurabilityOptions& options, const ModelSpec& spec,
                     const Layout& layout) {
  if (options.journal_limit_bytes > 0) return options.journal_limit_bytes;
  const auto arrays = static_cast<int64_t>(ShardArrays(spec).size()) + 1;
  return std::max(kLeastJournalBytes, kJournalStates * arrays * layout.elems() *
                                          int64_t{sizeof(float)});
}

}  // namespace

ModelLog::ModelLog(Options options)
    : shared_environment_(options.environment),
      environment_(*shared_environment_),
      model_(options.model),
      name_(options.model->name()),
      spec_(options.model->spec()),
      layout_(options.model->layout()),
      directory_(std::move(options.directory)),
      instance_(std::move(options.instance)),
      lane_(environment_.pool->NewLane()),
      journal_limit_bytes_(JournalLimit(environment_.options, spec_, *layout_)),
      journal_(std::move(options.journal)),
      progress_(std::move(options.progress)),
      newest_(std::move(options.newest)),
      last_number_(newest_.lsn) {
  // Not the checkpoint's: a restart may have begun a lineage.
  const ModelDescription model = options.model->Describe();
  version_ = model.version.value_or(Version());
  folded_pushes_ = model.folded_pushes;
}

ModelLog::~ModelLog() {
  MutexLock lock(&mutex_);
  environment_.timers->Cancel(timer_);
}

void ModelLog::Start() { ArmTimer(); }

void ModelLog::Append(Change change, Done done) {
  if (absl::Status closed = Closed(); !closed.ok()) {
    environment_.pool->Post(
        lane_, [done = std::move(done), closed = std::move(closed)]() mutable {
          done(std::move(closed));
        });
    return;
  }
  if (auto* begin = std::get_if<BeginChange>(&change)) {
    return AppendBegin(std::move(*begin), std::move(done));
  }
  if (auto* restore = std::get_if<RestoreChange>(&change)) {
    return AppendRestore(std::move(*restore), std::move(done));
  }
  AppendToJournal(std::move(change), std::move(done));
}

void ModelLog::AppendToJournal(Change change, Done done) {
  if (absl::Status room = CheckRoom(); !room.ok()) {
    CheckpointSoon();
    environment_.pool->Post(
        lane_, [done = std::move(done), room = std::move(room)]() mutable {
          done(std::move(room));
        });
    return;
  }
  journal_->Append(EncodeChange(change),
                   [self = shared_from_this(),
                    done = std::move(done)](absl::Status durable) mutable {
                     done(std::move(durable));
                     if (self->journal_bytes() > self->journal_limit_bytes_) {
                       self->CheckpointSoon();
                     }
                   });
}

int64_t ModelLog::journal_bytes() const {
  return journal_->BytesFrom(newest().lsn + 1);
}

absl::Status ModelLog::CheckRoom() const {
  const int64_t bytes = journal_bytes();
  if (bytes <= 2 * journal_limit_bytes_) return absl::OkStatus();
  ErrorInfo info;
  info.reason = Reason::kJournalFailed;
  info.subject = name_;
  info.retry_after = absl::Seconds(1);
  return MakeError(
      absl::StatusCode::kUnavailable, info,
      absl::StrCat("model \"", name_, "\": its journal has ", bytes,
                   " bytes, more than twice its limit of ",
                   journal_limit_bytes_,
                   "; it goes on once a checkpoint has been written"));
}

int64_t ModelLog::NextNumber() {
  MutexLock lock(&mutex_);
  changed_ = false;
  return ++last_number_;
}

absl::Status ModelLog::Refuse(absl::StatusCode code, Reason reason,
                              absl::string_view why) const {
  ErrorInfo info;
  info.reason = reason;
  info.subject = name_;
  return MakeError(code, info, absl::StrCat("model \"", name_, "\": ", why));
}

CheckpointTarget ModelLog::Target(
    std::function<absl::StatusOr<int64_t>()> lsn) const {
  return {.files = environment_.files,
          .pool = environment_.pool,
          .memory = environment_.memory,
          .directory = directory_,
          .instance = instance_,
          .lsn = std::move(lsn),
          .spec = spec_,
          .layout = layout_};
}

void ModelLog::NoteChange() {
  MutexLock lock(&mutex_);
  changed_ = true;
}

void ModelLog::NoteFolded(const Version& version, int64_t folded_pushes) {
  if (progress_ != nullptr) progress_->Note(version, folded_pushes);
  MutexLock lock(&mutex_);
  version_ = version;
  folded_pushes_ = folded_pushes;
  if (IsDue()) CheckpointSoon();
}

bool ModelLog::IsDue() const {
  const int64_t every = environment_.options.checkpoint_every_updates;
  if (every == 0 || checkpointing_) return false;
  const bool same = newest_.version.has_value() &&
                    newest_.version->lineage == version_.lineage;
  const int64_t before = same ? newest_.version->number : 0;
  return version_.number - before >= every;
}

bool ModelLog::Changed() const {
  if (journal_ != nullptr) return journal_->appended_lsn() >= newest_.next_lsn;
  return changed_ || folded_pushes_ != newest_.folded_pushes ||
         version_ != newest_.version.value_or(Version());
}

void ModelLog::CheckpointSoon() {
  environment_.pool->Post(lane_, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self == nullptr) return;
    {
      MutexLock lock(&self->mutex_);
      if (self->checkpointing_ || absl::Now() < self->not_before_) return;
    }
    self->Checkpoint([](const absl::StatusOr<CheckpointInfo>&) {});
  });
}

void ModelLog::Checkpoint(CheckpointDone done) {
  {
    MutexLock lock(&mutex_);
    if (checkpointing_) {
      next_.push_back(std::move(done));
      return;
    }
    if (Changed()) {
      checkpointing_ = true;
      waiting_.push_back(std::exchange(done, nullptr));
    }
  }
  if (done == nullptr) return Capture();
  environment_.pool->Post(
      lane_, [self = shared_from_this(), done = std::move(done)]() mutable {
        done(self->newest());
      });
}

void ModelLog::Capture() {
  const std::shared_ptr<Model> model = model_.lock();
  if (model == nullptr || !Closed().ok()) {
    return OnCheckpoint(Refuse(absl::StatusCode::kNotFound,
                               Reason::kModelUnknown, "was deleted"));
  }
  model->CaptureState(std::make_shared<CheckpointWriter>(
      Target([self = shared_from_this()] { return self->NumberCapture(); }),
      [self = shared_from_this()](absl::StatusOr<CheckpointInfo> made) {
        self->OnCheckpoint(std::move(made));
      }));
}

void ModelLog::OnCheckpoint(absl::StatusOr<CheckpointInfo> made) {
  if (ContinueBehindRefused()) return;
  {
    MutexLock lock(&mutex_);
    // What it was to have was refused: it would be the newest once more.
    if (!made.ok() && journal_ != nullptr && !Changed()) made = newest_;
  }
  // What was made of a model that is deleted is gone with it.
  if (absl::Status closed = Closed(); !closed.ok()) made = std::move(closed);
  if (made.ok()) {
    {
      MutexLock lock(&mutex_);
      // One that was captured before the model began anew is older.
      if (made->lsn > newest_.lsn) newest_ = *made;
    }
    Retire();
    ACCRUE_LOG(info, "model \"{}\": checkpoint {} of t={}, {} bytes", name_,
               made->name, made->folded_pushes, made->size_bytes);
  } else if (!absl::IsNotFound(made.status())) {
    ACCRUE_LOG(error, "model \"{}\": no checkpoint: {}", name_,
               made.status().message());
    MutexLock lock(&mutex_);
    not_before_ = absl::Now() + kPauseAfterFailure;
    changed_ = true;
  }
  std::vector<CheckpointDone> told;
  bool again;
  bool due;
  {
    MutexLock lock(&mutex_);
    told = std::exchange(waiting_, std::exchange(next_, {}));
    // The one that was made serves those too, unless something came between.
    if (made.ok() && !Changed()) {
      std::move(waiting_.begin(), waiting_.end(), std::back_inserter(told));
      waiting_.clear();
    }
    again = checkpointing_ = !waiting_.empty();
    // Updates that came while it was made. Those of a lineage that it does not
    // have are behind it, however many they were.
    due = made.ok() && made->version.has_value() &&
          made->version->lineage == version_.lineage && IsDue();
  }
  for (CheckpointDone& done : told) done(made);
  if (again) return Capture();
  if (due) CheckpointSoon();
  ArmTimer();
}

void ModelLog::Retire() {
  if (!Closed().ok()) return;  // all of it goes
  const WorkPool::Waiting waiting;
  MutexLock lock(&retiring_);
  const CheckpointInfo newest = this->newest();
  const auto kept =
      RetireCheckpoints(*environment_.files, directory_, newest.lsn,
                        environment_.options.checkpoint_keep, Pinned());
  absl::Status status = kept.status();
  // Then the journal leads from an older one to where the model is.
  if (kept.ok() && (kept->empty() || kept->front().lsn != newest.lsn)) {
    status = absl::DataLossError("it is damaged");
  }
  if (status.ok() && journal_ != nullptr) {
    status = journal_->DropBefore(newest.lsn + 1);
  }
  if (status.ok()) return;
  ACCRUE_LOG(warn, "model \"{}\": what checkpoint {} makes needless stays: {}",
             name_, newest.name, status.message());
}

std::shared_ptr<const std::string> ModelLog::Pin(const std::string& name) {
  auto pin = std::make_shared<const std::string>(name);
  MutexLock lock(&mutex_);
  std::erase_if(pins_, [](const auto& other) { return other.expired(); });
  pins_.push_back(pin);
  return pin;
}

std::set<std::string> ModelLog::Pinned() const {
  std::set<std::string> names;
  MutexLock lock(&mutex_);
  for (const auto& weak : pins_) {
    if (const auto pin = weak.lock()) names.insert(*pin);
  }
  return names;
}

void ModelLog::CheckpointLast(CheckpointDone done) {
  // A refused push changes its session, and nothing notes that.
  NoteChange();
  Checkpoint([self = shared_from_this(), done = std::move(done)](
                 const absl::StatusOr<CheckpointInfo>& made) mutable {
    absl::Status clean = made.status();
    if (clean.ok() && self->progress_ != nullptr) {
      const WorkPool::Waiting waiting;
      clean = self->progress_->End(made->version.value_or(Version()),
                                   made->folded_pushes);
    }
    if (!clean.ok()) return done(clean);
    {
      MutexLock lock(&self->mutex_);
      self->clean_ = true;
    }
    done(made);
  });
}

bool ModelLog::IsKept() const {
  if (journal_ != nullptr) return true;
  MutexLock lock(&mutex_);
  return clean_;
}

void ModelLog::ArmTimer() {
  const absl::Duration period = environment_.options.checkpoint_period;
  if (period == absl::InfiniteDuration()) return;
  MutexLock lock(&mutex_);
  environment_.timers->Cancel(timer_);
  timer_ =
      environment_.timers->At(absl::Now() + period, [weak = weak_from_this()] {
        const auto self = weak.lock();
        if (self == nullptr) return;
        bool changed;
        {
          MutexLock lock(&self->mutex_);
          changed = self->Changed() && !self->closed_;
        }
        // It may come to nothing.
        self->ArmTimer();
        if (changed) self->CheckpointSoon();
      });
}

void ModelLog::Close() {
  MutexLock lock(&mutex_);
  closed_ = true;
  environment_.timers->Cancel(timer_);
}

absl::Status ModelLog::Closed() const {
  MutexLock lock(&mutex_);
  if (!closed_) return absl::OkStatus();
  return Refuse(absl::StatusCode::kNotFound, Reason::kModelUnknown,
                "was deleted");
}

CheckpointInfo ModelLog::newest() const {
  MutexLock lock(&mutex_);
  return newest_;
}

}  // namespace accrue
