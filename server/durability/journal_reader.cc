#include "server/durability/journal_reader.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/kernels/payload_hash.h"

namespace accrue {
namespace {

// Pieces of a payload, as a KeptCopy's.
constexpr int64_t kPieceBytes = int64_t{1} << 20;

void Delete(void* piece) { delete[] static_cast<std::byte*>(piece); }

absl::Status DataLoss(absl::string_view what) {
  return MakeError(absl::StatusCode::kDataLoss, Reason::kDamaged, what);
}

}  // namespace

absl::Status FileWindow::Read(int64_t offset, absl::Span<std::byte> out) {
  const int64_t size = std::ssize(out);
  if (size > kWindowBytes / 2) return file_->Read(offset, out);
  if (offset < begin_ || offset + size > begin_ + std::ssize(window_)) {
    begin_ = offset;
    window_.resize(static_cast<size_t>(
        std::clamp(file_->size_bytes() - offset, size, kWindowBytes)));
    absl::Status status = file_->Read(offset, absl::MakeSpan(window_));
    if (!status.ok()) {
      window_.clear();
      return status;
    }
  }
  std::memcpy(out.data(), window_.data() + (offset - begin_), out.size());
  return absl::OkStatus();
}

absl::StatusOr<JournalReader> JournalReader::Open(const Options& options) {
  JournalReader reader(options);
  ACCRUE_RETURN_IF_ERROR(reader.FindSegments());
  ACCRUE_RETURN_IF_ERROR(reader.BeginSegment());
  return reader;
}

// Those that can hold records from from_lsn on.
absl::Status JournalReader::FindSegments() {
  ACCRUE_ASSIGN_OR_RETURN(const std::vector<std::string> names,
                          options_.files->List(options_.directory));
  std::vector<int64_t> lsns;
  for (const std::string& name : names) {
    const std::optional<int64_t> lsn = journal::LsnOfName(name);
    if (lsn.has_value()) lsns.push_back(*lsn);
  }
  std::sort(lsns.rbegin(), lsns.rend());
  for (const int64_t lsn : lsns) {
    ACCRUE_ASSIGN_OR_RETURN(std::optional<Segment> segment, ReadSegment(lsn));
    if (!segment.has_value()) continue;
    segments_.insert(segments_.begin(), *std::move(segment));
    if (lsn <= options_.from_lsn) return absl::OkStatus();
  }
  if (segments_.empty()) {
    return absl::NotFoundError(absl::StrCat("no segment of journal ",
                                            options_.id, " in \"",
                                            options_.directory, "\""));
  }
  return DataLoss(absl::StrCat("\"", options_.directory, "\": journal records ",
                               options_.from_lsn, " to ",
                               segment().header.first_lsn - 1, " are missing"));
}

// Nothing: it is another journal's.
absl::StatusOr<std::optional<JournalReader::Segment>>
JournalReader::ReadSegment(int64_t lsn) const {
  Segment segment;
  segment.path =
      absl::StrCat(options_.directory, "/", journal::SegmentName(lsn));
  auto damaged = [&](int64_t offset, absl::string_view what) {
    return DataLoss(
        absl::StrCat("\"", segment.path, "\", byte ", offset, ": ", what));
  };
  ACCRUE_ASSIGN_OR_RETURN(const std::unique_ptr<ReadableFile> file,
                          options_.files->Open(segment.path));
  if (file->size_bytes() < journal::kRecordsBegin) {
    return damaged(file->size_bytes(), "the file ends within its header");
  }
  std::array<std::byte, journal::kMarkerOffset + journal::kMarkerBytes> page;
  ACCRUE_RETURN_IF_ERROR(file->Read(0, absl::MakeSpan(page)));
  std::optional<journal::Header> header = journal::DecodeHeader(page);
  if (!header.has_value() || header->first_lsn != lsn) {
    return damaged(0, "the header is damaged");
  }
  if (header->id != options_.id) return std::nullopt;
  const std::optional<journal::Marker> marker = journal::DecodeMarker(
      journal::Bytes(page).subspan(journal::kMarkerOffset), header->seed);
  if (!marker.has_value()) {
    return damaged(journal::kMarkerOffset, "the marker is damaged");
  }
  segment.header = *std::move(header);
  segment.marker = *marker;
  return segment;
}

absl::Status JournalReader::BeginSegment() {
  ACCRUE_ASSIGN_OR_RETURN(std::unique_ptr<ReadableFile> file,
                          options_.files->Open(segment().path));
  file_.emplace(std::move(file));
  offset_ = journal::kRecordsBegin;
  next_lsn_ = segment().header.first_lsn;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<JournalRecord>> JournalReader::Next() {
  while (!ended_) {
    if (!is_newest() && next_lsn_ == segments_[current_ + 1].header.first_lsn) {
      ACCRUE_RETURN_IF_ERROR(EndSegment());
      ++current_;
      ACCRUE_RETURN_IF_ERROR(BeginSegment());
      continue;
    }
    absl::StatusOr<JournalRecord> record = ReadRecord();
    if (record.ok()) {
      if (++next_lsn_ > options_.from_lsn) return *std::move(record);
      continue;
    }
    if (!absl::IsDataLoss(record.status()) || !is_newest() ||
        offset_ < segment().marker.synced_bytes) {
      return record.status();
    }
    ACCRUE_RETURN_IF_ERROR(JudgeTail());
    ACCRUE_RETURN_IF_ERROR(EndSegment());
    ended_ = true;
  }
  return std::nullopt;
}

absl::Status JournalReader::EndSegment() {
  if (offset_ < segment().marker.synced_bytes) {
    return Damaged(journal::kMarkerOffset,
                   absl::StrCat("more is durable than the ", offset_,
                                " bytes of its records"));
  }
  const int64_t next_lsn = segment().marker.next_lsn;
  if (next_lsn != 0 && (is_newest() || next_lsn != next_lsn_)) {
    return Damaged(
        journal::kMarkerOffset,
        absl::StrCat("it goes on in \"", journal::SegmentName(next_lsn),
                     "\", which is missing"));
  }
  if (is_newest() && next_lsn_ < options_.from_lsn) {
    return Damaged(offset_,
                   absl::StrCat("records ", next_lsn_, " to ",
                                options_.from_lsn - 1, " are missing"));
  }
  return absl::OkStatus();
}

// No record is intact at offset_. What was never synced may look so; but what
// was synced before another record was begun was not left so. That a record
// begins somewhere is proof enough of that, whatever has become of the rest.
absl::Status JournalReader::JudgeTail() {
  const int64_t end = file_->size_bytes();
  for (int64_t offset = offset_ + journal::kAlignment; offset < end;
       offset += journal::kAlignment) {
    std::array<std::byte, journal::kFixedFrameBytes> fixed;
    if (end - offset < std::ssize(fixed)) break;
    ACCRUE_RETURN_IF_ERROR(file_->Read(offset, absl::MakeSpan(fixed)));
    const auto start = journal::DecodeFrameStart(fixed, segment().header.seed);
    if (start.has_value() && start->synced_bytes > offset_) {
      return Damaged(
          offset_,
          absl::StrCat("record ", next_lsn_,
                       " is damaged, and was durable when record ", start->lsn,
                       ", at byte ", offset, ", was written"));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<journal::Frame> JournalReader::ReadFrame(int64_t offset) {
  std::array<std::byte, journal::kFixedFrameBytes> fixed;
  const int64_t left = file_->size_bytes() - offset;
  if (left < std::ssize(fixed)) {
    return Damaged(offset, absl::StrCat("record ", next_lsn_,
                                        " is missing: the file ends"));
  }
  ACCRUE_RETURN_IF_ERROR(file_->Read(offset, absl::MakeSpan(fixed)));
  const auto start = journal::DecodeFrameStart(fixed, segment().header.seed);
  if (!start.has_value()) {
    return Damaged(offset,
                   absl::StrCat("no record begins here, want ", next_lsn_));
  }
  if (start->frame_bytes > left) {
    return Damaged(offset, absl::StrCat("record ", next_lsn_, " is cut off"));
  }
  std::vector<std::byte> bytes(static_cast<size_t>(start->frame_bytes));
  ACCRUE_RETURN_IF_ERROR(file_->Read(offset, absl::MakeSpan(bytes)));
  std::optional<journal::Frame> frame =
      journal::DecodeFrame(bytes, segment().header.seed);
  if (!frame.has_value()) {
    return Damaged(offset, absl::StrCat("record ", next_lsn_,
                                        " does not match its checksum"));
  }
  return *std::move(frame);
}

absl::StatusOr<JournalRecord> JournalReader::ReadRecord() {
  ACCRUE_ASSIGN_OR_RETURN(journal::Frame frame, ReadFrame(offset_));
  if (frame.lsn != next_lsn_) {
    return Damaged(offset_,
                   absl::StrCat("record ", frame.lsn, ", want ", next_lsn_));
  }
  JournalRecord record = {
      .lsn = frame.lsn,
      .type = frame.type,
      .head = std::move(frame.head),
      .payloads = {},
      .hashes = {},
      .place = absl::StrCat("\"", segment().path, "\", byte ", offset_)};
  int64_t offset = offset_ + journal::FrameBytesOf(record.head.size(),
                                                   frame.payloads.size());
  for (const journal::PayloadFacts& facts : frame.payloads) {
    if (facts.bytes < 0 || facts.bytes > file_->size_bytes() - offset ||
        journal::Aligned(facts.bytes) > file_->size_bytes() - offset) {
      return Damaged(offset, absl::StrCat("a payload of record ", next_lsn_,
                                          " is cut off"));
    }
    ACCRUE_ASSIGN_OR_RETURN(ByteChain payload, ReadPayload(offset, facts));
    record.payloads.push_back(std::move(payload));
    record.hashes.push_back(facts.hash);
    offset += journal::Aligned(facts.bytes);
  }
  offset_ = offset;
  return record;
}

absl::StatusOr<ByteChain> JournalReader::ReadPayload(
    int64_t offset, const journal::PayloadFacts& facts) {
  ByteChain payload;
  kernels::PayloadHash hash;
  for (int64_t read = 0; read < facts.bytes;) {
    const int64_t size = std::min(facts.bytes - read, kPieceBytes);
    // Not zeroed: all of it is read.
    auto* const piece = new std::byte[static_cast<size_t>(size)];
    payload.Append(piece, size, {Delete, piece});
    ACCRUE_RETURN_IF_ERROR(
        file_->Read(offset + read, {piece, static_cast<size_t>(size)}));
    hash.Update(piece, size);
    read += size;
  }
  if (hash.Digest() != facts.hash) {
    return Damaged(offset, absl::StrCat("a payload of record ", next_lsn_,
                                        " does not match its hash"));
  }
  return payload;
}

absl::Status JournalReader::Damaged(int64_t offset,
                                    absl::string_view what) const {
  return DataLoss(
      absl::StrCat("\"", segment().path, "\", byte ", offset, ": ", what));
}

int64_t JournalReader::torn_bytes() const {
  return file_->size_bytes() - offset_;
}

absl::Status JournalReader::Settle() {
  ACCRUE_ASSIGN_OR_RETURN(const std::unique_ptr<WritableFile> file,
                          options_.files->Reopen(segment().path));
  if (file->size_bytes() > offset_) {
    ACCRUE_RETURN_IF_ERROR(file->Truncate(offset_));
  }
  // A record that a killed process had not synced may have been read from
  // memory: it is on the disk before a marker says that it is.
  ACCRUE_RETURN_IF_ERROR(file->Sync());
  const std::string marker =
      journal::EncodeMarker({offset_, 0}, segment().header.seed);
  ACCRUE_RETURN_IF_ERROR(file->Overwrite(
      journal::kMarkerOffset,
      {reinterpret_cast<const std::byte*>(marker.data()), marker.size()}));
  return file->Sync();
}

}  // namespace accrue
