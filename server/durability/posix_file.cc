#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <sys/file.h>
#include <sys/stat.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/durability/file.h"
#include "server/durability/posix_descriptor.h"
#include "server/durability/posix_writable_file.h"

namespace accrue {
namespace {

absl::StatusCode CodeOf(int error) {
  switch (error) {
    case ENOENT:
      return absl::StatusCode::kNotFound;
    case EEXIST:
    case ENOTEMPTY:
      return absl::StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return absl::StatusCode::kResourceExhausted;
    case EROFS:
    case EPERM:
    case EACCES:
    case EWOULDBLOCK:
      return absl::StatusCode::kFailedPrecondition;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

// Whatever the umask: parameters and gradients are in them, and ids by which
// anybody could take a session over.
constexpr mode_t kFileMode = 0600;
constexpr mode_t kDirectoryMode = 0700;

absl::StatusOr<Descriptor> OpenDescriptor(absl::string_view what,
                                          const std::string& path, int flags) {
  const int fd =
      TEMP_FAILURE_RETRY(::open(path.c_str(), flags | O_CLOEXEC, kFileMode));
  if (fd < 0) return PosixError(what, path, errno);
  return Descriptor(fd);
}

absl::StatusOr<int64_t> SizeOf(const Descriptor& file,
                               const std::string& path) {
  struct stat facts;
  if (::fstat(file.get(), &facts) != 0)
    return PosixError("examine", path, errno);
  // A directory opens for reading, too.
  if (S_ISDIR(facts.st_mode)) return PosixError("open", path, EISDIR);
  return static_cast<int64_t>(facts.st_size);
}

class PosixReadableFile final : public ReadableFile {
 public:
  PosixReadableFile(Descriptor file, std::string path, int64_t size)
      : file_(std::move(file)), path_(std::move(path)), size_(size) {}

  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    while (!out.empty()) {
      const ssize_t got = TEMP_FAILURE_RETRY(
          ::pread(file_.get(), out.data(), out.size(), offset));
      if (got < 0) return PosixError("read", path_, errno);
      if (got == 0) {
        return absl::OutOfRangeError(
            absl::StrCat("cannot read \"", path_, "\": it ends at byte ",
                         offset, ", ", out.size(), " too early"));
      }
      offset += got;
      out.remove_prefix(static_cast<size_t>(got));
    }
    return absl::OkStatus();
  }

  int64_t size_bytes() const override { return size_; }

 private:
  const Descriptor file_;
  const std::string path_;
  const int64_t size_;
};

class PosixLock final : public DirectoryLock {
 public:
  explicit PosixLock(Descriptor file) : file_(std::move(file)) {}

 private:
  const Descriptor file_;  // closing it unlocks
};

std::string ReadBootId() {
  std::string id;
  std::ifstream("/proc/sys/kernel/random/boot_id") >> id;
  return id;
}

class Posix final : public FileSystem {
 public:
  absl::StatusOr<std::unique_ptr<WritableFile>> Create(
      const std::string& path) override {
    ACCRUE_ASSIGN_OR_RETURN(
        Descriptor file,
        OpenDescriptor("create", path, O_RDWR | O_CREAT | O_EXCL));
    return std::make_unique<PosixWritableFile>(std::move(file), path, 0);
  }

  absl::StatusOr<std::unique_ptr<WritableFile>> Reopen(
      const std::string& path) override {
    ACCRUE_ASSIGN_OR_RETURN(Descriptor file,
                            OpenDescriptor("open", path, O_RDWR));
    ACCRUE_ASSIGN_OR_RETURN(const int64_t size, SizeOf(file, path));
    return std::make_unique<PosixWritableFile>(std::move(file), path, size);
  }

  absl::StatusOr<std::unique_ptr<ReadableFile>> Open(
      const std::string& path) override {
    ACCRUE_ASSIGN_OR_RETURN(Descriptor file,
                            OpenDescriptor("open", path, O_RDONLY));
    ACCRUE_ASSIGN_OR_RETURN(const int64_t size, SizeOf(file, path));
    return std::make_unique<PosixReadableFile>(std::move(file), path, size);
  }

  absl::Status CreateDirectory(const std::string& path) override {
    if (::mkdir(path.c_str(), kDirectoryMode) == 0) return absl::OkStatus();
    return PosixError("create directory", path, errno);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return PosixError(absl::StrCat("rename to \"", to, "\""), from, errno);
  }

  absl::Status Link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return PosixError(absl::StrCat("link to \"", to, "\""), from, errno);
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0) return absl::OkStatus();
    return PosixError("remove", path, errno);
  }

  absl::Status RemoveDirectory(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (!error) return absl::OkStatus();
    return PosixError("remove directory", path, error.value());
  }

  absl::Status SyncDirectory(const std::string& path) override {
    ACCRUE_ASSIGN_OR_RETURN(
        const Descriptor directory,
        OpenDescriptor("sync directory", path, O_RDONLY | O_DIRECTORY));
    if (TEMP_FAILURE_RETRY(::fsync(directory.get())) != 0) {
      return PosixError("sync directory", path, errno);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<std::string>> List(
      const std::string& directory) const override {
    std::vector<std::string> names;
    std::error_code error;
    std::filesystem::directory_iterator entry(directory, error);
    while (!error && entry != std::filesystem::directory_iterator()) {
      names.push_back(entry->path().filename().string());
      entry.increment(error);
    }
    if (error) return PosixError("list", directory, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<std::unique_ptr<DirectoryLock>> Lock(
      const std::string& directory) override {
    const std::string path = directory + "/LOCK";
    ACCRUE_ASSIGN_OR_RETURN(Descriptor file,
                            OpenDescriptor("lock", path, O_RDWR | O_CREAT));
    if (TEMP_FAILURE_RETRY(::flock(file.get(), LOCK_EX | LOCK_NB)) != 0) {
      if (errno != EWOULDBLOCK) return PosixError("lock", path, errno);
      return absl::FailedPreconditionError(
          absl::StrCat("cannot lock \"", path, "\": another process has it"));
    }
    return std::make_unique<PosixLock>(std::move(file));
  }

  std::string BootId() const override { return boot_id_; }

 private:
  const std::string boot_id_ = ReadBootId();
};

}  // namespace

absl::Status PosixError(absl::string_view what, const std::string& path,
                        int error) {
  return absl::Status(CodeOf(error),
                      absl::StrCat("cannot ", what, " \"", path, "\": ",
                                   std::generic_category().message(error)));
}

FileSystem* PosixFileSystem() {
  static Posix posix;
  return &posix;
}

}  // namespace accrue
