// JournalSegment: one file of a journal, while it is written.
//
// Order.     Write -> Sync -> Write ...; then, when its successor is there,
//            Seal. Once Write or Sync has failed: Abandon, and nothing but
//            Seal.
// Errors.    as FileSystem's.
// Threading. compatible. All calls wait for the disk.
#ifndef ACCRUE_SERVER_DURABILITY_JOURNAL_SEGMENT_H_
#define ACCRUE_SERVER_DURABILITY_JOURNAL_SEGMENT_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/byte_chain.h"
#include "server/durability/file.h"
#include "server/durability/journal_format.h"

namespace accrue {

// What a record holds.
struct JournalEntry {
  struct Payload {
    const ByteChain* bytes = nullptr;
    uint64_t hash = 0;  // XXH3-64
  };
  uint32_t type = 0;
  std::string head;
  std::vector<Payload> payloads;
  std::shared_ptr<const void> owner;  // of the payloads
};

class JournalSegment {
 public:
  // Of a segment without records; durable, with its name. One of the same name
  // is replaced.
  static absl::StatusOr<std::unique_ptr<JournalSegment>> Create(
      FileSystem* files, const std::string& directory, int64_t first_lsn,
      const std::string& id);
  // Of one that has been read to its end and settled (JournalReader): to be
  // sealed.
  static absl::StatusOr<std::unique_ptr<JournalSegment>> Reopen(
      FileSystem* files, const std::string& path);

  // Behind the last record: `entries`, which get the numbers from `lsn` on.
  absl::Status Write(int64_t lsn,
                     absl::Span<const JournalEntry* const> entries);
  // What was written is durable, and the marker says so.
  absl::Status Sync();
  // The next segment is there: this one is complete.
  void Seal(int64_t next_lsn);
  // What was written since the last Sync is cut off, where that is possible.
  void Abandon();

  const std::string& id() const { return header_.id; }
  int64_t first_lsn() const { return header_.first_lsn; }
  int64_t size_bytes() const { return file_->size_bytes(); }
  // What an entry takes.
  static int64_t RecordBytes(const JournalEntry& entry);

 private:
  JournalSegment(std::unique_ptr<WritableFile> file, journal::Header header)
      : file_(std::move(file)), header_(std::move(header)) {}

  absl::Status Mark(const journal::Marker& marker);

  const std::unique_ptr<WritableFile> file_;
  const journal::Header header_;
  int64_t synced_bytes_ = journal::kRecordsBegin;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_JOURNAL_SEGMENT_H_
