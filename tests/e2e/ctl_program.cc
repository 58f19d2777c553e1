#include "tests/e2e/ctl_program.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "absl/time/clock.h"

namespace accrue {
namespace {

constexpr int kExecFailed = 127;

std::string PathOf(const std::string& program) {
  if (program.find('/') != std::string::npos) return program;
  const char* folder = std::getenv("ACCRUE_BIN_DIR");
  return std::string(folder == nullptr ? "." : folder) + "/" + program;
}

// Only what is safe between fork and exec.
[[noreturn]] void Execute(const char* path, char* const* arguments, int in_fd,
                          int out_fd, int err_fd, int alive_fd) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  dup2(in_fd, STDIN_FILENO);
  dup2(out_fd, STDOUT_FILENO);
  dup2(err_fd, STDERR_FILENO);
  fcntl(alive_fd, F_SETFD, 0);  // survives exec
  execv(path, arguments);
  _exit(kExecFailed);
}

// A file in memory that the child shall read from its beginning.
int InputFile(const std::string& text) {
  const int fd = memfd_create("input", MFD_CLOEXEC);
  EXPECT_EQ(pwrite(fd, text.data(), text.size(), 0),
            static_cast<ssize_t>(text.size()));
  return fd;
}

}  // namespace

std::unique_ptr<Program> Program::Start(
    const std::vector<std::string>& arguments, const std::string& input) {
  const std::string path = PathOf(arguments[0]);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const int in_fd = InputFile(input);
  const int err_fd = memfd_create("err", MFD_CLOEXEC);
  int out_fds[2];
  int alive_fds[2];
  if (pipe2(out_fds, O_CLOEXEC) != 0 || pipe2(alive_fds, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "pipe2 failed";
    return nullptr;
  }
  std::unique_ptr<Program> program(
      new Program(out_fds[0], err_fd, alive_fds[0]));
  program->pid_ = fork();
  if (program->pid_ == 0) {
    Execute(path.c_str(), argv.data(), in_fd, out_fds[1], err_fd, alive_fds[1]);
  }
  close(in_fd);
  close(out_fds[1]);
  close(alive_fds[1]);
  if (program->pid_ < 0) {
    ADD_FAILURE() << "fork failed";
    return nullptr;
  }
  // Here, too: whoever of the two is first, the group exists from now on.
  setpgid(program->pid_, program->pid_);
  return program;
}

Program::~Program() {
  if (pid_ > 0) kill(-pid_, SIGKILL);
  if (pid_ > 0 && !exit_.has_value()) waitpid(pid_, nullptr, 0);
  close(out_fd_);
  close(alive_fd_);
  close(err_fd_);
}

bool Program::Read(absl::Time deadline) {
  if (out_ended_) return false;
  const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
  pollfd waited = {.fd = out_fd_, .events = POLLIN, .revents = 0};
  if (poll(&waited, 1, static_cast<int>(std::max<int64_t>(left, 0))) <= 0) {
    return errno == EINTR && absl::Now() < deadline;
  }
  char buffer[4096];
  const ssize_t size = read(out_fd_, buffer, sizeof(buffer));
  out_ended_ = size <= 0;
  if (size > 0) out_.append(buffer, static_cast<size_t>(size));
  return !out_ended_;
}

bool Program::AwaitOutput(const std::string& text, absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (out_.find(text) == std::string::npos) {
    if (!Read(deadline)) {
      ADD_FAILURE() << "no \"" << text << "\" in: " << out_ << err();
      return false;
    }
  }
  return true;
}

void Program::SignalGroup(int signal) const { kill(-pid_, signal); }

void Program::Signal(int signal) const { kill(pid_, signal); }

std::optional<int> Program::AwaitExit() {
  const absl::Time deadline = absl::Now() + kPatience;
  while (Read(deadline)) {
  }
  if (!out_ended_) {
    ADD_FAILURE() << "still running, or somebody who holds its output: " << out_
                  << err();
    return std::nullopt;
  }
  int status = 0;
  if (!exit_.has_value() && waitpid(pid_, &status, 0) == pid_) {
    exit_ = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
  }
  return exit_;
}

bool Program::GroupIsGone() const {
  return kill(-pid_, 0) != 0 && errno == ESRCH;
}

bool Program::AwaitAllGone() const {
  // Nobody writes to it: it ends when the last of them does.
  pollfd waited = {.fd = alive_fd_, .events = POLLIN, .revents = 0};
  return poll(&waited, 1,
              static_cast<int>(absl::ToInt64Milliseconds(kPatience))) == 1;
}

std::string Program::err() const {
  std::string text;
  char buffer[4096];
  ssize_t size = 0;
  while ((size = pread(err_fd_, buffer, sizeof(buffer),
                       static_cast<off_t>(text.size()))) > 0) {
    text.append(buffer, static_cast<size_t>(size));
  }
  return text;
}

Finished RunProgram(const std::vector<std::string>& arguments,
                    const std::string& input) {
  const auto program = Program::Start(arguments, input);
  if (program == nullptr) return {.exit_code = -1, .out = {}, .err = {}};
  const int exit_code = program->AwaitExit().value_or(-1);
  return {.exit_code = exit_code, .out = program->out(), .err = program->err()};
}

}  // namespace accrue
