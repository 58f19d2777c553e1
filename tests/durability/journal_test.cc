#include "server/durability/journal.h"

#include <memory>
#include <string>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/base/error.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/journal_harness.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

constexpr int kThreads = 2;

class JournalTest : public testing::Test {
 protected:
  JournalTest() {
    EXPECT_TRUE(PosixFileSystem()->CreateDirectory(directory_).ok());
  }

  absl::StatusOr<std::shared_ptr<Journal>> TryToOpen(
      int64_t next_lsn, int64_t segment_bytes = 1 << 30) {
    return Journal::Open({.files = &files_,
                          .pool = &pool_,
                          .directory = directory_,
                          .id = kJournalId,
                          .next_lsn = next_lsn,
                          .segment_bytes = segment_bytes});
  }
  std::unique_ptr<Appender> Open(int64_t next_lsn = 1,
                                 int64_t segment_bytes = 1 << 30) {
    auto journal = TryToOpen(next_lsn, segment_bytes);
    EXPECT_TRUE(journal.ok()) << journal.status();
    return std::make_unique<Appender>(*std::move(journal));
  }
  std::vector<Note> Read(int64_t from_lsn = 1) {
    auto back = ReadJournal(files_, directory_, from_lsn);
    EXPECT_TRUE(back.ok()) << back.status();
    return back.ok() ? back->notes : std::vector<Note>();
  }
  std::vector<std::string> Segments() { return *files_.List(directory_); }

  TemporaryDirectory place_;
  const std::string directory_ = place_ / "model";
  ForgetfulFiles files_{place_ / "shadow"};
  WorkPool pool_{kThreads};
};

std::vector<Note> Notes(int begin, int end) {
  std::vector<Note> notes;
  for (int n = begin; n < end; ++n) notes.push_back(NoteOf(n));
  return notes;
}

TEST_F(JournalTest, RecordsComeBackAsTheyWereAppended) {
  std::vector<Note> want = Notes(0, 40);
  want.push_back({7, "", {"", std::string((3 << 20) + 5, 'x'), "y"}});
  want.push_back({8, std::string(1000003, 'h'), {}});
  const auto appender = Open();
  for (const Note& note : want) {
    EXPECT_TRUE(appender->AppendAndWait(note).ok());
  }
  EXPECT_EQ(appender->journal().appended_lsn(), 42);
  EXPECT_EQ(appender->journal().durable_lsn(), 42);
  EXPECT_TRUE(Read() == want);
}

TEST_F(JournalTest, WhatIsQueuedTogetherSharesOneSyncAndIsToldInOrder) {
  const auto appender = Open();
  const int64_t before = files_.sync_count();
  {
    PoolGate gate(pool_, kThreads);
    for (int n = 0; n < 100; ++n) appender->Append(NoteOf(n));
    EXPECT_EQ(appender->journal().appended_lsn(), 100);
    EXPECT_EQ(appender->journal().durable_lsn(), 0);
  }
  const auto told = appender->Wait();
  for (int n = 0; n < 100; ++n) {
    EXPECT_EQ(told[static_cast<size_t>(n)].index, n);
    EXPECT_TRUE(told[static_cast<size_t>(n)].status.ok());
  }
  EXPECT_EQ(files_.sync_count(), before + 1);
  EXPECT_TRUE(Read() == Notes(0, 100));
}

TEST_F(JournalTest, ALongJournalGoesOnInNewSegments) {
  const auto appender = Open(1, 4096 + 600);
  for (int n = 0; n < 20; ++n) {
    ASSERT_TRUE(appender->AppendAndWait(NoteOf(n)).ok());
  }
  EXPECT_GT(Segments().size(), 4U);
  EXPECT_TRUE(Read() == Notes(0, 20));
  for (int from = 1; from <= 21; ++from) {
    EXPECT_TRUE(Read(from) == Notes(from - 1, 20)) << from;
  }
}

TEST_F(JournalTest, WhatACheckpointHasMadeNeedlessIsDropped) {
  const auto appender = Open();
  Journal& journal = appender->journal();
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(0)).ok());
  EXPECT_EQ(journal.Roll(), 2);
  EXPECT_EQ(journal.Roll(), 2);
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(1)).ok());
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(2)).ok());
  EXPECT_EQ(journal.Roll(), 4);
  EXPECT_THAT(Segments(), ElementsAre("journal-00000000000000000001.log",
                                      "journal-00000000000000000002.log"));
  const int64_t both = journal.BytesFrom(1);
  const int64_t second = journal.BytesFrom(2);
  EXPECT_EQ(journal.BytesFrom(3), second);
  EXPECT_GT(both, second);
  ASSERT_TRUE(journal.DropBefore(1).ok());
  EXPECT_EQ(Segments().size(), 2U);
  ASSERT_TRUE(journal.DropBefore(2).ok());
  EXPECT_THAT(Segments(), ElementsAre("journal-00000000000000000002.log"));
  EXPECT_EQ(journal.BytesFrom(1), second);
  // The newest stays.
  ASSERT_TRUE(journal.DropBefore(100).ok());
  EXPECT_TRUE(Read(2) == Notes(1, 3));
  EXPECT_EQ(ReadJournal(files_, directory_, 1).status().code(),
            absl::StatusCode::kDataLoss);
}

TEST_F(JournalTest, ARestartGoesOnWhereItEnded) {
  for (int n = 0; n < 6; ++n) {
    const auto appender = Open(n + 1);
    ASSERT_TRUE(appender->AppendAndWait(NoteOf(n)).ok());
    // And one that has nothing to say.
    Open(n + 2);
    EXPECT_TRUE(Read() == Notes(0, n + 1)) << n;
  }
  const auto appender = Open(7);
  EXPECT_GT(appender->journal().BytesFrom(1), appender->journal().BytesFrom(6));
  ASSERT_TRUE(appender->journal().DropBefore(7).ok());
  EXPECT_EQ(Segments().size(), 1U);
}

// A newer segment is of what came to nothing.
TEST_F(JournalTest, AFullDiskDoesNotKeepItFromWhatIsItsOwn) {
  {
    const auto appender = Open();
    for (int n = 0; n < 3; ++n) {
      ASSERT_TRUE(appender->AppendAndWait(NoteOf(n)).ok());
    }
  }
  const std::string other(kJournalId, 32);
  ASSERT_TRUE(
      JournalSegment::Create(&files_, directory_, 2, "f" + other.substr(1))
          .ok());
  files_.faults().Add(
      {.operation = "create", .path_part = "/journal.tmp", .times = 2});
  const auto appender = Open(4);
  EXPECT_FALSE(appender->AppendAndWait(NoteOf(3)).ok());
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(3)).ok());
  EXPECT_TRUE(Read() == Notes(0, 4));
}

// Else the older one would say that it goes on in what is begun now.
TEST_F(JournalTest, OneWhoseNewestSegmentCannotBeOpenedStaysAsItIs) {
  {
    const auto appender = Open();
    ASSERT_TRUE(appender->AppendAndWait(NoteOf(0)).ok());
    appender->journal().Roll();
    ASSERT_TRUE(appender->AppendAndWait(NoteOf(1)).ok());
  }
  const std::vector<std::string> segments = Segments();
  ASSERT_EQ(segments.size(), 2U);
  files_.faults().Add(
      {.operation = "open", .path_part = segments[1], .times = kAlways});
  EXPECT_EQ(TryToOpen(3).status().code(), absl::StatusCode::kUnavailable);
  files_.faults().Clear();
  EXPECT_EQ(Segments(), segments);
  EXPECT_TRUE(Read() == Notes(0, 2));

  ASSERT_TRUE(Open(3)->AppendAndWait(NoteOf(2)).ok());
  EXPECT_TRUE(Read() == Notes(0, 3));
}

TEST_F(JournalTest, WhatOthersHaveLeftNeedNotBeReadToBegin) {
  const std::string other(kJournalId, 32);
  ASSERT_TRUE(
      JournalSegment::Create(&files_, directory_, 1, "f" + other.substr(1))
          .ok());
  files_.faults().Add(
      {.operation = "open", .path_part = Segments().front(), .times = kAlways});
  const auto appender = Open(2);
  files_.faults().Clear();
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(0)).ok());
  EXPECT_TRUE(Read(2) == Notes(0, 1));
}

struct Trouble {
  std::string name;
  std::vector<FileFault> faults;
  // What the error says, and whether it comes when a segment is begun.
  std::string says;
  bool rolls = false;
};

class JournalTroubleTest : public JournalTest,
                           public testing::WithParamInterface<Trouble> {};

TEST_P(JournalTroubleTest, RefusesAndGoesOnByItself) {
  const auto appender = Open();
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(0)).ok());
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(1)).ok());
  if (GetParam().rolls) appender->journal().Roll();
  for (const FileFault& fault : GetParam().faults) files_.faults().Add(fault);
  for (int i = 0; i < 2; ++i) {
    const absl::Status why = appender->AppendAndWait(NoteOf(50));
    EXPECT_TRUE(absl::IsUnavailable(why)) << why;
    EXPECT_EQ(GetErrorInfo(why).reason, Reason::kJournalFailed);
    EXPECT_THAT(std::string(why.message()), HasSubstr(GetParam().says));
    EXPECT_THAT(std::string(why.message()), HasSubstr(directory_));
    EXPECT_EQ(appender->journal().appended_lsn(), 2);
    EXPECT_EQ(appender->journal().durable_lsn(), 2);
  }
  files_.faults().Clear();
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(2)).ok());
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(3)).ok());
  EXPECT_EQ(appender->journal().durable_lsn(), 4);
  EXPECT_TRUE(Read() == Notes(0, 4));
  for (uint64_t seed = 0; seed < 5; ++seed) {
    ForgetfulFiles::CutPower(place_ / "shadow", seed);
    EXPECT_TRUE(Read() == Notes(0, 4)) << seed;
  }
}

FileFault Always(const std::string& operation, const std::string& part,
                 absl::StatusCode code = absl::StatusCode::kUnavailable) {
  return {operation, part, 0, kAlways, code};
}

INSTANTIATE_TEST_SUITE_P(
    All, JournalTroubleTest,
    testing::Values(
        Trouble{
            "NoSpace",
            {Always("append", ".log", absl::StatusCode::kResourceExhausted),
             Always("append", ".tmp", absl::StatusCode::kResourceExhausted)},
            "append"},
        Trouble{"WriteFails", {Always("append", "")}, "append"},
        Trouble{"WriteAndCutFail",
                {Always("append", ""), Always("truncate", "")},
                "append"},
        Trouble{"SyncFails", {Always("sync", "")}, "sync"},
        Trouble{"SyncFailsOnce", {{"sync", ".log"}, {"sync", ".tmp"}}, "sync"},
        Trouble{"SyncAndCutFail",
                {Always("sync", ""), Always("truncate", "")},
                "sync"},
        Trouble{"MarkerFails", {Always("overwrite", "")}, "overwrite"},
        Trouble{"MarkerAndCutFail",
                {Always("overwrite", ""), Always("truncate", "")},
                "overwrite"},
        Trouble{"NoNewSegment", {Always("create", "")}, "create", true},
        Trouble{"NoNewName", {Always("rename", "")}, "rename", true},
        Trouble{"NoDurableName",
                {Always("sync directory", "")},
                "sync directory",
                true},
        Trouble{"ReadOnly",
                {Always("change", "", absl::StatusCode::kFailedPrecondition)},
                "cannot"}),
    [](const auto& info) { return info.param.name; });

TEST_F(JournalTest, WhatIsQueuedBehindARefusedRecordIsRefusedToo) {
  const auto appender = Open();
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(0)).ok());
  files_.faults().Add({.operation = "append"});
  {
    PoolGate gate(pool_, kThreads);
    appender->Append(NoteOf(50));
    appender->journal().Roll();  // what follows would be another group
    appender->Append(NoteOf(51));
  }
  const auto told = appender->Wait();
  ASSERT_EQ(told.size(), 3U);
  EXPECT_EQ(told[1].index, 1);
  EXPECT_FALSE(told[1].status.ok());
  EXPECT_EQ(told[2].index, 2);
  EXPECT_FALSE(told[2].status.ok());
  ASSERT_TRUE(appender->AppendAndWait(NoteOf(1)).ok());
  EXPECT_TRUE(Read() == Notes(0, 2));
}

TEST_F(JournalTest, GoesOnWhenTheDiskHasRoomAgain) {
  const auto appender = Open();
  int refused = 0;
  std::vector<Note> want;
  for (int n = 0; n < 40; ++n) {
    if (n % 10 == 3) files_.faults().SetRoom(300);
    if (n % 10 == 8) files_.faults().SetRoom(kAlways);
    if (appender->AppendAndWait(NoteOf(n)).ok()) {
      want.push_back(NoteOf(n));
    } else {
      ++refused;
    }
  }
  EXPECT_GE(refused, 12);
  EXPECT_GE(want.size(), 20U);
  EXPECT_TRUE(Read() == want);
}

// Dones may append: that is how a model goes on.
TEST_F(JournalTest, ARefusedAppenderMayTryAgainAtOnce) {
  const auto appender = Open();
  files_.faults().Add({.operation = "append"});
  Mutex mutex;
  CondVar changed;
  bool done = false;
  absl::Status second;
  appender->journal().Append(
      EntryOf(NoteOf(0)), [&](const absl::Status& first) {
        EXPECT_FALSE(first.ok());
        appender->journal().Append(EntryOf(NoteOf(1)),
                                   [&](absl::Status status) {
                                     MutexLock lock(&mutex);
                                     second = std::move(status);
                                     done = true;
                                     changed.SignalAll();
                                   });
      });
  {
    MutexLock lock(&mutex);
    while (!done) changed.Wait(&mutex);
  }
  EXPECT_TRUE(second.ok()) << second;
  EXPECT_TRUE(Read() == Notes(1, 2));
}

}  // namespace
}  // namespace accrue
