// A journal on a disk that fails at any moment, forgets, and is gone on with.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "server/durability/journal.h"
#include "tests/durability/forgetful_files.h"
#include "tests/durability/journal_harness.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

constexpr int kThreads = 2;

class PowerCutTest : public testing::TestWithParam<uint64_t> {
 protected:
  // From a moment on nothing reaches the disk: as far as it is concerned, the
  // process is dead.
  void StopAfter(ForgetfulFiles& files, int64_t changes) {
    files.faults().Add({.operation = "change",
                        .path_part = "",
                        .after = changes,
                        .times = kAlways,
                        .loses = false});
  }
  int64_t Draw(int64_t least, int64_t most) {
    return std::uniform_int_distribution<int64_t>(least, most)(random_);
  }

  // One life of a process: what was acknowledged is added to acknowledged_.
  void Live();
  // A start that the power ends at some change of its own.
  void StartInVain();
  void Check();

  TemporaryDirectory place_;
  const std::string directory_ = place_ / "model";
  std::mt19937_64 random_{GetParam()};
  std::vector<Note> acknowledged_;  // records that must be there
  std::vector<Note> refused_;       // behind them: records that may be
  int next_ = 0;
};

void PowerCutTest::Live() {
  ForgetfulFiles files(place_ / "shadow");
  WorkPool pool(kThreads);
  StopAfter(files, Draw(0, 60));
  auto journal = Journal::Open({.files = &files,
                                .pool = &pool,
                                .directory = directory_,
                                .id = kJournalId,
                                .next_lsn = std::ssize(acknowledged_) + 1,
                                .segment_bytes = Draw(4096, 8192)});
  if (!journal.ok()) return;
  Appender appender(*std::move(journal));
  while (refused_.empty()) {
    const int64_t count = Draw(1, 5);
    std::vector<Note> group;
    {
      PoolGate gate(pool, kThreads);
      for (int64_t i = 0; i < count; ++i) {
        group.push_back(NoteOf(next_++ % 300));
        appender.Append(group.back());
      }
    }
    const auto told = appender.Wait();
    const bool ok = told.back().status.ok();
    for (int64_t i = 0; i < count; ++i) {
      ASSERT_EQ(told[told.size() - 1 - static_cast<size_t>(i)].status.ok(), ok);
    }
    auto& into = ok ? acknowledged_ : refused_;
    into.insert(into.end(), group.begin(), group.end());
    if (Draw(0, 9) == 0) appender.journal().Roll();
  }
}

void PowerCutTest::StartInVain() {
  ForgetfulFiles files(place_ / "shadow");
  StopAfter(files, Draw(0, 3));
  // It may come to its end, or not: what it says is nobody's yet.
  ReadJournal(files, directory_).IgnoreError();
  ForgetfulFiles::CutPower(place_ / "shadow", random_());
}

void PowerCutTest::Check() {
  ForgetfulFiles files(place_ / "shadow");
  const auto back = ReadJournal(files, directory_);
  ASSERT_TRUE(back.ok()) << back.status();
  const std::vector<Note>& notes = back->notes;
  ASSERT_GE(notes.size(), acknowledged_.size());
  const auto end = notes.begin() + std::ssize(acknowledged_);
  ASSERT_TRUE(std::equal(notes.begin(), end, acknowledged_.begin()));
  // Of what was being written when the power failed, the first few.
  ASSERT_LE(notes.end() - end, std::ssize(refused_));
  ASSERT_TRUE(std::equal(end, notes.end(), refused_.begin()));
  acknowledged_ = notes;
  refused_.clear();
}

TEST_P(PowerCutTest, NothingThatWasAcknowledgedIsEverLost) {
  std::filesystem::create_directory(directory_);
  {
    ForgetfulFiles files(place_ / "shadow");
    WorkPool pool(1);
    ASSERT_TRUE(Journal::Open({.files = &files,
                               .pool = &pool,
                               .directory = directory_,
                               .id = kJournalId})
                    .ok());
  }
  for (int life = 0; life < 5; ++life) {
    SCOPED_TRACE(testing::Message() << "life " << life);
    Live();
    if (HasFatalFailure()) return;
    if (Draw(0, 3) > 0) {
      ForgetfulFiles::CutPower(place_ / "shadow", random_());
    }
    if (Draw(0, 1) == 0) StartInVain();
    Check();
    if (HasFatalFailure()) return;
  }
  EXPECT_GT(acknowledged_.size(), 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, PowerCutTest,
                         testing::Range(uint64_t{1}, uint64_t{161}));

}  // namespace
}  // namespace accrue
