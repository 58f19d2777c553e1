// Descriptor: an open file of the system's, closed at its end. PosixError: what
// the system says, as a Status with FileSystem's codes.
#ifndef ACCRUE_SERVER_DURABILITY_POSIX_DESCRIPTOR_H_
#define ACCRUE_SERVER_DURABILITY_POSIX_DESCRIPTOR_H_

#include <string>
#include <unistd.h>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace accrue {

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

// `cannot WHAT "PATH": ...`; `error`: an errno.
absl::Status PosixError(absl::string_view what, const std::string& path,
                        int error);

}  // namespace accrue

#endif  // ACCRUE_SERVER_DURABILITY_POSIX_DESCRIPTOR_H_
