#include "tests/e2e/test_daemon.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <string>

#include "absl/synchronization/notification.h"
#include "server/flags.h"

namespace accrue {

int ServeUntilTerminated(int argc, char** argv,
                         const std::function<void(ServerOptions&)>& change) {
  std::signal(SIGPIPE, SIG_IGN);
  // Before any thread starts: all of them inherit the mask.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  ParsedFlags flags = ParseFlags(argc, argv);
  if (flags.exit_code) return *flags.exit_code;
  DaemonOptions& options = flags.options;
  change(options.server);
  const auto server = Server::Start(options.server);
  if (!server.ok()) {
    std::fprintf(stderr, "%s\n", server.status().ToString().c_str());
    return EXIT_FAILURE;
  }
  // Whoever waits for the file finds all of it.
  const std::string unfinished = options.port_file + ".unfinished";
  std::ofstream file(unfinished);
  for (const std::string& address : (*server)->addresses()) {
    file << address << "\n";
  }
  file.close();
  if (std::rename(unfinished.c_str(), options.port_file.c_str()) != 0) {
    return EXIT_FAILURE;
  }
  if (const absl::Status serving = (*server)->Serve(); !serving.ok()) {
    std::fprintf(stderr, "%s\n", serving.ToString().c_str());
    return EXIT_FAILURE;
  }
  int signal = 0;
  sigwait(&ending, &signal);
  // Shared, since `done` may come late.
  const auto drained = std::make_shared<absl::Notification>();
  (*server)->Drain([drained] { drained->Notify(); });
  return drained->WaitForNotificationWithTimeout(options.drain_timeout)
             ? EXIT_SUCCESS
             : EXIT_FAILURE;
}

}  // namespace accrue
