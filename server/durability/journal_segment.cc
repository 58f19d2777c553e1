#include "server/durability/journal_segment.h"

#include <array>
#include <cstddef>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/fail_point.h"
#include "server/base/status_macros.h"

namespace accrue {
namespace {

using journal::Bytes;

Bytes BytesOf(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

int64_t PaddingOf(int64_t bytes) { return journal::Aligned(bytes) - bytes; }

// A payload as it lies in memory, then zeros.
void AddPayload(const ByteChain& payload, std::vector<Bytes>& pieces) {
  static constexpr std::array<std::byte, journal::kAlignment> kZeros = {};
  for (const ByteChain::Span& span : payload.spans()) {
    pieces.emplace_back(span.data, static_cast<size_t>(span.size));
  }
  pieces.emplace_back(kZeros.data(),
                      static_cast<size_t>(PaddingOf(payload.size_bytes())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<JournalSegment>> JournalSegment::Create(
    FileSystem* files, const std::string& directory, int64_t first_lsn,
    const std::string& id) {
  const std::string unfinished =
      absl::StrCat(directory, "/", journal::kUnfinishedName);
  if (absl::Status left = files->Remove(unfinished);
      !left.ok() && !absl::IsNotFound(left)) {
    return left;
  }
  journal::Header header = {.first_lsn = first_lsn, .id = id, .seed = 0};
  std::string page = journal::EncodeHeader(header);
  page.resize(journal::kMarkerOffset);
  page += journal::EncodeMarker({journal::kRecordsBegin, 0}, header.seed);
  page.resize(journal::kRecordsBegin);
  {
    ACCRUE_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file,
                            files->Create(unfinished));
    ACCRUE_RETURN_IF_ERROR(file->Append({BytesOf(page)}));
    ACCRUE_RETURN_IF_ERROR(file->Sync());
  }
  const std::string path =
      absl::StrCat(directory, "/", journal::SegmentName(first_lsn));
  ACCRUE_RETURN_IF_ERROR(files->Rename(unfinished, path));
  AtFailPoint(FailPoint::kJournalSegmentCreated);
  ACCRUE_RETURN_IF_ERROR(files->SyncDirectory(directory));
  // By the name that its errors are to tell.
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                          files->Reopen(path));
  return std::unique_ptr<JournalSegment>(
      new JournalSegment(std::move(file), std::move(header)));
}

absl::StatusOr<std::unique_ptr<JournalSegment>> JournalSegment::Reopen(
    FileSystem* files, const std::string& path) {
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> reader,
                          files->Open(path));
  std::array<std::byte, journal::kHeaderBytes> bytes;
  ACCRUE_RETURN_IF_ERROR(reader->Read(0, absl::MakeSpan(bytes)));
  std::optional<journal::Header> header = journal::DecodeHeader(bytes);
  if (!header.has_value()) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged,
                     absl::StrCat("\"", path, "\": its header is damaged"));
  }
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<WritableFile> file,
                          files->Reopen(path));
  std::unique_ptr<JournalSegment> segment(
      new JournalSegment(std::move(file), *std::move(header)));
  std::array<std::byte, journal::kMarkerBytes> marked;
  ACCRUE_RETURN_IF_ERROR(
      reader->Read(journal::kMarkerOffset, absl::MakeSpan(marked)));
  const auto marker = journal::DecodeMarker(marked, segment->header_.seed);
  if (!marker.has_value()) {
    return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged,
                     absl::StrCat("\"", path, "\": its marker is damaged"));
  }
  segment->synced_bytes_ = marker->synced_bytes;
  return segment;
}

int64_t JournalSegment::RecordBytes(const JournalEntry& entry) {
  int64_t bytes =
      journal::FrameBytesOf(entry.head.size(), entry.payloads.size());
  for (const JournalEntry::Payload& payload : entry.payloads) {
    bytes += journal::Aligned(payload.bytes->size_bytes());
  }
  return bytes;
}

absl::Status JournalSegment::Write(
    int64_t lsn, absl::Span<const JournalEntry* const> entries) {
  std::vector<std::string> frames;
  frames.reserve(entries.size());  // pieces point into them
  std::vector<Bytes> pieces;
  for (const JournalEntry* entry : entries) {
    journal::Frame frame = {.type = entry->type,
                            .lsn = lsn++,
                            .synced_bytes = synced_bytes_,
                            .payloads = {},
                            .head = entry->head};
    for (const JournalEntry::Payload& payload : entry->payloads) {
      frame.payloads.push_back({payload.bytes->size_bytes(), payload.hash});
    }
    frames.push_back(journal::EncodeFrame(frame, header_.seed));
    const Bytes bytes = BytesOf(frames.back());
    pieces.push_back(bytes.subspan(0, journal::kFixedFrameBytes));
    pieces.push_back(bytes.subspan(journal::kFixedFrameBytes));
    for (const JournalEntry::Payload& payload : entry->payloads) {
      AddPayload(*payload.bytes, pieces);
    }
  }
  const absl::Span<const Bytes> all = pieces;
  ACCRUE_RETURN_IF_ERROR(file_->Append(all.subspan(0, all.size() / 2)));
  AtFailPoint(FailPoint::kJournalHalfWritten);
  ACCRUE_RETURN_IF_ERROR(file_->Append(all.subspan(all.size() / 2)));
  AtFailPoint(FailPoint::kJournalWritten);
  return absl::OkStatus();
}

absl::Status JournalSegment::Sync() {
  if (AtFailPoint(FailPoint::kAckUnsynced)) return absl::OkStatus();
  ACCRUE_RETURN_IF_ERROR(file_->Sync());
  AtFailPoint(FailPoint::kJournalSynced);
  ACCRUE_RETURN_IF_ERROR(Mark({file_->size_bytes(), 0}));
  synced_bytes_ = file_->size_bytes();
  return absl::OkStatus();
}

// It need not be durable itself: where the power fails, an older one and the
// records behind it tell as much.
absl::Status JournalSegment::Mark(const journal::Marker& marker) {
  return file_->Overwrite(journal::kMarkerOffset,
                          BytesOf(journal::EncodeMarker(marker, header_.seed)));
}

// Without its seal a segment is no less complete: what fails here is let pass.
void JournalSegment::Seal(int64_t next_lsn) {
  if (Mark({synced_bytes_, next_lsn}).ok()) file_->Sync().IgnoreError();
}

// What cannot be cut off was refused, and may yet be found at a restart, as if
// its answer had been lost on the way; the next segment makes it void.
void JournalSegment::Abandon() {
  if (file_->Truncate(synced_bytes_).ok()) file_->Sync().IgnoreError();
}

}  // namespace accrue
