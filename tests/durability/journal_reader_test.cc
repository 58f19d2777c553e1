#include "server/durability/journal_reader.h"

#include <cstring>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/journal_harness.h"
#include "tests/durability/memory_files.h"

namespace accrue {
namespace {

using testing::HasSubstr;

constexpr char kFirst[] = "m/journal-00000000000000000001.log";
constexpr char kSecond[] = "m/journal-00000000000000000004.log";
constexpr int kRecords = 6;

// Three records in a segment of their own, and three that came one by one.
class JournalReaderTest : public testing::Test {
 protected:
  JournalReaderTest() {
    Appender appender(*Journal::Open({.files = &files_,
                                      .pool = &pool_,
                                      .directory = "m",
                                      .id = kJournalId}));
    for (int n = 0; n < kRecords; ++n) {
      if (n == 3) appender.journal().Roll();
      EXPECT_TRUE(appender.AppendAndWait(NoteOf(n)).ok());
      ends_.push_back(Size(n < 3 ? kFirst : kSecond));
    }
  }

  int64_t Size(const std::string& path) { return std::ssize(Bytes(path)); }
  std::string& Bytes(const std::string& path) { return *files_.files.at(path); }
  absl::StatusOr<ReadBack> Read(int64_t from_lsn = 1) {
    return ReadJournal(files_, "m", from_lsn);
  }
  // As if the marker had not reached the disk since.
  void SetMarker(const std::string& path, int64_t synced_bytes,
                 int64_t next_lsn = 0) {
    const auto header = journal::DecodeHeader(BytesOf(Bytes(path)));
    Bytes(path).replace(
        journal::kMarkerOffset, journal::kMarkerBytes,
        journal::EncodeMarker({synced_bytes, next_lsn}, header->seed));
  }
  void ExpectLoss(const std::string& path, const std::string& what,
                  int64_t from_lsn = 1) {
    const absl::Status why = Read(from_lsn).status();
    EXPECT_TRUE(absl::IsDataLoss(why)) << why;
    EXPECT_THAT(std::string(why.message()), HasSubstr(path));
    EXPECT_THAT(std::string(why.message()), HasSubstr(what));
  }

  // Whatever was done to the bytes: nothing that `synced` records count is
  // lost unnoticed, and nothing is read that was not written.
  void ExpectNoticedOrHarmless(int synced, const std::string& what) {
    const auto saved = Copy();
    const auto back = Read();
    if (back.ok()) {
      ASSERT_GE(std::ssize(back->notes), synced) << what;
      for (size_t n = 0; n < back->notes.size(); ++n) {
        ASSERT_EQ(back->notes[n], NoteOf(static_cast<int>(n))) << what;
      }
      // It goes on from there.
      ASSERT_EQ(back->next_lsn, std::ssize(back->notes) + 1) << what;
      ASSERT_EQ(Read()->notes.size(), back->notes.size()) << what;
    } else {
      ASSERT_TRUE(absl::IsDataLoss(back.status()) ||
                  absl::IsNotFound(back.status()))
          << what << ": " << back.status();
    }
    Restore(saved);
  }

  void FlipEveryByte(const std::string& path, int synced) {
    for (size_t i = 0; i < Bytes(path).size(); ++i) {
      for (const int bit : {1, 128}) {
        Bytes(path)[i] = static_cast<char>(Bytes(path)[i] ^ bit);
        ExpectNoticedOrHarmless(synced,
                                path + ", flipped byte " + std::to_string(i));
        Bytes(path)[i] = static_cast<char>(Bytes(path)[i] ^ bit);
        if (HasFatalFailure()) return;
      }
    }
  }

  void CutEverywhere(const std::string& path, int synced) {
    const std::string whole = Bytes(path);
    for (size_t size = 0; size < whole.size(); ++size) {
      Bytes(path) = whole.substr(0, size);
      ExpectNoticedOrHarmless(synced,
                              path + ", cut to " + std::to_string(size));
      if (HasFatalFailure()) return;
    }
    Bytes(path) = whole;
  }

  std::map<std::string, std::string> Copy() {
    std::map<std::string, std::string> copy;
    for (const auto& [path, bytes] : files_.files) copy[path] = *bytes;
    return copy;
  }
  void Restore(const std::map<std::string, std::string>& copy) {
    for (const auto& [path, bytes] : copy) *files_.files[path] = bytes;
  }

  WorkPool pool_{1};
  MemoryFiles files_;
  std::vector<int64_t> ends_;  // of each record, in its segment
};

TEST_F(JournalReaderTest, ReadsWhatWasWritten) {
  const auto back = Read();
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->notes.size(), 6U);
  EXPECT_EQ(back->next_lsn, 7);
  EXPECT_EQ(back->torn_bytes, 0);
}

TEST_F(JournalReaderTest, NoFlippedByteGoesUnnoticed) {
  FlipEveryByte(kFirst, kRecords);
  FlipEveryByte(kSecond, kRecords);
}

TEST_F(JournalReaderTest, NoCutGoesUnnoticed) {
  CutEverywhere(kFirst, kRecords);
  CutEverywhere(kSecond, kRecords);
}

// After a power cut the marker may be that of the sync before.
TEST_F(JournalReaderTest, BehindAnOldMarkerOnlyTheLastSyncsRecordsCanGo) {
  SetMarker(kSecond, ends_[3]);
  EXPECT_EQ(Read()->notes.size(), 6U);
  SetMarker(kSecond, ends_[3]);
  FlipEveryByte(kSecond, 5);
  SetMarker(kSecond, ends_[3]);
  CutEverywhere(kSecond, 4);
  ExpectNoticedOrHarmless(6, "untouched");
}

TEST_F(JournalReaderTest, ADamagedRecordBeforeALaterSyncedOneIsALoss) {
  SetMarker(kSecond, ends_[3]);
  Bytes(kSecond)[static_cast<size_t>(ends_[4] - 8)] ^= 1;
  ExpectLoss(kSecond, "byte " + std::to_string(ends_[3]) +
                          ": record 5 is damaged, and was durable when record "
                          "6, at byte " +
                          std::to_string(ends_[4]));
}

TEST_F(JournalReaderTest, ATornTailIsCutOffAndOthersFollow) {
  SetMarker(kSecond, ends_[4]);
  Bytes(kSecond).resize(static_cast<size_t>(ends_[5] - 3));
  const auto back = Read();
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->notes.size(), 5U);
  EXPECT_EQ(back->torn_bytes, ends_[5] - 3 - ends_[4]);
  EXPECT_EQ(Size(kSecond), ends_[4]);
  {
    Appender appender(*Journal::Open({.files = &files_,
                                      .pool = &pool_,
                                      .directory = "m",
                                      .id = kJournalId,
                                      .next_lsn = 6}));
    EXPECT_TRUE(appender.AppendAndWait(NoteOf(5)).ok());
  }
  EXPECT_EQ(Read()->notes.size(), 6U);
  EXPECT_EQ(Read()->notes.back(), NoteOf(5));
}

// A write that failed, and could not be cut off, before the next segment.
TEST_F(JournalReaderTest, RecordsThatTheNextSegmentBeginsWithAreVoid) {
  const std::string first = Bytes(kFirst);
  const auto header = journal::DecodeHeader(BytesOf(first));
  journal::Frame frame = {.type = 1,
                          .lsn = 4,
                          .synced_bytes = ends_[2],
                          .payloads = {},
                          .head = "refused"};
  Bytes(kFirst) += journal::EncodeFrame(frame, header->seed);
  EXPECT_EQ(Read()->notes.size(), 6U);
  EXPECT_EQ(Read()->notes[3], NoteOf(3));
}

// Its payload was made by a worker that knows this format, but no seed.
TEST_F(JournalReaderTest, ATornTailOfWhatLooksLikeRecordsIsReadOnce) {
  constexpr int64_t kTail = 2 * FileWindow::kWindowBytes;
  constexpr int64_t kStep = 4096;
  const journal::Frame frame = {.type = 1,
                                .lsn = 8,
                                .synced_bytes = ends_[5] + 1,
                                .payloads = {},
                                .head = ""};
  const std::string start = journal::EncodeFrame(frame, /*seed=*/0)
                                .substr(0, journal::kFixedFrameBytes);
  std::string tail(kTail, '\0');
  for (int64_t at = 0; at < kTail; at += kStep) {
    char* const place = &tail[static_cast<size_t>(at)];
    std::memcpy(place, start.data(), start.size());
    // All that is behind it is its head.
    const auto head = static_cast<uint32_t>(kTail - at - std::ssize(start));
    std::memcpy(place + 32, &head, sizeof(head));
  }
  Bytes(kSecond) += tail;
  files_.read_bytes = 0;
  const auto back = Read();
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->notes.size(), 6U);
  EXPECT_EQ(back->torn_bytes, kTail);
  EXPECT_LT(files_.read_bytes, 2 * kTail);
}

TEST_F(JournalReaderTest, ThatARecordBeganIsEnoughToNoticeALoss) {
  SetMarker(kSecond, journal::kRecordsBegin);
  Bytes(kSecond)[journal::kRecordsBegin + 60] ^= 1;
  Bytes(kSecond).resize(static_cast<size_t>(ends_[4]) +
                        journal::kFixedFrameBytes);
  ExpectLoss(kSecond, "was durable when record 6");
}

TEST_F(JournalReaderTest, AMissingSegmentIsALoss) {
  const auto saved = files_.files;
  files_.files.erase(kSecond);
  ExpectLoss(kFirst, "it goes on in \"journal-00000000000000000004.log\"");
  files_.files = saved;
  files_.files.erase(kFirst);
  ExpectLoss("m", "journal records 1 to 3 are missing");
  EXPECT_EQ(Read(4)->notes.size(), 3U);
  files_.files.clear();
  EXPECT_TRUE(absl::IsNotFound(Read().status()));
}

TEST_F(JournalReaderTest, RecordsThatACheckpointKnowsOfMustBeThere) {
  EXPECT_EQ(Read(7)->notes.size(), 0U);
  ExpectLoss(kSecond, "records 7 to 7 are missing", 8);
}

TEST_F(JournalReaderTest, AnotherIncarnationsSegmentsAreNotTaken) {
  MemoryFiles other;
  Appender appender(*Journal::Open({.files = &other,
                                    .pool = &pool_,
                                    .directory = "m",
                                    .id = std::string(32, 'f'),
                                    .next_lsn = 9}));
  files_.files.merge(other.files);
  files_.Put("m/journal-1.log", "no segment's name");
  files_.Put("m/journal.tmp", "never finished");
  EXPECT_EQ(Read()->notes.size(), 6U);
  EXPECT_EQ(Read(9).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(JournalReaderTest, ArbitraryBytesAreNoRecords) {
  const uint64_t seed = std::random_device()();
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 3000; ++round) {
    const auto saved = Copy();
    std::string& bytes = Bytes(random() % 2 == 0 ? kFirst : kSecond);
    for (uint64_t n = random() % 8; n > 0; --n) {
      // Numbers that sizes are apt to be mistaken about.
      const uint64_t odd[] = {0, 1, ~0ULL, 1ULL << 63, 1ULL << 31, random()};
      const size_t at = random() % (bytes.size() - 8);
      const uint64_t value = odd[random() % 6];
      bytes.replace(at / 8 * 8, 8, reinterpret_cast<const char*>(&value), 8);
    }
    if (random() % 2 == 0) bytes.resize(random() % bytes.size());
    ExpectNoticedOrHarmless(0, "round " + std::to_string(round));
    if (HasFatalFailure()) return;
    Restore(saved);
  }
}

}  // namespace
}  // namespace accrue
