#include "server/flags.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <iterator>
#include <memory>
#include <unistd.h>
#include <utility>

#include <CLI/CLI.hpp>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "server/service/device_choice.h"
#include "server/yaml_config.h"

namespace accrue {
namespace {

constexpr char kPrefix[] = "ACCRUED_";
// So large that sums of several, and products of a count and a window, are
// still numbers.
constexpr int64_t kLargestSize = int64_t{1} << 60;
constexpr int64_t kLargestCount = int64_t{1} << 30;
// HTTP/2 has no window of 2 GiB.
constexpr int64_t kLargestWindow = int64_t{1} << 30;

// Four fifths of the memory that this process may use.
int64_t DefaultStateMemory() {
  int64_t bytes = int64_t{sysconf(_SC_PHYS_PAGES)} * sysconf(_SC_PAGESIZE);
  int64_t container_bytes = 0;  // "max" where there is no limit
  if (std::ifstream("/sys/fs/cgroup/memory.max") >> container_bytes &&
      container_bytes > 0) {
    bytes = std::min(bytes, container_bytes);
  }
  return bytes / 5 * 4;
}

// "256MiB", "1GB", "4096"; the unit's case does not matter.
bool ParseSize(const std::string& text, int64_t* size) {
  static constexpr struct {
    const char* name;
    int64_t bytes;
  } kUnits[] = {
      {"", 1},
      {"b", 1},
      {"kb", 1'000},
      {"mb", 1'000'000},
      {"gb", 1'000'000'000},
      {"tb", 1'000'000'000'000},
      {"kib", int64_t{1} << 10},
      {"mib", int64_t{1} << 20},
      {"gib", int64_t{1} << 30},
      {"tib", int64_t{1} << 40},
  };
  const size_t digits =
      std::min(text.find_first_not_of("0123456789"), text.size());
  const std::string unit = absl::AsciiStrToLower(text.substr(digits));
  int64_t number = 0;
  if (!absl::SimpleAtoi(text.substr(0, digits), &number)) return false;
  for (const auto& known : kUnits) {
    if (unit != known.name) continue;
    if (number > kLargestSize / known.bytes) return false;
    *size = number * known.bytes;
    return true;
  }
  return false;
}

// In the largest binary unit that gives a whole number.
std::string FormatSize(int64_t size) {
  const char* const units[] = {"", "KiB", "MiB", "GiB"};
  size_t unit = 0;
  while (unit + 1 < std::size(units) && size > 0 && size % 1024 == 0) {
    size /= 1024;
    ++unit;
  }
  return absl::StrCat(size, units[unit]);
}

// Adds flags that are environment variables as well.
class FlagSet {
 public:
  explicit FlagSet(CLI::App& app) : app_(app) {}

  template <typename T>
  CLI::Option* Value(const std::string& name, T& target,
                     const std::string& description) {
    return Named(name, app_.add_option("--" + name, target, description))
        ->capture_default_str();
  }

  void Flag(const std::string& name, bool& target,
            const std::string& description) {
    Named(name, app_.add_flag("--" + name, target, description));
  }

  void Count(const std::string& name, int64_t& target,
             const std::string& description, int64_t least = 1) {
    Value(name, target, description)->check(CLI::Range(least, kLargestCount));
  }

  void Size(const std::string& name, int64_t& target, int64_t least,
            const std::string& description, int64_t most = kLargestSize) {
    Parsed(name, "SIZE", FormatSize(target), description,
           [&target, least, most](const std::string& text) {
             int64_t size = 0;
             if (!ParseSize(text, &size) || size < least || size > most) {
               return absl::StrCat("want a size like 256MiB, ",
                                   FormatSize(least), " to ", FormatSize(most));
             }
             target = size;
             return std::string();
           });
  }

  // Permissions of a file, in octal with or without a leading zero.
  void Mode(const std::string& name, int& target,
            const std::string& description) {
    Parsed(name, "MODE", absl::StrFormat("%04o", target), description,
           [&target](const std::string& text) {
             const bool octal =
                 !text.empty() && text.size() <= 4 &&
                 text.find_first_not_of("01234567") == std::string::npos;
             const long mode =
                 octal ? std::strtol(text.c_str(), nullptr, 8) : -1;
             if (mode < 0 || mode > 0777) return "want 0 to 0777, in octal";
             target = static_cast<int>(mode);
             return "";
           });
  }

  void Duration(const std::string& name, absl::Duration& target,
                const std::string& description) {
    Parsed(name, "DURATION", absl::FormatDuration(target), description,
           [&target](const std::string& text) {
             absl::Duration duration;
             if (!absl::ParseDuration(text, &duration) ||
                 duration <= absl::ZeroDuration()) {
               return "want a duration like 1.5s";
             }
             target = duration;
             return "";
           });
  }

  void Device(const std::string& name, DeviceChoice& target,
              const std::string& description) {
    Parsed(name, "auto|cpu|cuda[:N,...]", ToString(target), description,
           [&target](const std::string& text) {
             auto choice = ParseDeviceChoice(text);
             if (!choice.ok()) return std::string(choice.status().message());
             target = *std::move(choice);
             return std::string();
           });
  }

 private:
  // `parse` returns what is wrong, or nothing.
  void Parsed(const std::string& name, const std::string& type,
              const std::string& default_text, const std::string& description,
              std::function<std::string(const std::string&)> parse) {
    CLI::Option* option = app_.add_option_function<std::string>(
        "--" + name,
        [name, parse = std::move(parse)](const std::string& text) {
          const std::string wrong = parse(text);
          if (wrong.empty()) return;
          throw CLI::ValidationError("--" + name, "\"" + text + "\", " + wrong);
        },
        description);
    Named(name, option)->type_name(type)->default_str(default_text);
  }

  static CLI::Option* Named(const std::string& name, CLI::Option* option) {
    return option->envname(EnvironmentName(kPrefix, name));
  }

  CLI::App& app_;
};

void AddListening(FlagSet& flags, DaemonOptions& daemon, bool& insecure) {
  ListenerOptions& options = daemon.server.listener;
  flags
      .Value("listen", options.tcp,
             "HOST:PORT to listen on, several after commas or by repeating the "
             "flag; port 0: any; none: no TCP")
      ->delimiter(',');
  flags.Value("listen_uds", options.unix_path, "path of a Unix socket");
  flags.Mode("listen_uds_mode", options.unix_mode, "its permissions, in octal");
  flags.Value("http", daemon.http,
              "HOST:PORT, over IPv4, where Prometheus finds /metrics, in the "
              "clear and without a token; a second daemon on the machine needs "
              "another one; port 0: any; none: no HTTP");
  flags.Flag("insecure", insecure,
             "listen on addresses that other machines can reach, without TLS");
}

void AddSecurity(FlagSet& flags, CredentialOptions& options) {
  flags.Value("tls_cert", options.tls.cert,
              "PEM file of the certificate to show on TCP, with its chain; TCP "
              "then speaks TLS alone");
  flags.Value("tls_key", options.tls.key, "PEM file of its private key");
  flags.Value("tls_client_ca", options.tls.client_ca,
              "PEM file of CAs: clients over TCP have to show a certificate of "
              "one of them");
  flags.Value(
      "token_file", options.token_file,
      "YAML list of bearer tokens, each with name, sha256 or token, role "
      "(pull, push, admin) and models; its owner alone may read it; "
      "without it no token is asked for");
}

void AddLimits(FlagSet& flags, ServerOptions& options) {
  flags.Size("ingest_memory", options.ingest.ingest_memory_bytes, 1 << 20,
             "memory for pushes on their way in; a model whose push cannot fit "
             "is refused");
  flags.Size("state_memory", options.state_memory_bytes, 1 << 20,
             "memory of the host for all models' moments, buffers and "
             "publications; of models on GPUs for their publications, which "
             "are pinned; default: four fifths of the machine's or "
             "container's");
  flags.Size("stream_window", options.stream_window_bytes, 65'535,
             "what a peer may send on a stream before it is read",
             kLargestWindow);
  flags.Count("max_push_streams", options.ingest.max_push_streams,
              "pushes in progress at once");
  flags.Count(
      "max_streams_per_peer", options.max_streams_per_peer,
      "pushes, pulls, watches and initializations of one address, or of "
      "one user over the Unix socket, at once");
  flags.Count("max_data_connections", options.max_data_connections,
              "connections that carry payloads beside gRPC's; 0: none, all "
              "payloads come in gRPC's messages",
              /*least=*/0);
  flags.Count("max_sessions", options.max_sessions, "sessions of one model");
  flags.Count("max_models", options.max_models, "models");
}

void AddDurability(FlagSet& flags, DurabilityOptions& options) {
  flags.Value("data_dir", options.data_dir,
              "directory where models are kept; without it they end with the "
              "process, and none can have a journal");
  flags.Size("checkpoint_memory", options.checkpoint_memory_bytes, 4 << 20,
             "memory of checkpoints that are being written; where a model's "
             "moments do not fit, its pushes wait");
  flags.Count("checkpoint_keep", options.checkpoint_keep,
              "checkpoints of a model that are kept");
  flags.Count("checkpoint_every_updates", options.checkpoint_every_updates,
              "a checkpoint follows so many updates after the last; 0: no "
              "number does",
              /*least=*/0);
  flags.Duration("checkpoint_period", options.checkpoint_period,
                 "or so long after it, if anything has changed; inf: no time "
                 "does");
  flags.Size("journal_limit", options.journal_limit_bytes, 0,
             "or once a model's journal is so large (at twice as large, its "
             "pushes are refused until it is written); 0: eight times its "
             "state, 64MiB at least");
}

void AddTimeouts(FlagSet& flags, DaemonOptions& options) {
  ServerOptions& server = options.server;
  flags.Duration("push_idle_timeout", server.ingest.push_idle_timeout,
                 "a push that makes no progress for this long is refused");
  flags.Size("push_min_rate", server.ingest.push_min_rate, 1,
             "a push must end within 30 s and its bytes over this rate, bytes "
             "a second");
  flags.Duration("admission_timeout", server.ingest.admission_timeout,
                 "a push waits at most this long for ingest memory");
  flags.Duration("reader_idle_timeout", server.reader_idle_timeout,
                 "a pull that takes nothing for this long is ended");
  flags.Duration("session_ttl", server.session_ttl,
                 "sessions idle for this long end");
  flags.Duration(
      "drain_timeout", options.drain_timeout,
      "on SIGTERM, what is in progress and each model's last checkpoint have "
      "this long to finish");
}

void AddOthers(FlagSet& flags, DaemonOptions& options) {
  flags.Device(
      "device", options.server.backend.device,
      "where models live: the CPU, or all of a machine's GPUs, or some "
      "(cuda:0,2); auto: GPUs where there are any, else the CPU");
  flags
      .Value("threads", options.server.threads,
             "threads that compute; 0: one a processor")
      ->check(CLI::Range(0, 1024));
  flags.Flag("reflection", options.server.reflection,
             "serve gRPC reflection, for grpcurl and the like");
  flags
      .Value("log_level", options.log_level,
             "least severe level shown; the audit's lines always are")
      ->check(CLI::IsMember({"debug", "info", "warn", "error", "off"}));
  flags.Flag("log_json", options.log_json, "log lines are JSON objects");
  flags.Value("port_file", options.port_file,
              "write the addresses listened on to this file, one a line");
}

}  // namespace

ParsedFlags ParseFlags(int argc, const char* const* argv) {
  ParsedFlags parsed;
  DaemonOptions& options = parsed.options;
  options.server.state_memory_bytes = DefaultStateMemory();
  bool insecure = false;

  CLI::App app(
      "accrued: an optimizer as a service.\n"
      "Every flag --some_flag is also the environment variable "
      "ACCRUED_SOME_FLAG and the key some_flag of the config file. The command "
      "line wins over the environment, the environment over the file.");
  app.set_version_flag("--version", absl::StrCat("accrued ", ACCRUE_VERSION));
  const char* const config = std::getenv("ACCRUED_CONFIG");
  app.set_config("--config", config == nullptr ? "" : config,
                 "YAML file of flags", /*config_required=*/config != nullptr)
      ->type_name("PATH");
  app.config_formatter(std::make_shared<YamlConfig>(kPrefix));
  app.allow_config_extras(CLI::config_extras_mode::error);
  FlagSet flags(app);
  AddListening(flags, options, insecure);
  AddSecurity(flags, options.server.credentials);
  AddLimits(flags, options.server);
  AddDurability(flags, options.server.durability);
  AddTimeouts(flags, options);
  AddOthers(flags, options);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    parsed.exit_code = app.exit(error);
    return parsed;
  }
  ListenerOptions& listener = options.server.listener;
  listener.local_only = !insecure;
  std::erase(listener.tcp, "none");
  if (options.http == "none") options.http.clear();
  return parsed;
}

}  // namespace accrue
