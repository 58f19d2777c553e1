#include "tests/fuzz/memory_log.h"

#include <utility>

#include "server/durability/change_record.h"
#include "tests/fuzz/chain_bytes.h"

namespace accrue::fuzz {

void MemoryLog::Append(Change change, Done done) {
  if (fails_) {
    return pool_->Post(lane_, [done = std::move(done)]() mutable {
      done(absl::UnavailableError("the disk is full"));
    });
  }
  const JournalEntry entry = EncodeChange(change);
  Record& record = records_.emplace_back();
  record.type = entry.type;
  record.head = entry.head;
  for (const JournalEntry::Payload& payload : entry.payloads) {
    record.payloads.push_back(BytesOf(*payload.bytes));
    record.hashes.push_back(payload.hash);
  }
  pool_->Post(lane_,
              [done = std::move(done)]() mutable { done(absl::OkStatus()); });
}

JournalRecord MemoryLog::Read(size_t index) const {
  const Record& from = records_[index];
  JournalRecord record;
  record.lsn = static_cast<int64_t>(index) + 1;
  record.type = from.type;
  record.head = from.head;
  for (const std::string& payload : from.payloads) {
    record.payloads.push_back(ByteChain::CopyOf(payload));
  }
  record.hashes = from.hashes;
  record.place = "memory";
  return record;
}

}  // namespace accrue::fuzz
