// The real server behind the real flags, with options that no flag sets.
#ifndef ACCRUE_TESTS_E2E_TEST_DAEMON_H_
#define ACCRUE_TESTS_E2E_TEST_DAEMON_H_

#include <functional>

#include "server/service/server.h"

namespace accrue {

// Serves until SIGTERM, and drains then, with what `change` makes of the flags'
// options. For main() to return.
int ServeUntilTerminated(int argc, char** argv,
                         const std::function<void(ServerOptions&)>& change);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_TEST_DAEMON_H_
