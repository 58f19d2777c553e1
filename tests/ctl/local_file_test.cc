#include "client/ctl/local_file.h"

#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/ctl/failure.h"

namespace accrue::ctl {
namespace {

using ::testing::HasSubstr;

// A folder of the test's own that goes with it.
class LocalFileTest : public testing::Test {
 protected:
  LocalFileTest() {
    std::string pattern = testing::TempDir() + "/local_file_XXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~LocalFileTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) { return folder_ + "/" + name; }

  int FileCount() {
    int count = 0;
    for ([[maybe_unused]] const auto& entry :
         std::filesystem::directory_iterator(folder_)) {
      ++count;
    }
    return count;
  }

  std::string folder_;
};

void Fill(const FileReplacement& file, const std::string& text) {
  ASSERT_EQ(file.bytes().size(), text.size());
  std::memcpy(file.bytes().data(), text.data(), text.size());
}

std::string Contents(const std::string& path) {
  std::istringstream nothing;
  const auto text = ReadTextFile(path, nothing);
  return text.ok() ? *text : std::string(text.status().message());
}

TEST_F(LocalFileTest, ATextFileAndStandardInputAreReadWhole) {
  const std::string text(200'000, 'x');
  std::ofstream(Path("a")) << text;
  EXPECT_EQ(Contents(Path("a")), text);
  std::istringstream input(text);
  const auto read = ReadTextFile("-", input);
  ASSERT_TRUE(read.ok());
  EXPECT_EQ(*read, text);
}

TEST_F(LocalFileTest, AMissingFileIsNamedWithTheReason) {
  std::istringstream nothing;
  const auto text = ReadTextFile(Path("a"), nothing);
  EXPECT_EQ(ExitCodeOf(text.status()), kFile);
  EXPECT_EQ(std::string(text.status().message()),
            "cannot open " + Path("a") + ": No such file or directory");
  EXPECT_EQ(ExitCodeOf(MapFile(Path("a")).status()), kFile);
  EXPECT_EQ(ExitCodeOf(MapFile(folder_).status()), kFile);
}

TEST_F(LocalFileTest, AReplacementAppearsWholeAtCommit) {
  std::ofstream(Path("a")) << "old";
  {
    auto file = FileReplacement::Create(Path("a"), 5);
    ASSERT_TRUE(file.ok()) << file.status();
    Fill(*file, "newer");
    EXPECT_EQ(Contents(Path("a")), "old");
    EXPECT_TRUE(file->Commit().ok());
  }
  EXPECT_EQ(Contents(Path("a")), "newer");
  EXPECT_EQ(FileCount(), 1);
  const auto mapped = MapFile(Path("a"));
  ASSERT_TRUE(mapped.ok());
  EXPECT_EQ(std::memcmp(mapped->bytes().data(), "newer", 5), 0);
}

TEST_F(LocalFileTest, WithoutCommitNothingIsLeft) {
  std::ofstream(Path("a")) << "old";
  {
    auto file = FileReplacement::Create(Path("a"), 5);
    ASSERT_TRUE(file.ok()) << file.status();
    Fill(*file, "newer");
  }
  EXPECT_EQ(Contents(Path("a")), "old");
  EXPECT_EQ(FileCount(), 1);
}

TEST_F(LocalFileTest, ItsPermissionsAreThoseOfAnyNewFile) {
  std::ofstream(Path("ordinary")) << "x";
  auto file = FileReplacement::Create(Path("a"), 1);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_TRUE(file->Commit().ok());
  struct stat ordinary;
  struct stat replaced;
  ASSERT_EQ(stat(Path("ordinary").c_str(), &ordinary), 0);
  ASSERT_EQ(stat(Path("a").c_str(), &replaced), 0);
  EXPECT_EQ(replaced.st_mode, ordinary.st_mode);
}

TEST_F(LocalFileTest, OnlyAnOrdinaryFileIsReplaced) {
  ASSERT_EQ(mkfifo(Path("pipe").c_str(), 0600), 0);
  ASSERT_EQ(symlink("pipe", Path("to_pipe").c_str()), 0);
  ASSERT_EQ(mkdir(Path("folder").c_str(), 0700), 0);
  ASSERT_EQ(symlink("nothing", Path("to_nothing").c_str()), 0);
  const std::pair<std::string, std::string> cases[] = {
      {"pipe", "is no ordinary file"},
      {"to_pipe", "is no ordinary file"},
      {"folder", "is a folder"},
      {"to_nothing", "is a link to nothing"}};
  for (const auto& [name, reason] : cases) {
    const auto file = FileReplacement::Create(Path(name), 1);
    EXPECT_EQ(ExitCodeOf(file.status()), kFile) << name;
    EXPECT_EQ(std::string(file.status().message()), Path(name) + " " + reason);
  }
  EXPECT_EQ(FileCount(), 4);
}

TEST_F(LocalFileTest, ALinkStaysAndWhatItLeadsToIsReplaced) {
  ASSERT_EQ(mkdir(Path("folder").c_str(), 0700), 0);
  std::ofstream(Path("folder/a")) << "old";
  ASSERT_EQ(symlink("folder/a", Path("link").c_str()), 0);
  {
    auto file = FileReplacement::Create(Path("link"), 5);
    ASSERT_TRUE(file.ok()) << file.status();
    Fill(*file, "newer");
    ASSERT_TRUE(file->Commit().ok());
  }
  EXPECT_TRUE(std::filesystem::is_symlink(Path("link")));
  EXPECT_EQ(Contents(Path("folder/a")), "newer");
  EXPECT_EQ(FileCount(), 2);
}

TEST_F(LocalFileTest, AProgramThatIsKilledLeavesNothing) {
  const pid_t child = fork();
  if (child == 0) {
    auto file = FileReplacement::Create(Path("a"), 5);
    if (file.ok()) raise(SIGKILL);
    _exit(1);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFSIGNALED(status));
  EXPECT_EQ(FileCount(), 0)
      << "or does the file system of " << folder_ << " lack O_TMPFILE?";
}

TEST_F(LocalFileTest, WhereThereIsNoFolderOrNoRoomNothingIsLeft) {
  EXPECT_THAT(
      std::string(
          FileReplacement::Create(Path("none/a"), 5).status().message()),
      HasSubstr("No such file or directory"));
  const auto huge = FileReplacement::Create(Path("a"), int64_t{1} << 60);
  EXPECT_EQ(ExitCodeOf(huge.status()), kFile);
  EXPECT_EQ(FileCount(), 0);
}

}  // namespace
}  // namespace accrue::ctl
