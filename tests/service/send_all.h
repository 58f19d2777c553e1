// SendAll: what send(2) may do in parts.
#ifndef ACCRUE_TESTS_SERVICE_SEND_ALL_H_
#define ACCRUE_TESTS_SERVICE_SEND_ALL_H_

#include <cstddef>
#include <string>
#include <sys/socket.h>
#include <sys/types.h>

namespace accrue {

// Waits for room. False: the other end has gone.
inline bool SendAll(int fd, const std::string& bytes) {
  size_t sent = 0;
  while (sent < bytes.size()) {
    const ssize_t n =
        send(fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (n <= 0) return false;
    sent += static_cast<size_t>(n);
  }
  return true;
}

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_SEND_ALL_H_
