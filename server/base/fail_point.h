// FailPoint: a named place where a test may end the process, or have the code
// around it do something wrong.
//
//   AtFailPoint(FailPoint::kJournalWritten);           // a crash may come here
//   if (AtFailPoint(FailPoint::kAckUnsynced)) return;  // a mistake
//
// Without a handler, and the daemon has none, each is one load and a branch
// that is never taken: false.
//
// Invariant. each is reached, and each mistake is noticed [tests/faults].
// Threading. safe; the handler is set before other threads start, and called
//            by any of them
#ifndef ACCRUE_SERVER_BASE_FAIL_POINT_H_
#define ACCRUE_SERVER_BASE_FAIL_POINT_H_

#include <atomic>
#include <cstddef>
#include <iterator>
#include <string_view>

namespace accrue {

// Where it is, then what has happened there so far.
enum class FailPoint {
  // A crash here leaves behind what only a crash leaves.
  kBatchPlanned,           // nothing of the pushes is in the journal
  kJournalHalfWritten,     // the first part of a record is
  kJournalWritten,         // all of it is, but not synced
  kJournalSynced,          // it is durable, and not folded
  kBatchFolded,            // folded, and not answered
  kJournalSegmentCreated,  // a new one, its directory not synced
  kJournalSegmentRemoved,  // one that a checkpoint has made needless
  kCheckpointHalfWritten,  // some of its files are there
  kCheckpointWritten,      // all are, and synced, under a temporary name
  kCheckpointRenamed,      // the directory is not synced
  kCheckpointFinished,     // older ones, and their journal, are still there
  kRecoveryHalfReplayed,   // a restart that has not come to its end
  // Mistakes: they happen where AtFailPoint says true.
  kFoldRepeat,   // a push that comes again is folded again
  kAckUnsynced,  // a push is answered before its record is synced
  kFoldTwice,    // a push is applied twice
  kDropEntry,    // a restart folds a push, and does not tell its session
  kCount,
};

// [kCount]
inline constexpr std::string_view kFailPointNames[] = {
    "batch.planned",
    "journal.half_written",
    "journal.written",
    "journal.synced",
    "batch.folded",
    "journal.segment_created",
    "journal.segment_removed",
    "checkpoint.half_written",
    "checkpoint.written",
    "checkpoint.renamed",
    "checkpoint.finished",
    "recovery.half_replayed",
    "mistake.fold_repeat",
    "mistake.ack_unsynced",
    "mistake.fold_twice",
    "mistake.drop_entry",
};
static_assert(std::size(kFailPointNames) ==
              static_cast<size_t>(FailPoint::kCount));

inline std::string_view Name(FailPoint point) {
  return kFailPointNames[static_cast<size_t>(point)];
}

using FailPointHandler = bool (*)(FailPoint point);
inline std::atomic<FailPointHandler> fail_point_handler{nullptr};

// What the handler says, if it returns.
inline bool AtFailPoint(FailPoint point) {
  const FailPointHandler handler =
      fail_point_handler.load(std::memory_order_relaxed);
  if (handler == nullptr) [[likely]]
    return false;
  return handler(point);
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_BASE_FAIL_POINT_H_
