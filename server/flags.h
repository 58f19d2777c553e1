// Flags: the daemon's options, from its command line, its environment and its
// config file.
//
// Every flag --some_flag is also the environment variable ACCRUED_SOME_FLAG and
// the key some_flag of the YAML file that --config names. The command line wins
// over the environment, the environment over the file, the file over the
// default.

#ifndef ACCRUE_SERVER_FLAGS_H_
#define ACCRUE_SERVER_FLAGS_H_

#include <optional>
#include <string>

#include "absl/time/time.h"
#include "server/service/server.h"

namespace accrue {

struct DaemonOptions {
  ServerOptions server;
  absl::Duration drain_timeout = absl::Seconds(10);
  std::string log_level = "info";
  bool log_json = false;
  std::string http = "127.0.0.1:7701";  // HOST:PORT, 0: any; empty: no HTTP
  std::string port_file;                // empty: none
};

struct ParsedFlags {
  DaemonOptions options;
  // Set: the process shall end with it. Help, the version, or what is wrong
  // with a flag has been printed.
  std::optional<int> exit_code;
};

ParsedFlags ParseFlags(int argc, const char* const* argv);

}  // namespace accrue

#endif  // ACCRUE_SERVER_FLAGS_H_
