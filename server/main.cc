// accrued: flags -> options -> serve -> drain.

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <sys/eventfd.h>
#include <sys/poll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

#if defined(ACCRUE_TCMALLOC)
#include <gperftools/malloc_extension.h>
#endif

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/base/logging.h"
#include "server/base/status_macros.h"
#include "server/flags.h"
#include "server/ops/http_server.h"
#include "server/service/grpc_log.h"
#include "server/service/server.h"
#include "server/service/socket_address.h"

namespace accrue {
namespace {

// What the drain may take beyond --drain_timeout to put the server away.
constexpr absl::Duration kShutdownTime = absl::Seconds(1);

// Freed pages stay mapped, so that the slices of the next push are not faulted
// in anew. --ingest_memory bounds what that keeps.
void KeepFreedPages() {
#if defined(ACCRUE_TCMALLOC)
  MallocExtension::instance()->SetMemoryReleaseRate(0);
#endif
}

// Each connection takes two descriptors.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// SIGTERM and SIGINT, as a descriptor. Before any thread starts: all of them
// inherit the mask.
int CatchSignals() {
  std::signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGTERM);
  sigaddset(&signals, SIGINT);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  return signalfd(-1, &signals, SFD_CLOEXEC);
}

// Null: none is asked for. Before the server is there, so that a daemon whose
// address is taken has touched nothing.
absl::StatusOr<std::unique_ptr<HttpServer>> ListenOnHttp(
    const DaemonOptions& options) {
  if (options.http.empty()) return nullptr;
  ACCRUE_ASSIGN_OR_RETURN(const SocketAddress address,
                          SocketAddress::FromHostPort(options.http));
  if (options.server.listener.local_only) {
    ACCRUE_RETURN_IF_ERROR(CheckIsLocal(
        address, absl::StrCat("--http=", options.http), /*instead=*/""));
  }
  return HttpServer::Listen(address.ToString());
}

ProcessReading ReadProcess(const Server& server) {
  const CheckpointMemory::Waits waits =
      server.data() == nullptr ? CheckpointMemory::Waits()
                               : server.data()->checkpoint_memory_waits();
  return {.draining = server.models().draining(),
          .ingest_reserved_bytes = server.ingest().reserved_bytes(),
          .ingest_memory_bytes = server.ingest().options().ingest_memory_bytes,
          .checkpoint_memory_waits = waits.count,
          .checkpoint_memory_wait = waits.duration};
}

std::optional<KeptReading> ReadKept(const Server& server,
                                    const std::string& model) {
  if (server.data() == nullptr) return std::nullopt;
  const auto log = server.data()->Find(model);
  if (!log.ok()) return std::nullopt;
  const CheckpointInfo checkpoint = (*log)->newest();
  KeptReading reading{
      .checkpoint_made = absl::FromUnixNanos(checkpoint.made_at_unix_nanos),
      .checkpoint_folded_pushes = checkpoint.folded_pushes};
  if ((*log)->journals()) {
    reading.journal = {.bytes = (*log)->journal_bytes(),
                       .limit_bytes = (*log)->journal_limit_bytes()};
  }
  return reading;
}

// `server` outlives them.
Readings ReadingsOf(const Server& server) {
  return {.version = ACCRUE_VERSION,
          .models = &server.models(),
          .process = [&server] { return ReadProcess(server); },
          .kept =
              [&server](const std::string& model) {
                return ReadKept(server, model);
              }};
}

absl::Status CannotWrite(const std::string& port_file) {
  return absl::FailedPreconditionError(absl::StrCat(
      "cannot write --port_file=", port_file, ": ", std::strerror(errno)));
}

std::string UnfinishedPortFile(const std::string& path) {
  return absl::StrCat(path, ".", getpid());
}

// Whoever waits for the file finds all of it or nothing: this is nothing yet.
absl::Status WritePortFile(const std::string& path,
                           const std::vector<std::string>& addresses) {
  // A name that it could not be given later.
  std::error_code ignored;  // opening it will say why it cannot be
  if (std::filesystem::is_directory(path, ignored)) {
    errno = EISDIR;
    return CannotWrite(path);
  }
  std::ofstream file(UnfinishedPortFile(path));
  file << absl::StrJoin(addresses, "\n") << "\n";
  file.close();
  return file ? absl::OkStatus() : CannotWrite(path);
}

absl::Status NamePortFile(const std::string& path) {
  const std::string unfinished = UnfinishedPortFile(path);
  if (std::rename(unfinished.c_str(), path.c_str()) == 0) {
    return absl::OkStatus();
  }
  return CannotWrite(path);
}

enum class Woken { kSignal, kEvent, kTime };

// Waits for a signal, for `event` or for `deadline`. Once the event has come, a
// signal waits for the next call.
Woken Wait(int signals, int event, absl::Time deadline) {
  pollfd descriptors[] = {{signals, POLLIN, 0}, {event, POLLIN, 0}};
  while (true) {
    int milliseconds = -1;
    if (deadline != absl::InfiniteFuture()) {
      // poll() counts in an int: it is asked again where that does not suffice.
      const absl::Duration left =
          std::min(deadline - absl::Now(), absl::Hours(24));
      if (left <= absl::ZeroDuration()) return Woken::kTime;
      milliseconds = static_cast<int>(absl::ToInt64Milliseconds(left)) + 1;
    }
    if (poll(descriptors, 2, milliseconds) <= 0) continue;
    if (descriptors[1].revents != 0) return Woken::kEvent;
    signalfd_siginfo info;
    if (read(signals, &info, sizeof(info)) != sizeof(info)) continue;
    ACCRUE_LOG(info, "{}", strsignal(static_cast<int>(info.ssi_signo)));
    return Woken::kSignal;
  }
}

[[noreturn]] void LeaveAtOnce(int code, const char* why) {
  ACCRUE_LOG(warn, "leaving: {}", why);
  _exit(code);
}

// Leaves the process if a signal comes first: nothing is acknowledged yet, and
// all that is kept is as it was found.
absl::StatusOr<std::unique_ptr<Server>> StartServer(
    const ServerOptions& options, int signals) {
  absl::StatusOr<std::unique_ptr<Server>> server;
  const int started = eventfd(0, EFD_CLOEXEC);
  // A thread of its own, since a journal's replay may take minutes.
  std::thread starting([&] {
    server = Server::Start(options);
    eventfd_write(started, 1);
  });
  if (Wait(signals, started, absl::InfiniteFuture()) == Woken::kSignal) {
    LeaveAtOnce(EXIT_SUCCESS, "not started yet, nothing to drain");
  }
  starting.join();
  close(started);
  return server;
}

// Whether a signal has come, and the server serves all the same. CANCELLED: one
// came first.
absl::StatusOr<bool> ServeUnlessSignalled(Server& server, int signals,
                                          absl::Duration patience) {
  absl::Status served;
  const int ended = eventfd(0, EFD_CLOEXEC);
  // A thread of its own, since each model waits for the disk.
  std::thread serving([&] {
    served = server.Serve();
    eventfd_write(ended, 1);
  });
  const bool signalled =
      Wait(signals, ended, absl::InfiniteFuture()) == Woken::kSignal;
  if (signalled) {
    server.StopServing();
    ACCRUE_LOG(info, "no further model goes on");
    switch (Wait(signals, ended, absl::Now() + patience)) {
      case Woken::kSignal:
        LeaveAtOnce(EXIT_FAILURE, "second signal");
      case Woken::kTime:
        LeaveAtOnce(EXIT_FAILURE, "a model waits for the disk");
      case Woken::kEvent:
        break;
    }
  }
  serving.join();
  close(ended);
  ACCRUE_RETURN_IF_ERROR(served);
  return signalled;
}

// Whether a restart will find all that was acknowledged.
int ExitCodeOf(const Server& server) {
  const std::vector<std::string> unkept = server.Unkept();
  for (const std::string& name : unkept) {
    ACCRUE_LOG(error,
               "model \"{}\": its last checkpoint is not durable; what was "
               "acknowledged after the one before is lost",
               name);
  }
  return unkept.empty() ? EXIT_SUCCESS : EXIT_FAILURE;
}

// Returns the exit code once the server is gone; leaves the process if that
// takes too long.
int DrainAndStop(std::unique_ptr<Server> server,
                 std::unique_ptr<HttpServer> http, int signals,
                 absl::Duration drain_timeout) {
  const absl::Time deadline = absl::Now() + drain_timeout;
  ACCRUE_LOG(info, "draining: {} calls in progress", server->live_call_count());
  // Neither is closed: a late `done` may still write to it.
  const int drained = eventfd(0, EFD_CLOEXEC);
  const int stopped = eventfd(0, EFD_CLOEXEC);
  server->Drain([drained] { eventfd_write(drained, 1); });
  switch (Wait(signals, drained, deadline)) {
    case Woken::kSignal:
      LeaveAtOnce(EXIT_FAILURE, "second signal");
    case Woken::kTime:
      ACCRUE_LOG(warn, "not drained after {}, {} calls are in progress",
                 absl::FormatDuration(drain_timeout),
                 server->live_call_count());
      break;
    case Woken::kEvent:
      break;
  }
  const int exit_code = ExitCodeOf(*server);
  // A thread of its own, since gRPC may wait for peers longer than we want to.
  std::thread stopping(
      [server = std::move(server), http = std::move(http), stopped]() mutable {
        http.reset();  // it reads the server
        server.reset();
        eventfd_write(stopped, 1);
      });
  switch (Wait(signals, stopped, absl::Now() + kShutdownTime)) {
    case Woken::kSignal:
      LeaveAtOnce(EXIT_FAILURE, "second signal");
    case Woken::kTime:
      LeaveAtOnce(exit_code, "some connections do not close");
    case Woken::kEvent:
      // What libraries keep for each thread goes before the process does.
      stopping.join();
      ACCRUE_LOG(info, "stopped");
  }
  return exit_code;
}

int Main(int argc, char** argv) {
  ParsedFlags flags = ParseFlags(argc, argv);
  if (flags.exit_code) return *flags.exit_code;
  const DaemonOptions& options = flags.options;
  absl::Status status = InitLogging(options.log_level, options.log_json);
  TakeGrpcLog();
  KeepFreedPages();
  RaiseDescriptorLimit();
  const int signals = CatchSignals();

  absl::StatusOr<std::unique_ptr<Server>> server;
  absl::StatusOr<std::unique_ptr<HttpServer>> http;  // ends before the server
  if (status.ok()) {
    http = ListenOnHttp(options);
    status = http.status();
  }
  if (status.ok()) {
    server = StartServer(options.server, signals);
    status = server.status();
  }
  std::vector<std::string> addresses;
  if (status.ok()) {
    addresses = (*server)->addresses();
    if (*http != nullptr) addresses.push_back((*http)->url());
    // Before anything that is kept changes.
    if (!options.port_file.empty()) {
      status = WritePortFile(options.port_file, addresses);
    }
  }
  bool signalled = false;
  if (status.ok()) {
    const absl::StatusOr<bool> served =
        ServeUnlessSignalled(**server, signals, options.drain_timeout);
    status = served.status();
    if (served.ok()) signalled = *served;
  }
  if (!status.ok()) {
    if (!options.port_file.empty()) {
      std::remove(UnfinishedPortFile(options.port_file).c_str());
    }
    if (absl::IsCancelled(status)) {
      ACCRUE_LOG(info, "stopped before it served, nothing to drain");
      return EXIT_SUCCESS;
    }
    ACCRUE_LOG(error, "accrued cannot start: {}", status.message());
    return EXIT_FAILURE;
  }
  if (*http != nullptr) (*http)->Expose(ReadingsOf(**server));
  // Whoever finds the file may call.
  if (!options.port_file.empty()) status = NamePortFile(options.port_file);
  if (status.ok()) {
    ACCRUE_LOG(info, "listening on {}", absl::StrJoin(addresses, ", "));
    if (!signalled) Wait(signals, /*event=*/-1, absl::InfiniteFuture());
  } else {
    ACCRUE_LOG(error, "accrued cannot go on: {}", status.message());
  }
  const int exit_code = DrainAndStop(*std::move(server), *std::move(http),
                                     signals, options.drain_timeout);
  return status.ok() ? exit_code : EXIT_FAILURE;
}

}  // namespace
}  // namespace accrue

int main(int argc, char** argv) { return accrue::Main(argc, argv); }
