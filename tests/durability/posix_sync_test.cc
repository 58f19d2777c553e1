// What a sync asks of the kernel. Everything else about durability is tested on
// files that forget, which leave this out.
#include <cerrno>
#include <cstdint>
#include <memory>
#include <string>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/durability/file.h"
#include "tests/durability/file_bytes.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

struct Call {
  std::string name;
  ino_t inode = 0;
  bool operator==(const Call&) const = default;
};

std::vector<Call>* calls = nullptr;  // while a test listens
int fails_with = 0;                  // errno; 0: the kernel answers

int TakeCall(const char* name, int64_t number, int descriptor) {
  if (calls != nullptr) {
    struct stat status = {};
    if (::fstat(descriptor, &status) != 0) return -1;
    calls->push_back({name, status.st_ino});
    if (fails_with != 0) {
      errno = fails_with;
      return -1;
    }
  }
  return static_cast<int>(::syscall(number, descriptor));
}

}  // namespace
}  // namespace accrue

// They stand before the C library's.
extern "C" {
[[gnu::visibility("default")]] int fsync(int descriptor) {
  return accrue::TakeCall("fsync", SYS_fsync, descriptor);
}
[[gnu::visibility("default")]] int fdatasync(int descriptor) {
  return accrue::TakeCall("fdatasync", SYS_fdatasync, descriptor);
}
}

namespace accrue {
namespace {

class PosixSyncTest : public testing::Test {
 protected:
  PosixSyncTest() { calls = &seen_; }
  ~PosixSyncTest() override {
    calls = nullptr;
    fails_with = 0;
  }

  static ino_t InodeOf(const std::string& path) {
    struct stat status = {};
    EXPECT_EQ(::stat(path.c_str(), &status), 0) << path;
    return status.st_ino;
  }

  std::vector<Call> seen_;
  const TemporaryDirectory directory_;
  FileSystem& files_ = *PosixFileSystem();
};

TEST_F(PosixSyncTest, AFileAsksTheKernelEachTime) {
  const std::string path = directory_ / "a";
  const std::unique_ptr<WritableFile> file = *files_.Create(path);
  ASSERT_TRUE(AppendText(*file, "one").ok());
  EXPECT_THAT(seen_, IsEmpty());
  const Call call = {"fdatasync", InodeOf(path)};
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_THAT(seen_, ElementsAre(call));
  ASSERT_TRUE(file->Overwrite(0, BytesOf("two")).ok());
  ASSERT_TRUE(file->Sync().ok());
  ASSERT_TRUE(file->Sync().ok());
  EXPECT_THAT(seen_, ElementsAre(call, call, call));
}

TEST_F(PosixSyncTest, ADirectoryAsksTheKernelEachTime) {
  const std::string path = directory_.path();
  const Call call = {"fsync", InodeOf(path)};
  ASSERT_TRUE(files_.SyncDirectory(path).ok());
  ASSERT_TRUE(files_.SyncDirectory(path).ok());
  EXPECT_THAT(seen_, ElementsAre(call, call));
}

TEST_F(PosixSyncTest, WhatTheKernelRefusesIsAnErrorThatNamesTheFile) {
  const std::string path = directory_ / "a";
  const std::unique_ptr<WritableFile> file = *files_.Create(path);
  for (const int error : {EIO, ENOSPC, EROFS, EDQUOT}) {
    fails_with = error;
    for (const absl::Status& status :
         {file->Sync(), files_.SyncDirectory(directory_.path())}) {
      EXPECT_FALSE(status.ok());
      EXPECT_THAT(std::string(status.message()), HasSubstr(directory_.path()));
    }
  }
}

}  // namespace
}  // namespace accrue
