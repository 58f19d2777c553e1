#include "client/examples/fashion_mnist/children.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "server/base/status_macros.h"

namespace accrue::fashion_mnist {
namespace {

constexpr absl::Duration kGrace = absl::Seconds(2);
constexpr int kPollMilliseconds = 20;

// Only what is safe between fork and exec.
[[noreturn]] void Execute(pid_t parent, char* const* arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have ended before the line above.
  if (getppid() != parent) _exit(1);
  execv("/proc/self/exe", arguments);
  _exit(127);
}

std::string HowItEnded(int status) {
  if (WIFSIGNALED(status)) {
    return absl::StrCat("was killed by signal ", WTERMSIG(status), " (",
                        strsignal(WTERMSIG(status)), ")");
  }
  return absl::StrCat("exited with ", WEXITSTATUS(status));
}

}  // namespace

absl::Status Children::Spawn(const std::string& name,
                             const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(name.c_str()));
  for (const std::string& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t pid = fork();
  if (pid == 0) Execute(parent, argv.data());
  if (pid < 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot start ", name));
  }
  running_.push_back({.pid = pid, .name = name});
  return absl::OkStatus();
}

absl::Status Children::Check() {
  for (auto child = running_.begin(); child != running_.end();) {
    int status = 0;
    if (waitpid(child->pid, &status, WNOHANG) == 0) {
      ++child;
      continue;
    }
    const std::string name = child->name;
    child = running_.erase(child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
      return absl::InternalError(absl::StrCat(name, " ", HowItEnded(status)));
    }
  }
  return absl::OkStatus();
}

absl::Status Children::WaitAll(absl::Duration timeout) {
  const absl::Time until = absl::Now() + timeout;
  while (true) {
    ACCRUE_RETURN_IF_ERROR(Check());
    if (running_.empty()) return absl::OkStatus();
    if (absl::Now() >= until) {
      return absl::DeadlineExceededError(
          absl::StrCat(absl::StrJoin(running_, ", ",
                                     [](std::string* out, const Child& child) {
                                       out->append(child.name);
                                     }),
                       " did not end within ", absl::FormatDuration(timeout)));
    }
    poll(nullptr, 0, kPollMilliseconds);
  }
}

bool Children::Reap(absl::Time until) {
  while (!running_.empty()) {
    running_.erase(std::remove_if(running_.begin(), running_.end(),
                                  [](const Child& child) {
                                    return waitpid(child.pid, nullptr,
                                                   WNOHANG) != 0;
                                  }),
                   running_.end());
    if (running_.empty() || absl::Now() >= until) break;
    poll(nullptr, 0, kPollMilliseconds);
  }
  return running_.empty();
}

Children::~Children() {
  for (const Child& child : running_) kill(child.pid, SIGTERM);
  if (Reap(absl::Now() + kGrace)) return;
  for (const Child& child : running_) kill(child.pid, SIGKILL);
  Reap(absl::InfiniteFuture());
}

}  // namespace accrue::fashion_mnist
