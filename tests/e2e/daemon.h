// Daemon: the real accrued as a child process, for tests.
//
// Its ports are chosen by the system, its files are in a directory of its own
// that the destructor removes. The child dies with the test's process.
//
// Errors.    reported as failures of the test that runs; then addresses are
//            empty and waits give up after kPatience
// Threading. compatible

#ifndef ACCRUE_TESTS_E2E_DAEMON_H_
#define ACCRUE_TESTS_E2E_DAEMON_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <sys/types.h>
#include <vector>

#include "absl/time/time.h"

namespace accrue {

class Daemon {
 public:
  // Longer than anything a healthy daemon does at start or end, also under
  // sanitizers on a busy machine.
  static constexpr absl::Duration kPatience = absl::Seconds(60);

  // Starts `program` (from $ACCRUE_BIN_DIR) on TCP and a Unix socket, with
  // `flags` added, and returns once it listens; null if it does not.
  // `environment`: "NAME=value", beside what this process has.
  static std::unique_ptr<Daemon> Start(
      const std::vector<std::string>& flags = {},
      const std::string& program = "accrued",
      const std::vector<std::string>& environment = {});
  // Ends it by SIGTERM, unless the test ended it before: it must then exit with
  // 0. In any case no sanitizer may have complained in its log.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  // Once it has ended: the same again, at the same addresses. False: it ended
  // before it listened; that is no failure of the test.
  bool Restart(const std::vector<std::string>& environment = {});

  // "127.0.0.1:40123" and "unix:/tmp/.../socket".
  const std::string& tcp() const { return tcp_; }
  const std::string& uds() const { return uds_; }
  // "http://127.0.0.1:40124"; empty: the flags say that there is none.
  const std::string& http() const { return http_; }
  pid_t pid() const { return pid_; }
  // A directory for the test's own files.
  const std::string& directory() const { return directory_; }

  void Signal(int signal) const;
  // Waits for its end: the exit code, or minus the signal that killed it. None
  // if it still runs at the deadline.
  std::optional<int> AwaitExit(absl::Duration patience = kPatience);
  // SIGTERM, then AwaitExit.
  std::optional<int> Terminate(absl::Duration patience = kPatience);
  // SIGKILL, then AwaitExit.
  void Kill();

  // A line of /proc/PID/status: "VmHWM" in bytes, "Threads" as it is; 0 if it
  // has ended.
  int64_t PeakMemoryBytes() const;
  int64_t ThreadCount() const;

  // What it has logged so far.
  std::string Log() const;

 private:
  Daemon(std::string directory, std::string program,
         std::vector<std::string> flags);

  void ExpectCleanLog() const;

  bool Launch(const std::string& listen,
              const std::vector<std::string>& environment);
  bool AwaitAddresses();
  int64_t StatusNumber(const std::string& key) const;

  const std::string directory_, program_;
  const std::vector<std::string> flags_;
  pid_t pid_ = -1;
  int pidfd_ = -1;
  std::optional<int> exit_;
  std::string tcp_, uds_, http_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_DAEMON_H_
