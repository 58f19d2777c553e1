// Journal: one model's records, in the order in which they were appended; each
// is durable before anybody is told so.
//
// Order.     Append numbers a record (lsn: 1, 2, ...) and returns. A job of the
//            pool writes all that are queued with one sync for all; then it
//            calls their `done`s, in order.
// Errors.    UNAVAILABLE kJournalFailed: the disk is full, or fails. The record
//            is refused, and so is what was queued behind it; what is appended
//            then gets their numbers, and is tried afresh, in a new segment: so
//            it goes on by itself when the disk does. A refused record may come
//            back at a restart only where the disk would not even cut it off,
//            and nothing was appended since.
// Threading. safe. Open, DropBefore: wait for the disk.
#ifndef ACCRUE_SERVER_DURABILITY_JOURNAL_H_
#define ACCRUE_SERVER_DURABILITY_JOURNAL_H_

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/base/telling_rate.h"
#include "server/base/work_pool.h"
#include "server/durability/file.h"
#include "server/durability/journal_segment.h"

namespace accrue {

struct JournalOptions {
  FileSystem* files = nullptr;
  WorkPool* pool = nullptr;
  std::string directory;  // of the model; exists
  // Of the model's incarnation, as RandomId makes it: segments of another one
  // are not this journal's.
  std::string id;
  int64_t next_lsn = 1;  // where JournalReader, settled, has ended
  // A segment that is longer is not continued. It may be longer by what is
  // written at once.
  int64_t segment_bytes = int64_t{1} << 30;
};

class Journal : public std::enable_shared_from_this<Journal> {
 public:
  using Done = absl::AnyInvocable<void(absl::Status)>;

  // Begins a new segment; where the disk fails at that, and there is one of
  // this journal already, the first record does. What other incarnations have
  // left is not read. What is queued is still written when it is let go of.
  // UNAVAILABLE, and nothing has changed: which segment of this journal is its
  // newest cannot be read now.
  static absl::StatusOr<std::shared_ptr<Journal>> Open(JournalOptions options);

  void Append(JournalEntry entry, Done done);
  // The record appended next begins a segment. Returns its number.
  int64_t Roll();
  // Removes the segments of which no record is `lsn` or later.
  absl::Status DropBefore(int64_t lsn);

  // Of the segments that hold records from `lsn` on.
  int64_t BytesFrom(int64_t lsn) const;
  int64_t appended_lsn() const;  // the newest; 0: none
  int64_t durable_lsn() const;

 private:
  struct Queued {
    JournalEntry entry;
    Done done;
  };

  explicit Journal(JournalOptions options);
  absl::Status FindSegments();
  absl::Status BeginSegment(int64_t first_lsn);
  std::string PathOf(int64_t first_lsn) const;

  void Work();
  // Those to be written at once; empty: none, and the job has ended.
  std::vector<Queued> Take(int64_t* first_lsn);
  absl::Status Write(int64_t first_lsn, const std::vector<Queued>& group);
  absl::Status WriteRecords(int64_t first_lsn,
                            const std::vector<Queued>& group);
  // Takes back the group, and what was queued behind it.
  absl::Status Refuse(const absl::Status& why, std::vector<Queued>* group);

  const JournalOptions options_;
  WorkPool::Lane lane_;

  // The job's.
  std::unique_ptr<JournalSegment> segment_;
  bool failed_ = false;  // segment_ has
  TellingRate failures_;

  mutable Mutex mutex_;
  std::deque<Queued> queue_ ACCRUE_GUARDED_BY(mutex_);
  bool working_ ACCRUE_GUARDED_BY(mutex_) = false;
  int64_t next_lsn_ ACCRUE_GUARDED_BY(mutex_);
  int64_t durable_lsn_ ACCRUE_GUARDED_BY(mutex_);
  int64_t roll_lsn_ ACCRUE_GUARDED_BY(mutex_) = 0;  // begins a segment
  // Their first record's number -> their bytes.
  std::map<int64_t, int64_t> segments_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_JOURNAL_H_
