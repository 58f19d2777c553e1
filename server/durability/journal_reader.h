// JournalReader: the records of a journal that nobody writes, in order, each
// checked.
//
// Use.       Open -> Next until it says that there is no more -> Settle, before
//            anybody sees what was made of it, and the journal goes on.
// Memory.    a record's own, no more than its file holds; and a window of
//            kWindowBytes.
// Errors.    DATA_LOSS kDamaged: what was durable is not there as it was
//            written; the message has file, byte and what is wrong.
//            UNAVAILABLE: the disk fails. NOT_FOUND (Open): there is no segment
//            of this journal.
// Threading. compatible.
#ifndef ACCRUE_SERVER_DURABILITY_JOURNAL_READER_H_
#define ACCRUE_SERVER_DURABILITY_JOURNAL_READER_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "server/base/byte_chain.h"
#include "server/durability/file.h"
#include "server/durability/journal_format.h"

namespace accrue {

struct JournalRecord {
  int64_t lsn = 0;
  uint32_t type = 0;
  std::string head;
  std::vector<ByteChain> payloads;  // in memory of their own
  std::vector<uint64_t> hashes;     // of the payloads: XXH3-64
  std::string place;                // `"FILE", byte N`
};

// One file's bytes, read ahead where little is wanted.
class FileWindow {
 public:
  static constexpr int64_t kWindowBytes = int64_t{1} << 20;

  explicit FileWindow(std::unique_ptr<ReadableFile> file)
      : file_(std::move(file)) {}
  int64_t size_bytes() const { return file_->size_bytes(); }
  absl::Status Read(int64_t offset, absl::Span<std::byte> out);

 private:
  std::unique_ptr<ReadableFile> file_;
  std::vector<std::byte> window_;
  int64_t begin_ = 0;  // of the window
};

class JournalReader {
 public:
  struct Options {
    FileSystem* files = nullptr;
    std::string directory;
    std::string id;        // as JournalOptions'
    int64_t from_lsn = 1;  // the first record wanted
  };
  static absl::StatusOr<JournalReader> Open(const Options& options);

  // Nothing: there is no more.
  absl::StatusOr<std::optional<JournalRecord>> Next();
  // Of the next record, once there is no more.
  int64_t next_lsn() const { return next_lsn_; }
  // What was found behind the last record, of writes that were never
  // acknowledged.
  int64_t torn_bytes() const;
  // Cuts that off; and what was read is durable, all of it.
  absl::Status Settle();

 private:
  struct Segment {
    std::string path;
    journal::Header header;
    journal::Marker marker;
  };

  explicit JournalReader(const Options& options) : options_(options) {}
  absl::Status FindSegments();
  absl::StatusOr<std::optional<Segment>> ReadSegment(int64_t lsn) const;
  absl::Status BeginSegment();
  // At the end of a segment's records, or of what is intact of them.
  absl::Status EndSegment();
  absl::Status JudgeTail();
  absl::StatusOr<journal::Frame> ReadFrame(int64_t offset);
  absl::StatusOr<JournalRecord> ReadRecord();
  absl::StatusOr<ByteChain> ReadPayload(int64_t offset,
                                        const journal::PayloadFacts& facts);
  absl::Status Damaged(int64_t offset, absl::string_view what) const;

  bool is_newest() const { return current_ + 1 == segments_.size(); }
  const Segment& segment() const { return segments_[current_]; }

  const Options options_;
  std::vector<Segment> segments_;
  size_t current_ = 0;
  std::optional<FileWindow> file_;  // of the current segment
  int64_t offset_ = 0;              // of the next record
  int64_t next_lsn_ = 0;
  bool ended_ = false;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_JOURNAL_READER_H_
