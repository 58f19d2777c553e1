#include "tests/e2e/small_disk.h"

#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sched.h>
#include <string>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace accrue {
namespace {

std::string why_not;

std::string System(const std::string& what) {
  return what + ": " + std::strerror(errno);
}

bool Write(const std::string& path, const std::string& text) {
  std::ofstream file(path);
  file << text;
  file.close();
  return !file.fail();
}

bool Mount(const std::string& path, int64_t bytes) {
  const std::string size = "size=" + std::to_string(bytes);
  return mount("tmpfs", path.c_str(), "tmpfs", 0, size.c_str()) == 0;
}

// A namespace of mounts of its own, and one of users, in which this one may
// mount.
std::string EnterNamespace() {
  const std::string user = std::to_string(getuid());
  const std::string group = std::to_string(getgid());
  if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return System("unshare");
  if (!Write("/proc/self/setgroups", "deny") ||
      !Write("/proc/self/uid_map", user + " " + user + " 1") ||
      !Write("/proc/self/gid_map", group + " " + group + " 1")) {
    return System("a user of its own");
  }
  if (mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0) {
    return System("private mounts");
  }
  const TemporaryDirectory place;
  if (!Mount(place.path(), int64_t{1} << 20)) return System("mount");
  umount(place.path().c_str());
  return "";
}

// Before the first test: only a process of one thread may.
class Namespace : public testing::Environment {
 public:
  void SetUp() override { why_not = EnterNamespace(); }
};
const testing::Environment* const entered =
    testing::AddGlobalTestEnvironment(new Namespace);

}  // namespace

const std::string& SmallDisk::WhyNot() { return why_not; }

SmallDisk::SmallDisk(int64_t bytes) {
  EXPECT_TRUE(Mount(path(), bytes)) << System("mount");
}

SmallDisk::~SmallDisk() {
  EXPECT_EQ(umount2(path().c_str(), MNT_DETACH), 0) << System("umount");
}

void SmallDisk::Fill(int64_t left_bytes) {
  const int file =
      open(ballast().c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  // Others may take some of it meanwhile.
  for (int64_t bytes = FreeBytes() - left_bytes; bytes > 0;
       bytes = FreeBytes() - left_bytes) {
    const int error = posix_fallocate(file, lseek(file, 0, SEEK_END), bytes);
    if (error != 0 && error != ENOSPC) {
      ADD_FAILURE() << std::strerror(error);
      break;
    }
  }
  close(file);
}

int64_t SmallDisk::FreeBytes() const {
  struct statvfs facts;
  EXPECT_EQ(statvfs(path().c_str(), &facts), 0) << System("statvfs");
  return static_cast<int64_t>(facts.f_bavail * facts.f_frsize);
}

void SmallDisk::Free() { std::filesystem::remove(ballast()); }

void SmallDisk::SetReadOnly(const std::string& directory) {
  const std::string at = path() + "/" + directory;
  ASSERT_EQ(mount(at.c_str(), at.c_str(), nullptr, MS_BIND, nullptr), 0)
      << System("bind");
  ASSERT_EQ(mount(nullptr, at.c_str(), nullptr,
                  MS_BIND | MS_REMOUNT | MS_RDONLY, nullptr),
            0)
      << System("remount");
}

void SmallDisk::SetWritable(const std::string& directory) {
  const std::string at = path() + "/" + directory;
  ASSERT_EQ(umount2(at.c_str(), MNT_DETACH), 0) << System("umount");
}

}  // namespace accrue
