// What tests of journals write, wait for, and read back.
#ifndef ACCRUE_TESTS_DURABILITY_JOURNAL_HARNESS_H_
#define ACCRUE_TESTS_DURABILITY_JOURNAL_HARNESS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/base/work_pool.h"
#include "server/durability/journal.h"
#include "server/durability/journal_reader.h"

namespace accrue {

inline constexpr char kJournalId[] = "0123456789abcdef0123456789abcdef";

// A record's contents.
struct Note {
  uint32_t type = 0;
  std::string head;
  std::vector<std::string> payloads;
  bool operator==(const Note&) const = default;
};

// The n-th of many that differ, with payloads of all alignments.
Note NoteOf(int n);
// Its payloads lie in pieces of `piece_bytes`.
JournalEntry EntryOf(const Note& note, size_t piece_bytes = 1000);

// Appends notes and waits for what becomes of them.
class Appender {
 public:
  explicit Appender(std::shared_ptr<Journal> journal)
      : journal_(std::move(journal)) {}
  // Which note it was, and what it was told, in the order of being told.
  struct Told {
    int index = 0;
    absl::Status status;
  };
  void Append(const Note& note);
  std::vector<Told> Wait();  // for all that were appended
  absl::Status AppendAndWait(const Note& note);
  Journal& journal() { return *journal_; }

 private:
  const std::shared_ptr<Journal> journal_;
  int appended_ = 0;
  Mutex mutex_;
  CondVar changed_;
  std::vector<Told> told_ ACCRUE_GUARDED_BY(mutex_);
};

// All records of a journal from `from_lsn` on, settled; the next number.
struct ReadBack {
  std::vector<Note> notes;
  int64_t next_lsn = 0;
  int64_t torn_bytes = 0;
};
absl::StatusOr<ReadBack> ReadJournal(FileSystem& files,
                                     const std::string& directory,
                                     int64_t from_lsn = 1);

// Ends a pool's threads' work until it is opened.
class PoolGate {
 public:
  PoolGate(WorkPool& pool, int threads);
  ~PoolGate() { Open(); }
  void Open();

 private:
  struct State {
    Mutex mutex;
    CondVar changed;
    int held ACCRUE_GUARDED_BY(mutex) = 0;
    bool open ACCRUE_GUARDED_BY(mutex) = false;
  };
  const std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_JOURNAL_HARNESS_H_
