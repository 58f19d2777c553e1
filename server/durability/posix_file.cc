#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <system_error>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/base/status_macros.h"
#include "server/durability/file.h"

namespace accrue {
namespace {

// What is appended is handed to the disk in steps of so many bytes, while the
// next is copied: Sync then has little left to wait for. Its memory is given
// back when it is durable, and serves for what comes next: a cache of files
// that nobody reads before a restart would only grow. (256 MiB again and
// again: 2.6 GB/s; without the first 1.6, without the second 0.4.)
constexpr int64_t kStepBytes = int64_t{4} << 20;

// Anybody may read whom the process's umask lets.
constexpr mode_t kFileMode = 0666;
constexpr mode_t kDirectoryMode = 0777;

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

absl::Status Error(absl::string_view what, const std::string& path, int error) {
  return absl::Status(CodeOf(error),
                      absl::StrCat("cannot ", what, " \"", path, "\": ",
                                   std::generic_category().message(error)));
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }

 private:
  int fd_;
};

absl::StatusOr<Descriptor> OpenDescriptor(absl::string_view what,
                                          const std::string& path, int flags) {
  const int fd =
      TEMP_FAILURE_RETRY(::open(path.c_str(), flags | O_CLOEXEC, kFileMode));
  if (fd < 0) return Error(what, path, errno);
  return Descriptor(fd);
}

absl::StatusOr<int64_t> SizeOf(const Descriptor& file,
                               const std::string& path) {
  struct stat facts;
  if (::fstat(file.get(), &facts) != 0) return Error("examine", path, errno);
  // A directory opens for reading, too.
  if (S_ISDIR(facts.st_mode)) return Error("open", path, EISDIR);
  return static_cast<int64_t>(facts.st_size);
}

class PosixWritableFile final : public WritableFile {
 public:
  PosixWritableFile(Descriptor file, std::string path, int64_t size)
      : file_(std::move(file)), path_(std::move(path)), size_(size) {}

  absl::Status Append(absl::Span<const Bytes> pieces) override {
    // Where the next byte to be written is: in the first of `pieces`.
    size_t begun = 0;
    while (true) {
      std::array<iovec, IOV_MAX> step;
      const int count = NextStep(pieces, begun, step);
      if (count == 0) return absl::OkStatus();
      const ssize_t written =
          TEMP_FAILURE_RETRY(::pwritev(file_.get(), step.data(), count, size_));
      if (written <= 0) {
        return Error("write", path_, written < 0 ? errno : EIO);
      }
      size_ += written;
      StartWriteOut();
      begun += static_cast<size_t>(written);
      while (!pieces.empty() && begun >= pieces.front().size()) {
        begun -= pieces.front().size();
        pieces.remove_prefix(1);
      }
    }
  }

  absl::Status Overwrite(int64_t offset, Bytes bytes) override {
    while (!bytes.empty()) {
      const ssize_t written = TEMP_FAILURE_RETRY(
          ::pwrite(file_.get(), bytes.data(), bytes.size(), offset));
      if (written <= 0) {
        return Error("overwrite", path_, written < 0 ? errno : EIO);
      }
      offset += written;
      bytes.remove_prefix(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

  // fdatasync writes the size too: without it the data could not be read.
  absl::Status Sync() override {
    if (TEMP_FAILURE_RETRY(::fdatasync(file_.get())) != 0) {
      return Error("sync", path_, errno);
    }
    if (size_ - given_back_ >= kStepBytes) {
      (void)::posix_fadvise(file_.get(), given_back_, size_ - given_back_,
                            POSIX_FADV_DONTNEED);
      given_back_ = size_;
    }
    return absl::OkStatus();
  }

  absl::Status Truncate(int64_t size_bytes) override {
    if (TEMP_FAILURE_RETRY(::ftruncate(file_.get(), size_bytes)) != 0) {
      return Error("cut", path_, errno);
    }
    size_ = size_bytes;
    handed_over_ = std::min(handed_over_, size_);
    given_back_ = std::min(given_back_, size_);
    return absl::OkStatus();
  }

  int64_t size_bytes() const override { return size_; }

 private:
  // The first bytes of `pieces`, from `begun` on: a step, or as many pieces as
  // the system takes at once.
  static int NextStep(absl::Span<const Bytes> pieces, size_t begun,
                      std::array<iovec, IOV_MAX>& step) {
    int count = 0;
    auto room = static_cast<size_t>(kStepBytes);
    for (Bytes piece : pieces) {
      if (room == 0 || count == IOV_MAX) break;
      piece.remove_prefix(std::exchange(begun, 0));
      if (piece.empty()) continue;
      const size_t size = std::min(piece.size(), room);
      step[count++] = {const_cast<std::byte*>(piece.data()), size};
      room -= size;
    }
    return count;
  }

  void StartWriteOut() {
    if (size_ - handed_over_ < kStepBytes) return;
    // A hint: what goes wrong with the data, Sync says.
    (void)::sync_file_range(file_.get(), handed_over_, size_ - handed_over_,
                            SYNC_FILE_RANGE_WRITE);
    handed_over_ = size_;
  }

  const Descriptor file_;
  const std::string path_;
  int64_t size_;
  int64_t handed_over_ = 0;  // bytes whose way to the disk was begun
  int64_t given_back_ = 0;   // bytes whose memory was
};

class PosixReadableFile final : public ReadableFile {
 public:
  PosixReadableFile(Descriptor file, std::string path, int64_t size)
      : file_(std::move(file)), path_(std::move(path)), size_(size) {}

  absl::Status Read(int64_t offset, absl::Span<std::byte> out) const override {
    while (!out.empty()) {
      const ssize_t got = TEMP_FAILURE_RETRY(
          ::pread(file_.get(), out.data(), out.size(), offset));
      if (got < 0) return Error("read", path_, errno);
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
    return Error("create directory", path, errno);
  }

  absl::Status Rename(const std::string& from, const std::string& to) override {
    if (::rename(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return Error(absl::StrCat("rename to \"", to, "\""), from, errno);
  }

  absl::Status Link(const std::string& from, const std::string& to) override {
    if (::link(from.c_str(), to.c_str()) == 0) return absl::OkStatus();
    return Error(absl::StrCat("link to \"", to, "\""), from, errno);
  }

  absl::Status Remove(const std::string& path) override {
    if (::unlink(path.c_str()) == 0) return absl::OkStatus();
    return Error("remove", path, errno);
  }

  absl::Status RemoveDirectory(const std::string& path) override {
    std::error_code error;
    std::filesystem::remove_all(path, error);
    if (!error) return absl::OkStatus();
    return Error("remove directory", path, error.value());
  }

  absl::Status SyncDirectory(const std::string& path) override {
    ACCRUE_ASSIGN_OR_RETURN(
        const Descriptor directory,
        OpenDescriptor("sync directory", path, O_RDONLY | O_DIRECTORY));
    if (TEMP_FAILURE_RETRY(::fsync(directory.get())) != 0) {
      return Error("sync directory", path, errno);
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
    if (error) return Error("list", directory, error.value());
    std::sort(names.begin(), names.end());
    return names;
  }

  absl::StatusOr<std::unique_ptr<DirectoryLock>> Lock(
      const std::string& directory) override {
    const std::string path = directory + "/LOCK";
    ACCRUE_ASSIGN_OR_RETURN(Descriptor file,
                            OpenDescriptor("lock", path, O_RDWR | O_CREAT));
    if (TEMP_FAILURE_RETRY(::flock(file.get(), LOCK_EX | LOCK_NB)) != 0) {
      if (errno != EWOULDBLOCK) return Error("lock", path, errno);
      return absl::FailedPreconditionError(
          absl::StrCat("cannot lock \"", path, "\": another process has it"));
    }
    return std::make_unique<PosixLock>(std::move(file));
  }
};

}  // namespace

FileSystem* PosixFileSystem() {
  static Posix posix;
  return &posix;
}

}  // namespace accrue
