// The real server behind the real flags, but on a device that some models lose.
// It serves until SIGTERM.
#include "tests/e2e/faulty_daemon.h"

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <utility>

#include "server/flags.h"
#include "server/service/server.h"
#include "tests/model/failing_shard.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  // Before any thread starts: all of them inherit the mask.
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  accrue::ParsedFlags flags = accrue::ParseFlags(argc, argv);
  if (flags.exit_code) return *flags.exit_code;
  accrue::DaemonOptions& options = flags.options;
  options.server.backend.wrap_shards = [](accrue::ShardFactory inner) {
    return accrue::FailingShards(accrue::kFaultyElems, accrue::kGoodPasses,
                                 std::move(inner));
  };
  const auto server = accrue::Server::Start(options.server);
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
  int signal = 0;
  sigwait(&ending, &signal);
  return EXIT_SUCCESS;
}
