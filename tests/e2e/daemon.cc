#include "tests/e2e/daemon.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <poll.h>
#include <sstream>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace accrue {
namespace {

constexpr char kPortFile[] = "ports";

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream content;
  content << file.rdbuf();
  return content.str();
}

int Milliseconds(absl::Duration duration) {
  return static_cast<int>(
      std::max<int64_t>(0, absl::ToInt64Milliseconds(duration)));
}

// What becomes of the child after fork(): async-signal-safe calls only.
[[noreturn]] void BecomeDaemon(char* const* argv, char* const* environment,
                               int log, pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(126);  // it ended before we could ask
  dup2(log, STDOUT_FILENO);
  dup2(log, STDERR_FILENO);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execve(argv[0], argv, environment);
  const char* const why = strerror(errno);
  const ssize_t ignored = write(log, why, strlen(why));
  _exit(ignored > 0 ? 127 : 126);
}

// As exec() wants them: of `words`, and a null behind them.
std::vector<char*> Pointers(std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace

std::unique_ptr<Daemon> Daemon::Start(
    const std::vector<std::string>& flags, const std::string& program,
    const std::vector<std::string>& environment) {
  const char* const base = std::getenv("TMPDIR");
  // Short, since the path of a Unix socket is.
  std::string name =
      std::string(base == nullptr ? "/tmp" : base) + "/accrued_XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    ADD_FAILURE() << "mkdtemp: " << std::strerror(errno);
    return nullptr;
  }
  std::unique_ptr<Daemon> daemon(new Daemon(name, program, flags));
  if (daemon->Launch("127.0.0.1:0", environment) && daemon->AwaitAddresses()) {
    return daemon;
  }
  ADD_FAILURE() << program << " does not start: " << daemon->Log();
  return nullptr;
}

Daemon::Daemon(std::string directory, std::string program,
               std::vector<std::string> flags)
    : directory_(std::move(directory)),
      program_(std::move(program)),
      flags_(std::move(flags)) {}

bool Daemon::Restart(const std::vector<std::string>& environment) {
  if (!exit_) return false;
  exit_.reset();
  close(pidfd_);
  const std::string tcp = std::exchange(tcp_, "");
  uds_.clear();
  http_.clear();
  std::filesystem::remove(directory_ + "/" + kPortFile);
  if (Launch(tcp, environment) && AwaitAddresses()) return true;
  tcp_ = tcp;  // for the next attempt
  return false;
}

Daemon::~Daemon() {
  if (pid_ > 0 && !exit_) {
    Signal(SIGTERM);
    Signal(SIGCONT);  // a test that failed may have left it stopped
    EXPECT_EQ(AwaitExit(), 0) << Log();
    Kill();
  }
  ExpectCleanLog();
  if (pidfd_ >= 0) close(pidfd_);
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

bool Daemon::Launch(const std::string& listen,
                    const std::vector<std::string>& environment) {
  const char* const bin = std::getenv("ACCRUE_BIN_DIR");
  if (bin == nullptr) {
    ADD_FAILURE() << "ACCRUE_BIN_DIR is not set: run this test by ctest";
    return false;
  }
  std::vector<std::string> arguments = {
      std::string(bin) + "/" + program_, "--listen=" + listen,
      "--listen_uds=" + directory_ + "/socket",
      "--port_file=" + directory_ + "/" + kPortFile};
  if (std::none_of(flags_.begin(), flags_.end(), [](const auto& flag) {
        return flag.starts_with("--http=");
      })) {
    arguments.push_back("--http=127.0.0.1:0");
  }
  arguments.insert(arguments.end(), flags_.begin(), flags_.end());
  const std::vector<char*> argv = Pointers(arguments);
  std::vector<std::string> variables = environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    variables.push_back(*variable);
  }
  const std::vector<char*> envp = Pointers(variables);

  const int log = open((directory_ + "/log").c_str(),
                       O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  const pid_t parent = getpid();
  pid_ = fork();
  if (pid_ == 0) BecomeDaemon(argv.data(), envp.data(), log, parent);
  close(log);
  if (pid_ < 0) return false;
  pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
  return pidfd_ >= 0;
}

bool Daemon::AwaitAddresses() {
  // Watched before the first look, so that no change is missed.
  const int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  inotify_add_watch(watch, directory_.c_str(), IN_MOVED_TO);
  const absl::Time deadline = absl::Now() + kPatience;
  const std::string path = directory_ + "/" + kPortFile;
  while (!std::filesystem::exists(path)) {
    pollfd descriptors[] = {{watch, POLLIN, 0}, {pidfd_, POLLIN, 0}};
    const int ready =
        poll(descriptors, 2, Milliseconds(deadline - absl::Now()));
    if (ready == 0 || descriptors[1].revents != 0) break;
    char events[4096];
    while (read(watch, events, sizeof(events)) > 0) {
    }
  }
  close(watch);
  std::istringstream lines(ReadFile(path));
  for (std::string line; std::getline(lines, line);) {
    std::string& address = line.starts_with("unix:")   ? uds_
                           : line.starts_with("http:") ? http_
                                                       : tcp_;
    address = line;
  }
  return !tcp_.empty() || !uds_.empty();
}

void Daemon::Signal(int signal) const {
  if (!exit_) kill(pid_, signal);
}

std::optional<int> Daemon::AwaitExit(absl::Duration patience) {
  if (exit_) return exit_;
  pollfd descriptor{pidfd_, POLLIN, 0};
  const absl::Time deadline = absl::Now() + patience;
  int ready = 0;
  do {
    ready = poll(&descriptor, 1, Milliseconds(deadline - absl::Now()));
  } while (ready < 0 && errno == EINTR);
  int status = 0;
  if (ready <= 0 || waitpid(pid_, &status, 0) != pid_) return std::nullopt;
  exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  return exit_;
}

std::optional<int> Daemon::Terminate(absl::Duration patience) {
  Signal(SIGTERM);
  return AwaitExit(patience);
}

void Daemon::Kill() {
  Signal(SIGKILL);
  AwaitExit();
}

int64_t Daemon::PeakMemoryBytes() const { return StatusNumber("VmHWM") * 1024; }

int64_t Daemon::ThreadCount() const { return StatusNumber("Threads"); }

int64_t Daemon::StatusNumber(const std::string& key) const {
  std::istringstream lines(
      ReadFile("/proc/" + std::to_string(pid_) + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind(key + ":", 0) != 0) continue;
    return std::strtoll(line.c_str() + key.size() + 1, nullptr, 10);
  }
  return 0;
}

// A leak is found when the process ends, and undefined behavior perhaps in a
// thread that nobody waits for: a test may pass without noticing.
void Daemon::ExpectCleanLog() const {
  const std::string log = Log();
  for (const char* complaint : {"Sanitizer", "runtime error"}) {
    EXPECT_EQ(log.find(complaint), std::string::npos) << log;
  }
}

std::string Daemon::Log() const { return ReadFile(directory_ + "/log"); }

}  // namespace accrue
