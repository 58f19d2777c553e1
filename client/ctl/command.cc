#include "client/ctl/command.h"

#include <cerrno>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/ctl/failure.h"
#include "server/base/status_macros.h"

namespace accrue::ctl {

absl::StatusOr<client::Client> Context::Connect() const {
  client::ClientOptions options;
  ACCRUE_ASSIGN_OR_RETURN(options.call_timeout,
                          ParseDurationFlag("--timeout", flags_.timeout));
  options.connect_timeout = options.call_timeout;
  const client::TlsOptions& tls = flags_.tls;
  for (const std::string& path :
       {tls.ca, tls.cert, tls.key, flags_.token_file}) {
    if (!path.empty() && access(path.c_str(), R_OK) != 0) {
      return FileErrnoError(absl::StrCat("cannot read ", path), errno);
    }
  }
  if (flags_.use_tls || !tls.ca.empty() || !tls.cert.empty() ||
      !tls.key.empty() || !tls.server_name.empty()) {
    options.tls = tls;
  }
  options.token_file = flags_.token_file;
  return client::Client::Connect(flags_.target, options);
}

absl::StatusOr<client::Model> Context::OpenModel(absl::string_view name) const {
  ACCRUE_ASSIGN_OR_RETURN(const client::Client client, Connect());
  return client.OpenModel(name);
}

void Context::PrintJson(const nlohmann::ordered_json& document) const {
  // Names and messages come from the daemon; whatever they are, this is JSON.
  console_.out << document.dump(
                      2, ' ', false,
                      nlohmann::ordered_json::error_handler_t::replace)
               << std::endl;
}

void Context::PrintText(absl::string_view text) const {
  if (!json()) console_.out << text << std::flush;
}

void Context::Note(absl::string_view text) const {
  if (!json()) console_.err << text << std::endl;
}

absl::StatusOr<absl::Duration> ParseDurationFlag(absl::string_view flag,
                                                 absl::string_view text) {
  absl::Duration duration;
  if (!absl::ParseDuration(text, &duration) ||
      duration <= absl::ZeroDuration()) {
    return UsageError(absl::StrCat(
        flag, ": expected a duration such as 200ms, 1.5s or 2m, got \"", text,
        "\""));
  }
  return duration;
}

namespace {

void AddCommonFlags(CLI::App& app, CommonFlags* flags) {
  app.add_option("--target", flags->target,
                 "the daemon: host:port, [v6]:port or unix:/path")
      ->envname("ACCRUE_TARGET")
      ->capture_default_str();
  app.add_option("-o,--output", flags->output,
                 "table for people, json for programs")
      ->check(CLI::IsMember({"table", "json"}))
      ->capture_default_str();
  app.add_option("--timeout", flags->timeout,
                 "how long to wait for the daemon's answer")
      ->capture_default_str();
  app.add_flag("--tls", flags->use_tls,
               "speak TLS over TCP; the other --tls_ flags imply it")
      ->envname("ACCRUE_TLS");
  app.add_option("--tls_ca", flags->tls.ca,
                 "PEM file of the CAs to trust; default: the system's")
      ->envname("ACCRUE_TLS_CA");
  app.add_option("--tls_cert", flags->tls.cert,
                 "PEM file of the certificate to show")
      ->envname("ACCRUE_TLS_CERT");
  app.add_option("--tls_key", flags->tls.key, "PEM file of its key")
      ->envname("ACCRUE_TLS_KEY");
  app.add_option("--tls_server_name", flags->tls.server_name,
                 "the name that the daemon's certificate has; default: the "
                 "target's host")
      ->envname("ACCRUE_TLS_SERVER_NAME");
  app.add_option("--token_file", flags->token_file,
                 "file that holds the token to send")
      ->envname("ACCRUE_TOKEN_FILE");
}

// For errors of the command line, which come before its flags are known.
bool AsksForJson(int argc, const char* const* argv) {
  for (int i = 1; i < argc; ++i) {
    absl::string_view argument = argv[i];
    if (!absl::ConsumePrefix(&argument, "--output") &&
        !absl::ConsumePrefix(&argument, "-o")) {
      continue;
    }
    if (argument.empty() && i + 1 < argc) argument = argv[i + 1];
    absl::ConsumePrefix(&argument, "=");
    if (argument == "json") return true;
  }
  return false;
}

int Finish(const absl::Status& status, const CommonFlags& flags,
           const Console& console) {
  if (!status.ok()) {
    console.err << (flags.output == "json" ? DescribeErrorJson(status)
                                           : DescribeError(status))
                << std::endl;
  }
  return ExitCodeOf(status);
}

}  // namespace

int RunCommandLine(int argc, const char* const* argv, const Console& console) {
  CLI::App app("Creates, inspects and steers models of an Accrue daemon.",
               "accruectl");
  app.set_version_flag("--version", std::string(ACCRUE_VERSION));
  app.footer(std::string(ExitCodeHelp()));
  app.require_subcommand(1);
  // --target and --output may stand behind the subcommand, too.
  app.fallthrough();
  CommonFlags flags;
  AddCommonFlags(app, &flags);
  Command chosen;
  AddCreateCommands(app, &chosen);
  AddInspectCommands(app, &chosen);
  AddWatchCommand(app, &chosen);
  AddSteerCommands(app, &chosen);
  AddCheckpointCommands(app, &chosen);
  AddExportCommand(app, &chosen);
  AddAdviseCommand(app, &chosen);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool is_error =
        error.get_exit_code() != static_cast<int>(CLI::ExitCodes::Success);
    if (is_error && AsksForJson(argc, argv)) {
      flags.output = "json";
      return Finish(UsageError(error.what()), flags, console);
    }
    app.exit(error, console.out, console.err);
    return is_error ? kUsage : kOk;
  }
  return Finish(chosen(Context(flags, console)), flags, console);
}

}  // namespace accrue::ctl
