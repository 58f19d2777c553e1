// Command: what every subcommand of accruectl is made of.
//
// A subcommand is a function that declares its flags on the CLI and, when it is
// the one that was asked for, sets the command to run.

#ifndef ACCRUE_CLIENT_CTL_COMMAND_H_
#define ACCRUE_CLIENT_CTL_COMMAND_H_

#include <functional>
#include <istream>
#include <ostream>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "nlohmann/json.hpp"

namespace accrue::ctl {

// Where a command reads and writes.
struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool in_is_terminal = false;   // somebody can be asked
  bool err_is_terminal = false;  // somebody watches: progress bars
};

// Flags of every subcommand.
struct CommonFlags {
  std::string target = "127.0.0.1:7700";
  std::string output = "table";
  std::string timeout = "10s";
  bool use_tls = false;  // also if any of these is set
  client::TlsOptions tls;
  std::string token_file;
};

class Context {
 public:
  Context(const CommonFlags& flags, const Console& console)
      : flags_(flags), console_(console) {}

  absl::StatusOr<client::Client> Connect() const;
  absl::StatusOr<client::Model> OpenModel(absl::string_view name) const;

  const Console& console() const { return console_; }
  bool json() const { return flags_.output == "json"; }

  // One document, indented, with its newline.
  void PrintJson(const nlohmann::ordered_json& document) const;
  // For people, on stdout; with --output json nothing.
  void PrintText(absl::string_view text) const;
  // A line for people on stderr; with --output json nothing.
  void Note(absl::string_view text) const;

 private:
  const CommonFlags& flags_;
  const Console& console_;
};

using Command = std::function<absl::Status(const Context&)>;

// Each declares its subcommands.
void AddCreateCommands(CLI::App& app, Command* chosen);   // create, initialize
void AddInspectCommands(CLI::App& app, Command* chosen);  // list, describe, ...
void AddWatchCommand(CLI::App& app, Command* chosen);
void AddSteerCommands(CLI::App& app,
                      Command* chosen);  // update, end-cycle, ...
void AddCheckpointCommands(CLI::App& app,
                           Command* chosen);  // checkpoint, restore, ...
void AddExportCommand(CLI::App& app, Command* chosen);
void AddAdviseCommand(CLI::App& app, Command* chosen);

// UsageError that names the flag: "--timeout: expected a duration such as ...".
absl::StatusOr<absl::Duration> ParseDurationFlag(absl::string_view flag,
                                                 absl::string_view text);

// All of main() but the process: parses, runs, prints errors, and returns the
// exit code. argv[0] is skipped.
int RunCommandLine(int argc, const char* const* argv, const Console& console);

}  // namespace accrue::ctl

#endif  // ACCRUE_CLIENT_CTL_COMMAND_H_
