#include "server/base/random_id.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <sys/random.h>

#include "absl/strings/escaping.h"
#include "absl/strings/string_view.h"

namespace accrue {

std::string RandomId() {
  char bytes[16];
  ssize_t read = 0;
  do {
    read = getrandom(bytes, sizeof(bytes), 0);
  } while (read < 0 && errno == EINTR);
  if (read != static_cast<ssize_t>(sizeof(bytes))) {
    // Up to 256 bytes come whole or not at all; without the system call no id
    // would be safe to hand out.
    std::perror("accrue: getrandom");
    std::abort();
  }
  return absl::BytesToHexString(absl::string_view(bytes, sizeof(bytes)));
}

}  // namespace accrue
