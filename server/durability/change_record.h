// ChangeRecord: a model's changes as the journal's records (FORMAT.md).
//
// Invariant. a change that was decoded does to a model what the encoded one
//            did, bit for bit [tests/durability/change_record_test.cc].
// Errors.    DATA_LOSS kDamaged: a record that this program has not written for
//            this spec; the message says where it is and what is wrong. What is
//            decoded can be replayed unchecked.
// Threading. safe.
#ifndef ACCRUE_SERVER_DURABILITY_CHANGE_RECORD_H_
#define ACCRUE_SERVER_DURABILITY_CHANGE_RECORD_H_

#include <optional>

#include "absl/status/statusor.h"
#include "server/durability/journal_reader.h"
#include "server/durability/journal_segment.h"
#include "server/model/commit_log.h"
#include "server/model/layout.h"
#include "server/model/spec.h"

namespace accrue {

// Not of a BeginChange or RestoreChange. A batch's payloads stay where they
// are; the entry keeps the batch.
JournalEntry EncodeChange(const Change& change);
// Of those: first a number, for the checkpoint that they are; then, once that
// is there, that the model has begun with it. Without the second they never
// happened.
JournalEntry EncodeBegin();
JournalEntry EncodeBegun();
bool IsBegun(const JournalRecord& record);

// Nothing: it is a beginning's number. DATA_LOSS too: that the model has begun,
// which is not to be met behind any other checkpoint than that one.
absl::StatusOr<std::optional<Change>> DecodeChange(JournalRecord record,
                                                   const ModelSpec& spec,
                                                   const Layout& layout);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_CHANGE_RECORD_H_
