#include "tests/durability/forgetful_files.h"

#include <algorithm>
#include <filesystem>
#include <memory>
#include <set>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

using testing::Contains;
using testing::UnorderedElementsAre;

constexpr int kSeeds = 60;

// Seeds 0, 1, ...: each a disk of its own, on which `before` happens; then the
// power is cut. What `look` then says of it.
template <typename Before, typename Look>
std::multiset<std::string> Outcomes(Before before, Look look) {
  std::multiset<std::string> outcomes;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    const TemporaryDirectory place;
    std::filesystem::create_directory(place / "live");
    {
      ForgetfulFiles files(place / "shadow");
      before(files, place / "live");
    }
    ForgetfulFiles::CutPower(place / "shadow", seed);
    ForgetfulFiles files(place / "shadow");
    outcomes.insert(look(files, place / "live"));
  }
  return outcomes;
}

std::string Names(FileSystem& files, const std::string& live) {
  std::string all;
  const auto names = files.List(live);
  if (!names.ok()) return "no directory";
  for (const std::string& name : *names) all += name + " ";
  return all;
}

std::string FileA(FileSystem& files, const std::string& live) {
  return ReadWhole(files, live + "/a").value_or("no file");
}

std::unique_ptr<WritableFile> SyncedFile(FileSystem& files,
                                         const std::string& live,
                                         const std::string& text) {
  auto file = *files.Create(live + "/a");
  EXPECT_TRUE(AppendText(*file, text).ok());
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_TRUE(files.SyncDirectory(live).ok());
  return file;
}

std::set<std::string> Distinct(const std::multiset<std::string>& all) {
  return {all.begin(), all.end()};
}

TEST(ForgetfulFilesTest, WhatWasSyncedStays) {
  EXPECT_THAT(Distinct(Outcomes(
                  [](auto& files, const auto& live) {
                    SyncedFile(files, live, "text");
                  },
                  FileA)),
              UnorderedElementsAre("text"));
}

TEST(ForgetfulFilesTest, WithoutSyncDirectoryANewFileMayBeMissing) {
  EXPECT_THAT(Distinct(Outcomes(
                  [](auto& files, const auto& live) {
                    auto file = *files.Create(live + "/a");
                    ASSERT_TRUE(AppendText(*file, "text").ok());
                    ASSERT_TRUE(file->Sync().ok());
                  },
                  FileA)),
              UnorderedElementsAre("text", "no file"));
}

TEST(ForgetfulFilesTest, GrowthMayBeLostOrPartOrZeros) {
  const std::string old(100, 'o');
  const std::string more(1024, 'm');
  const auto outcomes = Outcomes(
      [&](auto& files, const auto& live) {
        auto file = SyncedFile(files, live, old);
        ASSERT_TRUE(AppendText(*file, more).ok());
      },
      FileA);
  for (const std::string& text : outcomes) {
    ASSERT_EQ(text.substr(0, 100), old);
    ASSERT_LE(text.size(), 1124U);
    // The rest of the first sector, the second, the third.
    for (const auto& [begin, size] :
         {std::pair{100, 412}, {512, 512}, {1024, 100}}) {
      const std::string part =
          text.substr(std::min(text.size(), size_t(begin)), size_t(size));
      ASSERT_TRUE(part == std::string(part.size(), 'm') ||
                  part == std::string(part.size(), '\0'));
    }
  }
  EXPECT_THAT(outcomes, Contains(old));
  EXPECT_THAT(outcomes, Contains(old + more));
  EXPECT_THAT(outcomes, Contains(old + std::string(1024, '\0')));
  EXPECT_GT(Distinct(outcomes).size(), 5U);
}

TEST(ForgetfulFilesTest, EachOverwrittenSectorIsOldOrNew) {
  const auto outcomes = Distinct(Outcomes(
      [&](auto& files, const auto& live) {
        auto file = SyncedFile(files, live, std::string(1024, '0'));
        ASSERT_TRUE(
            file->Overwrite(500, BytesOf("111111111111111111111111")).ok());
      },
      [](auto& files, const auto& live) {
        const std::string text = FileA(files, live);
        return text.substr(500, 12) + " " + text.substr(512, 12);
      }));
  const std::string old(12, '0');
  const std::string fresh(12, '1');
  EXPECT_THAT(outcomes,
              UnorderedElementsAre(old + " " + old, old + " " + fresh,
                                   fresh + " " + old, fresh + " " + fresh));
}

TEST(ForgetfulFilesTest, ACutThatWasNotSyncedMayBeTakenBack) {
  const auto outcomes = Outcomes(
      [&](auto& files, const auto& live) {
        auto file = SyncedFile(files, live, std::string(2000, 't'));
        ASSERT_TRUE(file->Truncate(10).ok());
      },
      FileA);
  EXPECT_THAT(outcomes, Contains(std::string(2000, 't')));
  EXPECT_THAT(outcomes, Contains(std::string(10, 't')));
}

TEST(ForgetfulFilesTest, NamesAreKeptInTheOrderInWhichTheyWereMade) {
  const auto outcomes = Distinct(Outcomes(
      [](auto& files, const auto& live) {
        SyncedFile(files, live, "text");
        ASSERT_TRUE(files.Rename(live + "/a", live + "/b").ok());
        ASSERT_TRUE(files.Link(live + "/b", live + "/c").ok());
        ASSERT_TRUE(files.Remove(live + "/b").ok());
      },
      Names));
  EXPECT_THAT(outcomes, UnorderedElementsAre("a ", "b ", "b c ", "c "));
}

TEST(ForgetfulFilesTest, ARenameThatReplacesIsWholeOrNotAtAll) {
  const auto outcomes = Distinct(Outcomes(
      [](auto& files, const auto& live) {
        SyncedFile(files, live, "old");
        auto file = *files.Create(live + "/b");
        ASSERT_TRUE(AppendText(*file, "new").ok());
        ASSERT_TRUE(file->Sync().ok());
        ASSERT_TRUE(files.SyncDirectory(live).ok());
        ASSERT_TRUE(files.Rename(live + "/b", live + "/a").ok());
      },
      FileA));
  EXPECT_THAT(outcomes, UnorderedElementsAre("old", "new"));
}

TEST(ForgetfulFilesTest, ARemovedDirectoryMayBeBackWithAllThatWasInIt) {
  const auto outcomes = Distinct(Outcomes(
      [](auto& files, const auto& live) {
        ASSERT_TRUE(files.CreateDirectory(live + "/d").ok());
        ASSERT_TRUE(files.SyncDirectory(live).ok());
        SyncedFile(files, live + "/d", "text");
        ASSERT_TRUE(files.RemoveDirectory(live + "/d").ok());
      },
      [](auto& files, const auto& live) { return FileA(files, live + "/d"); }));
  EXPECT_THAT(outcomes, UnorderedElementsAre("text", "no file"));
}

// A directory that was renamed before what is in it was synced.
TEST(ForgetfulFilesTest, ARenamedDirectoryMayLackWhatWasMadeInIt) {
  const auto outcomes = Distinct(Outcomes(
      [](auto& files, const auto& live) {
        ASSERT_TRUE(files.CreateDirectory(live + "/d").ok());
        ASSERT_TRUE(files.SyncDirectory(live).ok());
        ASSERT_TRUE(files.Create(live + "/d/a").ok());
        ASSERT_TRUE(files.Rename(live + "/d", live + "/e").ok());
        ASSERT_TRUE(files.SyncDirectory(live).ok());
      },
      [](auto& files, const auto& live) { return Names(files, live + "/e"); }));
  EXPECT_THAT(outcomes, UnorderedElementsAre("", "a "));
}

TEST(ForgetfulFilesTest, APowerCutAfterARestartStillTakesBack) {
  const auto outcomes = Distinct(Outcomes(
      [](ForgetfulFiles&, const std::string& live) {
        const std::string shadow = live + "/../shadow";
        ASSERT_TRUE(ForgetfulFiles(shadow).Create(live + "/a").ok());
        ForgetfulFiles again(shadow);
        EXPECT_EQ(Names(again, live), "a ");
      },
      Names));
  EXPECT_THAT(outcomes, UnorderedElementsAre("", "a "));
}

TEST(ForgetfulFilesTest, AFailedSyncLosesWhatItShouldHaveKept) {
  const TemporaryDirectory place;
  ForgetfulFiles files(place / "shadow");
  auto file = SyncedFile(files, place.path(), "old");
  ASSERT_TRUE(AppendText(*file, "new").ok());
  ASSERT_TRUE(file->Overwrite(0, BytesOf("O")).ok());
  files.faults().Add({.operation = "sync", .path_part = "/a"});
  EXPECT_TRUE(absl::IsUnavailable(file->Sync()));
  EXPECT_TRUE(file->Sync().ok());
  EXPECT_EQ(FileA(files, place.path()), std::string("old\0\0\0", 6));
}

TEST(ForgetfulFilesTest, AFullDiskTakesTheFirstPartOnly) {
  const TemporaryDirectory place;
  ForgetfulFiles files(place / "shadow");
  auto file = *files.Create(place / "a");
  files.faults().SetRoom(5);
  ASSERT_TRUE(AppendText(*file, "123").ok());
  EXPECT_TRUE(
      absl::IsResourceExhausted(file->Append({BytesOf("4"), BytesOf("56")})));
  EXPECT_EQ(FileA(files, place.path()), "12345");
  files.faults().Clear();
  EXPECT_TRUE(AppendText(*file, "6").ok());
}

TEST(ForgetfulFilesTest, FaultsHitTheCallsThatTheyName) {
  const TemporaryDirectory place;
  ForgetfulFiles files(place / "shadow");
  files.faults().Add({.operation = "append", .path_part = "/b", .after = 1});
  files.faults().Add({.operation = "change",
                      .path_part = "/c",
                      .times = kAlways,
                      .code = absl::StatusCode::kFailedPrecondition});
  auto a = *files.Create(place / "a");
  auto b = *files.Create(place / "b");
  EXPECT_TRUE(AppendText(*a, "text").ok());
  EXPECT_TRUE(AppendText(*b, "text").ok());
  EXPECT_TRUE(absl::IsUnavailable(AppendText(*b, "more")));
  EXPECT_TRUE(AppendText(*b, "more").ok());
  EXPECT_EQ(*ReadWhole(files, place / "b"), "textmomore");
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(absl::IsFailedPrecondition(files.Create(place / "c").status()));
    EXPECT_TRUE(absl::IsNotFound(files.Open(place / "c").status()));
  }
}

}  // namespace
}  // namespace accrue
