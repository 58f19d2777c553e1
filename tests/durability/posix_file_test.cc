#include <cstddef>
#include <cstdlib>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/durability/file.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/modes.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::MatchesRegex;

class PosixFileTest : public testing::Test {
 protected:
  std::unique_ptr<WritableFile> MustCreate(const std::string& name) {
    auto file = files_.Create(directory_ / name);
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? *std::move(file) : nullptr;
  }
  void Put(const std::string& name, const std::string& text) {
    ASSERT_TRUE(AppendText(*MustCreate(name), text).ok());
  }

  TemporaryDirectory directory_;
  FileSystem& files_ = *PosixFileSystem();
};

TEST_F(PosixFileTest, WhatWasAppendedIsReadAgain) {
  const auto file = MustCreate("a");
  ASSERT_TRUE(
      file->Append({BytesOf("one "), BytesOf(""), BytesOf("two ")}).ok());
  ASSERT_TRUE(file->Append({}).ok());
  ASSERT_TRUE(AppendText(*file, "three").ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_EQ(file->size_bytes(), 13);
  EXPECT_EQ(*ReadWhole(files_, directory_ / "a"), "one two three");
}

// More pieces than one system call takes, and more bytes than one step.
TEST_F(PosixFileTest, ManyAndLongPiecesAreAppendedInOrder) {
  std::vector<std::string> texts;
  std::string want;
  for (int i = 0; i < 2500; ++i) {
    texts.push_back(std::string(static_cast<size_t>(i % 7), 'a') +
                    std::to_string(i));
  }
  for (int i = 0; i < 3; ++i) {
    std::string long_text;
    while (long_text.size() < (5U << 20U)) {
      long_text += std::to_string(long_text.size() + static_cast<size_t>(i));
    }
    texts.push_back(std::move(long_text));
  }
  std::vector<WritableFile::Bytes> pieces;
  for (const std::string& text : texts) {
    pieces.push_back(BytesOf(text));
    want += text;
  }
  const auto file = MustCreate("a");
  ASSERT_TRUE(AppendText(*file, "first").ok());
  ASSERT_TRUE(file->Append(pieces).ok());
  EXPECT_TRUE(*ReadWhole(files_, directory_ / "a") == "first" + want);
}

// Past the cache of files where they can be: from aligned memory and from any
// other, at the file's beginning and behind some odd bytes; with an end that is
// no whole sector. A file system in memory has no such way.
TEST_F(PosixFileTest, LargeWritesAreReadAgainWhereverTheyBeginAndEnd) {
  constexpr size_t kBytes = (size_t{9} << 20U) + 17;
  const std::unique_ptr<std::byte[], decltype(&std::free)> memory(
      static_cast<std::byte*>(std::aligned_alloc(4096, kBytes + 4096 - 17)),
      std::free);
  for (size_t i = 0; i < kBytes; ++i) {
    memory[i] = static_cast<std::byte>((i * 0x9E3779B97F4A7C15U) >> 56U);
  }
  const auto text = [&](size_t from) {
    return std::string(reinterpret_cast<const char*>(memory.get()) + from,
                       kBytes - from);
  };
  const TemporaryDirectory in_memory("/dev/shm/");
  const TemporaryDirectory* const places[] = {&directory_, &in_memory};
  for (const TemporaryDirectory* place : places) {
    auto file = files_.Create(*place / "a");
    ASSERT_TRUE(file.ok()) << file.status();
    std::string want;
    for (const size_t from : {0, 1, 4096, 5000}) {
      SCOPED_TRACE(from);
      ASSERT_TRUE((*file)->Append({{memory.get() + from, kBytes - from}}).ok());
      want += text(from);
      ASSERT_TRUE(AppendText(**file, "odd").ok());
      want += "odd";
      ASSERT_EQ((*file)->size_bytes(), std::ssize(want));
      ASSERT_TRUE((*file)->Sync().ok());
    }
    EXPECT_TRUE(*ReadWhole(files_, *place / "a") == want);
  }
}

TEST_F(PosixFileTest, OverwritesAndCuts) {
  const auto file = MustCreate("a");
  ASSERT_TRUE(AppendText(*file, "0123456789").ok());
  ASSERT_TRUE(file->Overwrite(2, BytesOf("xy")).ok());
  ASSERT_TRUE(file->Truncate(6).ok());
  EXPECT_EQ(file->size_bytes(), 6);
  ASSERT_TRUE(AppendText(*file, "end").ok());
  EXPECT_EQ(*ReadWhole(files_, directory_ / "a"), "01xy45end");
}

TEST_F(PosixFileTest, AReopenedFileGoesOnBehindItsEnd) {
  Put("a", "one ");
  auto file = files_.Reopen(directory_ / "a");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ((*file)->size_bytes(), 4);
  ASSERT_TRUE(AppendText(**file, "two").ok());
  EXPECT_EQ(*ReadWhole(files_, directory_ / "a"), "one two");
}

TEST_F(PosixFileTest, NamesAreMadeMovedSharedAndRemoved) {
  ASSERT_TRUE(files_.CreateDirectory(directory_ / "d").ok());
  Put("d/b", "text");
  Put("d/a", "other");
  ASSERT_TRUE(files_.Rename(directory_ / "d/b", directory_ / "d/a").ok());
  ASSERT_TRUE(files_.Link(directory_ / "d/a", directory_ / "d/c").ok());
  ASSERT_TRUE(files_.SyncDirectory(directory_ / "d").ok());
  EXPECT_THAT(*files_.List(directory_ / "d"), ElementsAre("a", "c"));
  ASSERT_TRUE(files_.Remove(directory_ / "d/a").ok());
  EXPECT_EQ(*ReadWhole(files_, directory_ / "d/c"), "text");
  ASSERT_TRUE(files_.RemoveDirectory(directory_ / "d").ok());
  EXPECT_THAT(*files_.List(directory_.path()), ElementsAre());
  EXPECT_TRUE(files_.RemoveDirectory(directory_ / "d").ok());
}

TEST_F(PosixFileTest, WhatIsMadeIsItsUsersAlone) {
  const OpenUmask open;
  Put("a", "text");
  ASSERT_TRUE(files_.CreateDirectory(directory_ / "d").ok());
  ASSERT_TRUE(files_.Lock(directory_ / "d").ok());
  EXPECT_EQ(ModeOf(directory_ / "a"), 0600);
  EXPECT_EQ(ModeOf(directory_ / "d"), 0700);
  EXPECT_EQ(ModeOf(directory_ / "d/LOCK"), 0600);
}

TEST_F(PosixFileTest, ErrorsSayWhatWasAskedOfWhichFileAndWhy) {
  const std::string absent = directory_ / "absent";
  const absl::Status why = files_.Open(absent).status();
  EXPECT_EQ(why.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(why.message(),
            "cannot open \"" + absent + "\": No such file or directory");
  EXPECT_TRUE(absl::IsNotFound(files_.Reopen(absent).status()));
  EXPECT_TRUE(absl::IsNotFound(files_.Remove(absent)));
  EXPECT_TRUE(absl::IsNotFound(files_.Rename(absent, absent + "2")));
  EXPECT_TRUE(absl::IsNotFound(files_.Link(absent, absent + "2")));
  EXPECT_TRUE(absl::IsNotFound(files_.List(absent).status()));
  EXPECT_TRUE(absl::IsNotFound(files_.SyncDirectory(absent)));
  EXPECT_TRUE(absl::IsNotFound(files_.Create(absent + "/a").status()));
}

TEST_F(PosixFileTest, WhatIsThereIsNotMadeAgain) {
  Put("a", "text");
  EXPECT_TRUE(absl::IsAlreadyExists(files_.Create(directory_ / "a").status()));
  EXPECT_TRUE(absl::IsAlreadyExists(files_.CreateDirectory(directory_ / "a")));
  EXPECT_TRUE(
      absl::IsAlreadyExists(files_.Link(directory_ / "a", directory_ / "a")));
  EXPECT_EQ(*ReadWhole(files_, directory_ / "a"), "text");
}

TEST_F(PosixFileTest, ADirectoryIsNoFileAndNotReplacedWithWhatIsInIt) {
  ASSERT_TRUE(files_.CreateDirectory(directory_ / "d").ok());
  ASSERT_TRUE(files_.CreateDirectory(directory_ / "e").ok());
  Put("d/a", "text");
  EXPECT_FALSE(files_.Open(directory_ / "d").ok());
  EXPECT_FALSE(files_.Reopen(directory_ / "d").ok());
  EXPECT_TRUE(
      absl::IsAlreadyExists(files_.Rename(directory_ / "e", directory_ / "d")));
}

TEST_F(PosixFileTest, NothingIsReadBehindTheEnd) {
  Put("a", "0123");
  const auto file = files_.Open(directory_ / "a");
  ASSERT_TRUE(file.ok());
  std::byte bytes[4];
  EXPECT_TRUE((*file)->Read(0, bytes).ok());
  EXPECT_TRUE((*file)->Read(4, {}).ok());
  const absl::Status why = (*file)->Read(1, bytes);
  EXPECT_TRUE(absl::IsOutOfRange(why));
  EXPECT_THAT(std::string(why.message()), HasSubstr("ends at byte 4"));
}

TEST_F(PosixFileTest, ALockKeepsOthersOutWhileItLives) {
  auto lock = files_.Lock(directory_.path());
  ASSERT_TRUE(lock.ok()) << lock.status();
  const absl::Status why = files_.Lock(directory_.path()).status();
  EXPECT_TRUE(absl::IsFailedPrecondition(why));
  EXPECT_THAT(std::string(why.message()), HasSubstr("another process"));
  lock->reset();
  EXPECT_TRUE(files_.Lock(directory_.path()).ok());
}

TEST_F(PosixFileTest, TheMachineSaysWhichOfItsLivesItIs) {
  EXPECT_THAT(files_.BootId(), MatchesRegex("[0-9a-f-]{36}"));
}

TEST_F(PosixFileTest, AFullDiskIsResourceExhausted) {
  auto file = files_.Reopen("/dev/full");
  ASSERT_TRUE(file.ok()) << file.status();
  const absl::Status why = AppendText(**file, "text");
  EXPECT_TRUE(absl::IsResourceExhausted(why)) << why;
  EXPECT_EQ(why.message(),
            "cannot write \"/dev/full\": No space left on device");
  EXPECT_EQ((*file)->size_bytes(), 0);
}

}  // namespace
}  // namespace accrue
