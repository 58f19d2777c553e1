// MemoryLog: a journal that is never written: a model's changes as the records
// that they would be.
//
// Threading. for one thread.
#ifndef ACCRUE_TESTS_FUZZ_MEMORY_LOG_H_
#define ACCRUE_TESTS_FUZZ_MEMORY_LOG_H_

#include <cstdint>
#include <string>
#include <vector>

#include "server/base/work_pool.h"
#include "server/durability/journal_reader.h"
#include "server/model/commit_log.h"

namespace accrue::fuzz {

class MemoryLog final : public CommitLog {
 public:
  struct Record {
    uint32_t type = 0;
    std::string head;
    std::vector<std::string> payloads;
    std::vector<uint64_t> hashes;
  };

  explicit MemoryLog(WorkPool* pool) : pool_(pool), lane_(pool->NewLane()) {}

  bool journals() const override { return true; }
  void Append(Change change, Done done) override;
  void NoteChange() override {}
  void NoteFolded(const Version&, int64_t) override {}

  // From now on nothing can be written; or it can again.
  void set_fails(bool fails) { fails_ = fails; }

  std::vector<Record>& records() { return records_; }
  // As a reader finds it.
  JournalRecord Read(size_t index) const;

 private:
  WorkPool* const pool_;
  const WorkPool::Lane lane_;
  std::vector<Record> records_;
  bool fails_ = false;
};

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_MEMORY_LOG_H_
