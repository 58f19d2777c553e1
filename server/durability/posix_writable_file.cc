#include "server/durability/posix_writable_file.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>
#include <utility>

namespace accrue {
namespace {

using Bytes = WritableFile::Bytes;

// What one system call writes. Of what goes through the cache its way to the
// disk is begun then, while the next is copied: Sync then has little left to
// wait for. Its memory is given back when it is durable, and serves for what
// comes next: nobody reads it, and the cache would only grow.
constexpr int64_t kStepBytes = int64_t{4} << 20;
// Of addresses, sizes and offsets of what goes past the cache: a page, and as
// much as any disk's sector.
constexpr int64_t kDirectAlignment = 4096;
// Less goes through the cache: it waits for the disk once, at Sync.
constexpr int64_t kLeastDirectBytes = int64_t{1} << 20;

int64_t WholeSectors(int64_t bytes) {
  return bytes / kDirectAlignment * kDirectAlignment;
}

}  // namespace

class PosixWritableFile::Rest {
 public:
  explicit Rest(absl::Span<const Bytes> pieces) : pieces_(pieces) {
    for (const Bytes& piece : pieces) bytes_ += std::ssize(piece);
    Skip(0);
  }

  int64_t bytes() const { return bytes_; }
  // Without gaps; not empty, unless nothing is left.
  Bytes front() const { return pieces_.front().subspan(begun_); }

  void Skip(int64_t bytes) {
    bytes_ -= bytes;
    begun_ += static_cast<size_t>(bytes);
    while (!pieces_.empty() && begun_ >= pieces_.front().size()) {
      begun_ -= pieces_.front().size();
      pieces_.remove_prefix(1);
    }
  }

  // The first `most_bytes`, or as many pieces as the system takes at once.
  int Fill(int64_t most_bytes, std::array<iovec, IOV_MAX>& step) const {
    int count = 0;
    auto room = static_cast<size_t>(most_bytes);
    size_t begun = begun_;
    for (Bytes piece : pieces_) {
      if (room == 0 || count == IOV_MAX) break;
      piece.remove_prefix(std::exchange(begun, 0));
      if (piece.empty()) continue;
      const size_t size = std::min(piece.size(), room);
      step[count++] = {const_cast<std::byte*>(piece.data()), size};
      room -= size;
    }
    return count;
  }

  void CopyTo(std::byte* out, int64_t bytes) const {
    Rest rest = *this;
    while (bytes > 0) {
      const Bytes piece = rest.front();
      const int64_t size = std::min(bytes, std::ssize(piece));
      std::memcpy(out, piece.data(), static_cast<size_t>(size));
      out += size;
      bytes -= size;
      rest.Skip(size);
    }
  }

 private:
  absl::Span<const Bytes> pieces_;
  size_t begun_ = 0;  // bytes of the first
  int64_t bytes_ = 0;
};

PosixWritableFile::PosixWritableFile(Descriptor file, std::string path,
                                     int64_t size_bytes)
    : file_(std::move(file)), path_(std::move(path)), size_(size_bytes) {}

PosixWritableFile::~PosixWritableFile() = default;

absl::Status PosixWritableFile::Append(absl::Span<const Bytes> pieces) {
  Rest rest(pieces);
  const bool is_large = rest.bytes() >= kLeastDirectBytes;
  while (rest.bytes() > 0) {
    const int64_t to_sector =
        WholeSectors(size_ + kDirectAlignment - 1) - size_;
    const bool direct = is_large && can_direct_ && to_sector == 0 &&
                        rest.bytes() >= kDirectAlignment;
    const bool direct_next = is_large && can_direct_ && to_sector > 0;
    const absl::StatusOr<int64_t> written =
        direct ? WriteDirect(rest)
               : WriteCached(rest, direct_next ? to_sector : kStepBytes);
    if (!written.ok()) return written.status();
    size_ += *written;
    rest.Skip(*written);
    StartWriteOut();
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> PosixWritableFile::WriteCached(const Rest& rest,
                                                       int64_t most_bytes) {
  std::array<iovec, IOV_MAX> step;
  const int count = rest.Fill(most_bytes, step);
  const ssize_t written =
      TEMP_FAILURE_RETRY(::pwritev(file_.get(), step.data(), count, size_));
  if (written <= 0) {
    return PosixError("write", path_, written < 0 ? errno : EIO);
  }
  return written;
}

absl::StatusOr<int64_t> PosixWritableFile::WriteDirect(const Rest& rest) {
  const Bytes bytes = Aligned(rest);
  ssize_t written = -1;
  int error = EINVAL;
  if (!bytes.empty() && ::fcntl(file_.get(), F_SETFL, O_DIRECT) == 0) {
    written = TEMP_FAILURE_RETRY(
        ::pwrite(file_.get(), bytes.data(), bytes.size(), size_));
    error = written < 0 ? errno : EIO;
    if (::fcntl(file_.get(), F_SETFL, 0) != 0) {
      return PosixError("write", path_, errno);
    }
  }
  if (written > 0) return written;
  if (error != EINVAL) return PosixError("write", path_, error);
  // The file system cannot, or wants larger sectors.
  can_direct_ = false;
  return WriteCached(rest, kStepBytes);
}

Bytes PosixWritableFile::Aligned(const Rest& rest) {
  const Bytes front = rest.front();
  const int64_t size = WholeSectors(std::min(rest.bytes(), kStepBytes));
  const bool is_aligned =
      reinterpret_cast<uintptr_t>(front.data()) % kDirectAlignment == 0;
  if (is_aligned && std::ssize(front) >= std::min(size, kLeastDirectBytes)) {
    return front.subspan(0, static_cast<size_t>(std::min(
                                size, WholeSectors(std::ssize(front)))));
  }
  if (copy_ == nullptr) {
    copy_.reset(static_cast<std::byte*>(
        std::aligned_alloc(kDirectAlignment, kStepBytes)));
    if (copy_ == nullptr) return {};
  }
  rest.CopyTo(copy_.get(), size);
  return {copy_.get(), static_cast<size_t>(size)};
}

void PosixWritableFile::StartWriteOut() {
  if (size_ - handed_over_ < kStepBytes) return;
  // A hint: what goes wrong with the data, Sync says.
  (void)::sync_file_range(file_.get(), handed_over_, size_ - handed_over_,
                          SYNC_FILE_RANGE_WRITE);
  handed_over_ = size_;
}

absl::Status PosixWritableFile::Overwrite(int64_t offset, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t written = TEMP_FAILURE_RETRY(
        ::pwrite(file_.get(), bytes.data(), bytes.size(), offset));
    if (written <= 0) {
      return PosixError("overwrite", path_, written < 0 ? errno : EIO);
    }
    offset += written;
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

// fdatasync writes the size too: without it the data could not be read.
absl::Status PosixWritableFile::Sync() {
  copy_.reset();
  if (TEMP_FAILURE_RETRY(::fdatasync(file_.get())) != 0) {
    return PosixError("sync", path_, errno);
  }
  if (size_ - given_back_ >= kStepBytes) {
    (void)::posix_fadvise(file_.get(), given_back_, size_ - given_back_,
                          POSIX_FADV_DONTNEED);
    given_back_ = size_;
  }
  return absl::OkStatus();
}

absl::Status PosixWritableFile::Truncate(int64_t size_bytes) {
  if (TEMP_FAILURE_RETRY(::ftruncate(file_.get(), size_bytes)) != 0) {
    return PosixError("cut", path_, errno);
  }
  size_ = size_bytes;
  handed_over_ = std::min(handed_over_, size_);
  given_back_ = std::min(given_back_, size_);
  return absl::OkStatus();
}

}  // namespace accrue
