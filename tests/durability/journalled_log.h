// JournalledLog: a CommitLog that keeps a model's changes in a journal, and the
// changes that are read back from it.
#ifndef ACCRUE_TESTS_DURABILITY_JOURNALLED_LOG_H_
#define ACCRUE_TESTS_DURABILITY_JOURNALLED_LOG_H_

#include <memory>
#include <utility>
#include <vector>

#include "server/durability/change_record.h"
#include "server/durability/journal.h"
#include "server/model/commit_log.h"

namespace accrue {

class JournalledLog : public CommitLog {
 public:
  explicit JournalledLog(std::shared_ptr<Journal> journal)
      : journal_(std::move(journal)) {}
  bool journals() const override { return true; }
  void Append(Change change, Done done) override {
    journal_->Append(EncodeChange(change), std::move(done));
  }
  void NoteChange() override {}
  void NoteFolded(const Version&, int64_t) override {}

 private:
  const std::shared_ptr<Journal> journal_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_JOURNALLED_LOG_H_
