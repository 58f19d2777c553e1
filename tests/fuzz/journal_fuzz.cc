// A journal that was written in segments, then damaged: bytes replaced, cut
// off, added behind. The reader finds an error, or, in their order and bit for
// bit, what was written; then nothing is missing of what was durable. And what
// it has settled goes on: it is read once more, with what is written behind it.
//
// Now and then the bytes behind the header are the input's own.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <fuzzer/FuzzedDataProvider.h>

#include "absl/strings/str_cat.h"
#include "server/durability/journal_format.h"
#include "server/durability/journal_reader.h"
#include "server/durability/journal_segment.h"
#include "server/kernels/payload_hash.h"
#include "tests/fuzz/allocation_meter.h"
#include "tests/fuzz/chain_bytes.h"
#include "tests/fuzz/memory_files.h"
#include "tests/fuzz/require.h"

namespace accrue::fuzz {
namespace {

constexpr char kFolder[] = "journal";
constexpr int kMostGroups = 8;

struct Record {
  uint32_t type = 0;
  std::string head;
  std::vector<std::string> payloads;
  bool operator==(const Record&) const = default;
};

uint64_t HashOf(const std::string& bytes) {
  kernels::PayloadHash hash;
  hash.Update(reinterpret_cast<const std::byte*>(bytes.data()),
              static_cast<int64_t>(bytes.size()));
  return hash.Digest();
}

Record AnyRecord(FuzzedDataProvider& in) {
  Record record;
  record.type = in.ConsumeIntegral<uint8_t>();
  record.head = in.ConsumeBytesAsString(in.ConsumeIntegralInRange(0, 20));
  for (int i = in.ConsumeIntegralInRange(0, 2); i > 0; --i) {
    record.payloads.push_back(
        in.ConsumeBytesAsString(in.ConsumeIntegralInRange(0, 40)));
  }
  return record;
}

class Script {
 public:
  explicit Script(FuzzedDataProvider& in) : in_(in) {}

  void Run() {
    BeginSegment();
    for (int i = in_.ConsumeIntegralInRange(1, kMostGroups); i > 0; --i) {
      WriteGroup();
      if (in_.ConsumeBool()) Sync();
      if (in_.ConsumeIntegral<uint8_t>() % 4 == 3) Roll();
    }
    segment_.reset();
    const bool damaged = Damage();
    const int64_t from_lsn =
        in_.ConsumeIntegralInRange<int64_t>(1, next_lsn() + 1);
    const bool all_there = Read(from_lsn);
    Require(damaged || all_there || from_lsn > next_lsn(),
            "what nobody has damaged can be read");
  }

 private:
  int64_t next_lsn() const { return static_cast<int64_t>(written_.size()) + 1; }

  void BeginSegment() {
    auto made = JournalSegment::Create(&files_, kFolder, next_lsn(), id_);
    Require(made.status(), "a segment is made");
    segment_ = *std::move(made);
  }

  void WriteGroup() {
    std::vector<JournalEntry> entries;
    std::vector<std::unique_ptr<ByteChain>> chains;
    const int64_t lsn = next_lsn();
    for (int i = in_.ConsumeIntegralInRange(1, 3); i > 0; --i) {
      const Record record = AnyRecord(in_);
      JournalEntry& entry = entries.emplace_back();
      entry.type = record.type;
      entry.head = record.head;
      for (const std::string& payload : record.payloads) {
        chains.push_back(
            std::make_unique<ByteChain>(ByteChain::CopyOf(payload)));
        entry.payloads.push_back({chains.back().get(), HashOf(payload)});
      }
      written_.push_back(record);
    }
    std::vector<const JournalEntry*> pointers;
    for (const JournalEntry& entry : entries) pointers.push_back(&entry);
    Require(segment_->Write(lsn, pointers), "a group is written");
  }

  void Sync() {
    Require(segment_->Sync(), "a segment is synced");
    durable_ = written_.size();
  }

  void Roll() {
    Sync();
    std::unique_ptr<JournalSegment> old = std::move(segment_);
    BeginSegment();
    old->Seal(next_lsn());
  }

  std::string& AnyFile() {
    auto file = files_.files().begin();
    std::advance(
        file, in_.ConsumeIntegralInRange<size_t>(0, files_.files().size() - 1));
    return *file->second;
  }

  // Whether a file is other than it was.
  bool Damage() {
    bool damaged = false;
    for (int i = in_.ConsumeIntegralInRange(0, 3); i > 0; --i) {
      std::string& bytes = AnyFile();
      const std::string before = bytes;
      const auto at = in_.ConsumeIntegralInRange<size_t>(0, bytes.size());
      switch (in_.ConsumeIntegralInRange(0, 3)) {
        case 0:
          bytes.resize(at);
          break;
        case 1:
          bytes += in_.ConsumeBytesAsString(100);
          break;
        default: {
          const std::string other =
              in_.ConsumeBytesAsString(in_.ConsumeIntegralInRange(1, 16));
          const size_t size = std::min(other.size(), bytes.size() - at);
          bytes.replace(at, size, other, 0, size);
        }
      }
      damaged |= bytes != before;
    }
    return damaged;
  }

  absl::Status ReadAll(JournalReader& reader, std::vector<Record>& records) {
    int64_t lsn = 0;
    while (true) {
      auto next = reader.Next();
      if (!next.ok()) return next.status();
      if (!next->has_value()) return absl::OkStatus();
      JournalRecord& record = **next;
      Require(lsn == 0 || record.lsn == lsn + 1, "records are in order");
      lsn = record.lsn;
      Record& read = records.emplace_back(Record{record.type, record.head, {}});
      for (const ByteChain& payload : record.payloads) {
        read.payloads.push_back(BytesOf(payload));
      }
      const auto at = static_cast<size_t>(lsn - 1);
      Require(at < written_.size() && read == written_[at],
              "what is read is what was written");
    }
  }

  int64_t FileBytes() const {
    int64_t bytes = 0;
    for (const auto& [path, contents] :
         const_cast<MemoryFiles&>(files_).files()) {
      bytes += static_cast<int64_t>(contents->size());
    }
    return bytes;
  }

  // False: an error.
  bool Read(int64_t from_lsn) {
    std::vector<Record> records;
    std::optional<JournalReader> reader;
    absl::Status status;
    {
      const AllocationMeter meter;
      auto opened = JournalReader::Open({&files_, kFolder, id_, from_lsn});
      status = opened.status();
      if (status.ok()) {
        reader.emplace(*std::move(opened));
        status = ReadAll(*reader, records);
      }
      Require(meter.peak_bytes() <= 8192 + 16 * FileBytes(),
              "memory is bounded by the files' sizes");
    }
    if (!status.ok()) return false;
    Require(reader->next_lsn() > static_cast<int64_t>(durable_),
            "nothing is missing of what was durable");
    Require(
        reader->next_lsn() == from_lsn + static_cast<int64_t>(records.size()),
        "every record is read");
    GoOn(*reader, from_lsn);
    return true;
  }

  void GoOn(JournalReader& reader, int64_t from_lsn) {
    Require(reader.Settle(), "what was read is settled");
    written_.resize(static_cast<size_t>(reader.next_lsn() - 1));
    BeginSegment();
    WriteGroup();
    Sync();
    segment_.reset();
    auto again = JournalReader::Open({&files_, kFolder, id_, from_lsn});
    Require(again.status(), "it is opened once more");
    std::vector<Record> records;
    Require(ReadAll(*again, records), "it is read once more");
    Require(again->next_lsn() == next_lsn(), "with what was written since");
    Require(again->torn_bytes() == 0, "and nothing else");
  }

  FuzzedDataProvider& in_;
  MemoryFiles files_;
  const std::string id_ = std::string(journal::kIdBytes, 'a');
  std::unique_ptr<JournalSegment> segment_;
  std::vector<Record> written_;  // by number, from 1 on
  size_t durable_ = 0;           // of them
};

// A segment whose records are any bytes: an error, or some records.
void ReadAnything(FuzzedDataProvider& in) {
  MemoryFiles files;
  journal::Header header = {.id = std::string(journal::kIdBytes, 'a')};
  std::string bytes = journal::EncodeHeader(header);
  bytes.resize(journal::kMarkerOffset);
  bytes += journal::EncodeMarker(
      {in.ConsumeIntegralInRange<int64_t>(0, 5000), in.ConsumeBool()},
      header.seed);
  bytes.resize(journal::kRecordsBegin);
  if (in.ConsumeBool()) {
    // One that is intact, but says what it likes.
    journal::Frame frame = {.type = 1,
                            .lsn = in.ConsumeBool(),
                            .synced_bytes = in.ConsumeIntegral<int64_t>()};
    for (int i = in.ConsumeIntegralInRange(0, 3); i > 0; --i) {
      frame.payloads.push_back({in.ConsumeBool()
                                    ? in.ConsumeIntegral<int64_t>()
                                    : in.ConsumeIntegralInRange<int64_t>(0, 16),
                                0x2d06800538d394c2});  // of no bytes
    }
    bytes += journal::EncodeFrame(frame, header.seed);
  }
  bytes += in.ConsumeRemainingBytesAsString();
  files.files()[absl::StrCat(kFolder, "/", journal::SegmentName(1))] =
      std::make_shared<std::string>(std::move(bytes));
  auto reader = JournalReader::Open({&files, kFolder, header.id, 1});
  if (!reader.ok()) return;
  while (true) {
    const auto next = reader->Next();
    if (!next.ok() || !next->has_value()) return;
  }
}

}  // namespace
}  // namespace accrue::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  FuzzedDataProvider in(data, size);
  if (in.ConsumeIntegral<uint8_t>() % 8 == 7) {
    accrue::fuzz::ReadAnything(in);
  } else {
    accrue::fuzz::Script(in).Run();
  }
  return 0;
}
