#include "client/ctl/local_file.h"

#include <cerrno>
#include <fcntl.h>
#include <fstream>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/ctl/failure.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {
namespace {

constexpr size_t kLargestTextBytes = size_t{64} << 20;

absl::Status ErrnoError(absl::string_view doing, const std::string& path) {
  return FileErrnoError(absl::StrCat("cannot ", doing, " ", path), errno);
}

// The permissions that an ordinary new file gets; mkstemp's are narrower.
mode_t NewFileMode() {
  const mode_t mask = umask(0);
  umask(mask);
  return 0666 & ~mask;
}

std::string FolderOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
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
  std::string temporary_path = path + ".XXXXXX";
  const int fd = mkostemp(temporary_path.data(), O_CLOEXEC);
  if (fd < 0) return ErrnoError("create a file beside", path);
  FileReplacement file(path, std::move(temporary_path), fd);
  ACCRUE_RETURN_IF_ERROR(file.Allot(size_bytes));
  return file;
}

absl::Status FileReplacement::Allot(int64_t size_bytes) {
  if (fchmod(fd_, NewFileMode()) != 0) {
    return ErrnoError("set the permissions of", temporary_path_);
  }
  // Returns its error instead of setting errno.
  if (const int error = posix_fallocate(fd_, 0, size_bytes)) {
    return FileErrnoError(
        absl::StrCat("cannot allot ", size_bytes, " bytes for ", path_), error);
  }
  void* data = mmap(nullptr, static_cast<size_t>(size_bytes),
                    PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (data == MAP_FAILED) return ErrnoError("map", temporary_path_);
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

absl::Status FileReplacement::Commit() {
  if (msync(bytes().data(), bytes().size(), MS_SYNC) != 0 || fsync(fd_) != 0) {
    return ErrnoError("write", temporary_path_);
  }
  if (rename(temporary_path_.c_str(), path_.c_str()) != 0) {
    return ErrnoError("replace", path_);
  }
  temporary_path_.clear();
  return SyncFolder(FolderOf(path_));
}

}  // namespace accrue::ctl
