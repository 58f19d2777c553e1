#include "tests/e2e/peer.h"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <map>
#include <mutex>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace accrue {
namespace {

constexpr char kRoleFlag[] = "--role=";

std::map<std::string, RoleFunction>& Roles() {
  static auto* const roles = new std::map<std::string, RoleFunction>;
  return *roles;
}

// What becomes of the child after fork(): async-signal-safe calls only.
[[noreturn]] void BecomePeer(char* const* argv, int input, int output,
                             pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(126);  // it ended before we could ask
  dup2(input, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  execv("/proc/self/exe", argv);
  _exit(127);
}

}  // namespace

PeerRole::PeerRole(const std::string& name, RoleFunction function) {
  Roles()[name] = function;
}

void Say(const std::string& line) {
  static std::mutex mutex;
  const std::lock_guard<std::mutex> lock(mutex);
  std::cout << line << std::endl;
}

std::optional<std::string> Hear() {
  std::string line;
  if (!std::getline(std::cin, line)) return std::nullopt;
  return line;
}

void Freeze() {
  Say("frozen");
  raise(SIGSTOP);
}

std::unique_ptr<Peer> Peer::Start(const std::string& role,
                                  const std::vector<std::string>& arguments) {
  // A peer that is gone makes writes to it fail, not this process.
  signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words = {"peer", kRoleFlag + role};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int input[2], output[2];
  if (pipe2(input, O_CLOEXEC) != 0 || pipe2(output, O_CLOEXEC) != 0) {
    ADD_FAILURE() << "pipe: " << std::strerror(errno);
    return nullptr;
  }
  std::unique_ptr<Peer> peer(new Peer);
  peer->to_ = input[1];
  peer->from_ = output[0];
  const pid_t parent = getpid();
  peer->pid_ = fork();
  if (peer->pid_ == 0) BecomePeer(argv.data(), input[0], output[1], parent);
  close(input[0]);
  close(output[1]);
  if (peer->pid_ > 0) {
    peer->pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, peer->pid_, 0));
  }
  if (peer->pidfd_ >= 0) return peer;
  ADD_FAILURE() << "no process: " << std::strerror(errno);
  return nullptr;
}

Peer::~Peer() {
  Kill();
  if (to_ >= 0) close(to_);
  if (pidfd_ >= 0) close(pidfd_);
  close(from_);
}

std::optional<std::string> Peer::AwaitLine(absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  size_t end = 0;
  while ((end = unread_.find('\n')) == std::string::npos) {
    pollfd descriptor{from_, POLLIN, 0};
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    const int ready =
        poll(&descriptor, 1, static_cast<int>(std::max<int64_t>(0, left)));
    if (ready < 0 && errno == EINTR) continue;
    char bytes[4096];
    const ssize_t count = ready > 0 ? read(from_, bytes, sizeof(bytes)) : 0;
    if (count <= 0) {
      ADD_FAILURE() << "a peer " << (ready > 0 ? "ended" : "said nothing");
      return std::nullopt;
    }
    unread_.append(bytes, static_cast<size_t>(count));
  }
  std::string line = unread_.substr(0, end);
  unread_.erase(0, end + 1);
  return line;
}

bool Peer::AwaitFrozen() {
  std::optional<std::string> line;
  do {
    line = AwaitLine();
  } while (line && *line != "frozen");
  siginfo_t info;
  return line && waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED) == 0;
}

void Peer::Tell(const std::string& line) const {
  const std::string text = line + "\n";
  if (write(to_, text.data(), text.size()) < 0) {
    ADD_FAILURE() << "a peer does not listen: " << std::strerror(errno);
  }
}

void Peer::Signal(int signal) const {
  if (pid_ > 0) kill(pid_, signal);
}

int Peer::AwaitExit(absl::Duration patience) {
  close(std::exchange(to_, -1));
  pollfd descriptor{pidfd_, POLLIN, 0};
  const absl::Time deadline = absl::Now() + patience;
  int ready = 0;
  do {
    const int64_t left = absl::ToInt64Milliseconds(deadline - absl::Now());
    ready = poll(&descriptor, 1, static_cast<int>(std::max<int64_t>(0, left)));
  } while (ready < 0 && errno == EINTR);
  if (ready <= 0) {
    ADD_FAILURE() << "a peer does not end";
    Signal(SIGKILL);
  }
  int status = 0;
  if (waitpid(std::exchange(pid_, -1), &status, 0) < 0) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void Peer::Kill() {
  if (pid_ <= 0) return;
  Signal(SIGKILL);
  AwaitExit();
}

bool Eventually(const std::function<bool()>& condition,
                absl::Duration patience) {
  const absl::Time deadline = absl::Now() + patience;
  while (!condition()) {
    if (absl::Now() > deadline) return false;
  }
  return true;
}

namespace {

int Main(int argc, char** argv) {
  const std::string first = argc > 1 ? argv[1] : "";
  if (first.rfind(kRoleFlag, 0) != 0) {
    testing::InitGoogleMock(&argc, argv);
    return RUN_ALL_TESTS();
  }
  const auto role = Roles().find(first.substr(strlen(kRoleFlag)));
  if (role == Roles().end()) {
    std::cerr << "no such role: " << first << "\n";
    return EXIT_FAILURE;
  }
  return role->second(std::vector<std::string>(argv + 2, argv + argc));
}

}  // namespace
}  // namespace accrue

int main(int argc, char** argv) { return accrue::Main(argc, argv); }
