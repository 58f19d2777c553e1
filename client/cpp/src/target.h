// Target: the address of a daemon, as users write it.
//
//   "127.0.0.1:7700", "[::1]:7700", "host.example:7700",
//   "unix:/run/accrue.sock"
//
// Errors.    INVALID_ARGUMENT: neither of these

#ifndef ACCRUE_CLIENT_CPP_SRC_TARGET_H_
#define ACCRUE_CLIENT_CPP_SRC_TARGET_H_

#include <netdb.h>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace accrue::client::internal {

class Target {
 public:
  static absl::StatusOr<Target> Parse(absl::string_view text);

  // A connected, non-blocking, close-on-exec socket, which the caller owns.
  // UNAVAILABLE: nobody answers by the deadline.
  absl::StatusOr<int> Connect(absl::Time deadline) const;

  const std::string& text() const { return text_; }

  // What an HTTP/2 request to it carries as :authority.
  std::string authority() const { return is_unix() ? "localhost" : text_; }

  // Without brackets; empty for a Unix socket.
  const std::string& host() const { return host_; }

  bool is_unix() const { return !path_.empty(); }

 private:
  absl::StatusOr<int> ConnectUnix(absl::Time deadline) const;
  absl::StatusOr<int> ConnectTcp(absl::Time deadline) const;

  std::string text_;
  std::string path_;  // of the Unix socket; else empty
  std::string host_;
  std::string port_;
};

// A socket as Connect() returns it, to the first of these addresses that
// answers. Each may take its share of the time that is left, so that one which
// swallows what is sent to it leaves some for the others. `target` is what
// errors call them.
absl::StatusOr<int> ConnectToAny(const addrinfo* addresses,
                                 const std::string& target,
                                 absl::Time deadline);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_TARGET_H_
