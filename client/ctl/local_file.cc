#include "client/ctl/local_file.h"

#include <cerrno>
#include <cstdlib>
#include <fcntl.h>
#include <fstream>
#include <memory>
#include <random>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/ctl/failure.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

constexpr size_t kLargestTextBytes = size_t{64} << 20;
constexpr char kDescriptorFolder[] = "/proc/self/fd";
constexpr char kTemporarySuffix[] = ".XXXXXX";

absl::Status ErrnoError(absl::string_view doing, const std::string& path) {
  return FileErrnoError(absl::StrCat("cannot ", doing, " ", path), errno);
}

constexpr mode_t kNewFileMode = 0666;

// What a new file gets by itself, but not from mkstemp.
mode_t MaskedFileMode() {
  const mode_t mask = umask(0);
  umask(mask);
  return kNewFileMode & ~mask;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// Where a file of this name would be: behind its symbolic links. Nothing is
// there, or an ordinary file.
absl::StatusOr<std::string> ResolveOutput(const std::string& path) {
  struct stat status;
  if (stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) return ErrnoError("look at", path);
    if (lstat(path.c_str(), &status) != 0) return path;
    return FileError(absl::StrCat(path, " is a link to nothing"));
  }
  if (S_ISDIR(status.st_mode)) {
    return FileError(absl::StrCat(path, " is a folder"));
  }
  if (!S_ISREG(status.st_mode)) {
    return FileError(absl::StrCat(path, " is no ordinary file"));
  }
  const std::unique_ptr<char, void (*)(void*)> resolved(
      realpath(path.c_str(), nullptr), std::free);
  if (resolved == nullptr) return ErrnoError("look at", path);
  return std::string(resolved.get());
}

// Makes a rename in it durable.
absl::Status SyncFolder(const std::string& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return ErrnoError("open", folder);
  const bool synced = fsync(fd) == 0;
  const absl::Status status =
      synced ? absl::OkStatus() : ErrnoError("sync", folder);
  close(fd);
  return status;
}

}  // namespace

absl::StatusOr<std::string> ReadTextFile(const std::string& path,
                                         std::istream& standard_input) {
  std::ifstream file;
  if (path != "-") {
    file.open(path, std::ios::binary);
    if (!file) return ErrnoError("open", path);
  }
  std::istream& input = path == "-" ? standard_input : file;
  std::string text;
  char buffer[1 << 16];
  while (input.read(buffer, sizeof(buffer)), input.gcount() > 0) {
    text.append(buffer, static_cast<size_t>(input.gcount()));
    if (text.size() > kLargestTextBytes) {
      return FileError(absl::StrCat(path, ": longer than 64 MiB"));
    }
  }
  if (input.bad()) return ErrnoError("read", path);
  return text;
}

MappedBytes::MappedBytes(MappedBytes&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)),
      size_bytes_(std::exchange(other.size_bytes_, 0)) {}

MappedBytes& MappedBytes::operator=(MappedBytes&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_bytes_, other.size_bytes_);
  return *this;
}

MappedBytes::~MappedBytes() {
  if (data_ != nullptr) munmap(data_, size_bytes_);
}

absl::StatusOr<MappedBytes> MapFile(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return ErrnoError("open", path);
  struct stat status;
  absl::StatusOr<MappedBytes> mapped = MappedBytes();
  if (fstat(fd, &status) != 0) {
    mapped = ErrnoError("look at", path);
  } else if (!S_ISREG(status.st_mode)) {
    mapped = FileError(absl::StrCat(path, " is no ordinary file"));
  } else if (status.st_size > 0) {
    const auto size_bytes = static_cast<size_t>(status.st_size);
    void* data = mmap(nullptr, size_bytes, PROT_READ, MAP_PRIVATE, fd, 0);
    if (data == MAP_FAILED) {
      mapped = ErrnoError("map", path);
    } else {
      mapped = MappedBytes(static_cast<std::byte*>(data), size_bytes);
    }
  }
  close(fd);
  return mapped;
}

absl::StatusOr<FileReplacement> FileReplacement::Create(const std::string& path,
                                                        int64_t size_bytes) {
  ACCRUE_ASSIGN_OR_RETURN(std::string resolved, ResolveOutput(path));
  FileReplacement file(std::move(resolved));
  ACCRUE_RETURN_IF_ERROR(file.Open());
  ACCRUE_RETURN_IF_ERROR(file.Allot(size_bytes));
  return file;
}

absl::Status FileReplacement::Open() {
  // It will get its name through /proc.
  if (access(kDescriptorFolder, X_OK) == 0) {
    fd_ = open(FolderOf(path_).c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC,
               kNewFileMode);
    // The system, or the file system, does not know this.
    if (fd_ < 0 && errno != EOPNOTSUPP && errno != EISDIR) {
      return ErrnoError("create a file beside", path_);
    }
    if (fd_ >= 0) return absl::OkStatus();
  }
  temporary_path_ = path_ + kTemporarySuffix;
  fd_ = mkostemp(temporary_path_.data(), O_CLOEXEC);
  if (fd_ < 0) {
    temporary_path_.clear();
    return ErrnoError("create a file beside", path_);
  }
  if (fchmod(fd_, MaskedFileMode()) != 0) {
    return ErrnoError("set the permissions of", temporary_path_);
  }
  return absl::OkStatus();
}

absl::Status FileReplacement::Allot(int64_t size_bytes) {
  // Returns its error instead of setting errno.
  if (const int error = posix_fallocate(fd_, 0, size_bytes)) {
    return FileErrnoError(
        absl::StrCat("cannot allot ", size_bytes, " bytes for ", path_), error);
  }
  void* data = mmap(nullptr, static_cast<size_t>(size_bytes),
                    PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (data == MAP_FAILED) return ErrnoError("map a file beside", path_);
  mapped_ = MappedBytes(static_cast<std::byte*>(data),
                        static_cast<size_t>(size_bytes));
  return absl::OkStatus();
}

FileReplacement::FileReplacement(FileReplacement&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_path_(std::exchange(other.temporary_path_, "")),
      fd_(std::exchange(other.fd_, -1)),
      mapped_(std::move(other.mapped_)) {}

FileReplacement::~FileReplacement() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_path_.empty()) unlink(temporary_path_.c_str());
}

absl::Status FileReplacement::Link() {
  const std::string nameless = absl::StrCat(kDescriptorFolder, "/", fd_);
  std::random_device random;
  while (true) {
    std::string name = absl::StrFormat("%s.%08x", path_, random());
    if (linkat(AT_FDCWD, nameless.c_str(), AT_FDCWD, name.c_str(),
               AT_SYMLINK_FOLLOW) == 0) {
      temporary_path_ = std::move(name);
      return absl::OkStatus();
    }
    if (errno != EEXIST) return ErrnoError("create a file beside", path_);
  }
}

absl::Status FileReplacement::Commit() {
  if (msync(bytes().data(), bytes().size(), MS_SYNC) != 0 || fsync(fd_) != 0) {
    return ErrnoError("write a file beside", path_);
  }
  // Two steps, since a link replaces nothing.
  if (temporary_path_.empty()) ACCRUE_RETURN_IF_ERROR(Link());
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    return ErrnoError("replace", path_);
  }
  temporary_path_.clear();
  return SyncFolder(FolderOf(path_));
}

}  // namespace accrue::ctl
