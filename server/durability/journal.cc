#include "server/durability/journal.h"

#include <algorithm>
#include <iterator>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/error.h"
#include "server/base/fail_point.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

// Not there; or damaged, and another incarnation's: ours were read. Else it is
// the disk that fails, and another time may not.
bool TellsWhatItIs(const absl::Status& unopened) {
  return absl::IsNotFound(unopened) || absl::IsDataLoss(unopened) ||
         absl::IsOutOfRange(unopened);
}

}  // namespace

absl::StatusOr<std::shared_ptr<Journal>> Journal::Open(JournalOptions options) {
  std::shared_ptr<Journal> journal(new Journal(std::move(options)));
  ACCRUE_RETURN_IF_ERROR(journal->FindSegments());
  absl::Status begun = journal->BeginSegment(journal->options_.next_lsn);
  if (begun.ok()) return journal;
  // Without a segment, a restart would find no journal.
  if (journal->segment_ == nullptr) return begun;
  ACCRUE_LOG(error, "journal: {}", begun.message());
  journal->failed_ = true;
  return journal;
}

Journal::Journal(JournalOptions options)
    : options_(std::move(options)),
      lane_(options_.pool->NewLane()),
      next_lsn_(options_.next_lsn),
      durable_lsn_(options_.next_lsn - 1) {}

std::string Journal::PathOf(int64_t first_lsn) const {
  return absl::StrCat(options_.directory, "/", journal::SegmentName(first_lsn));
}

absl::Status Journal::FindSegments() {
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          options_.files->List(options_.directory));
  std::vector<int64_t> lsns = {options_.next_lsn};
  for (const std::string& name : names) {
    const int64_t lsn = journal::LsnOfName(name).value_or(0);
    // Without a record of ours, it is replaced.
    if (lsn == 0 || lsn >= options_.next_lsn) continue;
    lsns.push_back(lsn);
    const auto file = options_.files->Open(PathOf(lsn));
    MutexLock lock(&mutex_);
    segments_[lsn] = file.ok() ? (*file)->size_bytes() : 0;
  }
  std::sort(lsns.rbegin(), lsns.rend());
  absl::Status unread;
  for (const int64_t lsn : lsns) {
    auto segment = JournalSegment::Reopen(options_.files, PathOf(lsn));
    if (!segment.ok()) {
      if (!TellsWhatItIs(segment.status())) unread.Update(segment.status());
      continue;
    }
    if ((*segment)->id() != options_.id) continue;
    // One that is newer may be ours: this one does not go on in the next.
    ACCRUE_RETURN_IF_ERROR(unread);
    segment_ = *std::move(segment);
    break;
  }
  return absl::OkStatus();
}

absl::Status Journal::BeginSegment(int64_t first_lsn) {
  ACCRUE_ASSIGN_OR_RETURN(
      std::unique_ptr<JournalSegment> segment,
      JournalSegment::Create(options_.files, options_.directory, first_lsn,
                             options_.id));
  // One of the same name is no more.
  if (segment_ != nullptr && segment_->first_lsn() != first_lsn) {
    segment_->Seal(first_lsn);
  }
  segment_ = std::move(segment);
  failed_ = false;
  MutexLock lock(&mutex_);
  segments_[first_lsn] = segment_->size_bytes();
  return absl::OkStatus();
}

void Journal::Append(JournalEntry entry, Done done) {
  MutexLock lock(&mutex_);
  ++next_lsn_;
  queue_.push_back({std::move(entry), std::move(done)});
  if (working_) return;
  working_ = true;
  options_.pool->Post(lane_, [self = shared_from_this()] { self->Work(); });
}

void Journal::Work() {
  while (true) {
    int64_t first_lsn = 0;
    std::vector<Queued> group = Take(&first_lsn);
    if (group.empty()) return;
    absl::Status status;
    {
      const WorkPool::Waiting waiting;
      status = Write(first_lsn, group);
    }
    if (!status.ok()) status = Refuse(status, &group);
    for (Queued& queued : group) queued.done(status);
  }
}

std::vector<Journal::Queued> Journal::Take(int64_t* first_lsn) {
  MutexLock lock(&mutex_);
  std::vector<Queued> group;
  const auto queued = static_cast<int64_t>(queue_.size());
  *first_lsn = next_lsn_ - queued;
  int64_t count = queued;
  if (roll_lsn_ > *first_lsn) count = std::min(count, roll_lsn_ - *first_lsn);
  std::move(queue_.begin(), queue_.begin() + count, std::back_inserter(group));
  queue_.erase(queue_.begin(), queue_.begin() + count);
  working_ = !group.empty();
  return group;
}

absl::Status Journal::Write(int64_t first_lsn,
                            const std::vector<Queued>& group) {
  int64_t bytes = 0;
  for (const Queued& queued : group) {
    bytes += JournalSegment::RecordBytes(queued.entry);
  }
  bool roll = failed_;
  if (segment_->size_bytes() > journal::kRecordsBegin) {
    MutexLock lock(&mutex_);
    roll = roll || roll_lsn_ == first_lsn ||
           segment_->size_bytes() + bytes > options_.segment_bytes;
  }
  if (roll) {
    // Whatever is there of a new one that fails, the old one ends here.
    failed_ = true;
    ACCRUE_RETURN_IF_ERROR(BeginSegment(first_lsn));
  }
  absl::Status status = WriteRecords(first_lsn, group);
  if (!status.ok()) {
    failed_ = true;
    segment_->Abandon();
  }
  MutexLock lock(&mutex_);
  segments_[segment_->first_lsn()] = segment_->size_bytes();
  if (status.ok()) durable_lsn_ = first_lsn + std::ssize(group) - 1;
  return status;
}

absl::Status Journal::WriteRecords(int64_t first_lsn,
                                   const std::vector<Queued>& group) {
  std::vector<const JournalEntry*> entries;
  entries.reserve(group.size());
  for (const Queued& queued : group) entries.push_back(&queued.entry);
  ACCRUE_RETURN_IF_ERROR(segment_->Write(first_lsn, entries));
  return segment_->Sync();
}

absl::Status Journal::Refuse(const absl::Status& why,
                             std::vector<Queued>* group) {
  int64_t untold = 0;
  if (failures_.Allow(absl::Now(), &untold)) {
    ACCRUE_LOG(error, "journal: {} ({} more untold of)", why, untold);
  }
  MutexLock lock(&mutex_);
  std::move(queue_.begin(), queue_.end(), std::back_inserter(*group));
  queue_.clear();
  next_lsn_ -= std::ssize(*group);
  return MakeError(absl::StatusCode::kUnavailable, Reason::kJournalFailed,
                   absl::StrCat("the journal fails: ", why.message()));
}

int64_t Journal::Roll() {
  MutexLock lock(&mutex_);
  roll_lsn_ = next_lsn_;
  return roll_lsn_;
}

absl::Status Journal::DropBefore(int64_t lsn) {
  while (true) {
    int64_t first_lsn = 0;
    {
      MutexLock lock(&mutex_);
      const auto oldest = segments_.begin();
      const auto next = std::next(oldest);
      if (next == segments_.end() || next->first > lsn) break;
      first_lsn = oldest->first;
    }
    absl::Status removed = options_.files->Remove(PathOf(first_lsn));
    if (!removed.ok() && !absl::IsNotFound(removed)) return removed;
    AtFailPoint(FailPoint::kJournalSegmentRemoved);
    MutexLock lock(&mutex_);
    segments_.erase(first_lsn);
  }
  return options_.files->SyncDirectory(options_.directory);
}

int64_t Journal::BytesFrom(int64_t lsn) const {
  MutexLock lock(&mutex_);
  int64_t bytes = 0;
  for (auto segment = segments_.begin(); segment != segments_.end();
       ++segment) {
    const auto next = std::next(segment);
    const int64_t end = next == segments_.end() ? next_lsn_ : next->first;
    if (end > lsn) bytes += segment->second;
  }
  return bytes;
}

int64_t Journal::appended_lsn() const {
  MutexLock lock(&mutex_);
  return next_lsn_ - 1;
}

int64_t Journal::durable_lsn() const {
  MutexLock lock(&mutex_);
  return durable_lsn_;
}

}  // namespace accrue
