#include "tests/bench/worker_process.h"

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/client.h"
#include "accrue/receive_pages.h"

namespace accrue::bench {
namespace {

constexpr char kFlag[] = "--worker_process";
// The socket's number in the new process.
constexpr int kSocket = 3;
// A command is a number of pushes, or this.
constexpr int kPull = -1;

[[noreturn]] void Die(const std::string& why) {
  std::fprintf(stderr, "accrue_bench: %s\n", why.c_str());
  std::exit(1);
}

template <typename T>
T OrDie(absl::StatusOr<T> result) {
  if (!result.ok()) Die("worker: " + result.status().ToString());
  return *std::move(result);
}

}  // namespace

WorkerProcess::WorkerProcess(const std::string& target, int64_t elems,
                             bool unsound) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    Die(std::string("socketpair: ") + std::strerror(errno));
  }
  socket_ = ends[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], kSocket);
  std::string arguments[] = {"accrue_bench", kFlag, target,
                             std::to_string(elems), unsound ? "1" : "0"};
  char* argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                  arguments[3].data(), arguments[4].data(), nullptr};
  const int error =
      posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) Die(std::string("posix_spawn: ") + std::strerror(error));
  Await();
}

WorkerProcess::~WorkerProcess() {
  close(socket_);  // upon which it ends
  waitpid(pid_, nullptr, 0);
}

void WorkerProcess::StartPushes(int count) { Send(count); }

void WorkerProcess::StartPull() { Send(kPull); }

void WorkerProcess::Send(int command) {
  if (send(socket_, &command, sizeof(command), MSG_NOSIGNAL) !=
      sizeof(command)) {
    Die("a worker has ended");
  }
}

void WorkerProcess::Await() {
  char done;
  if (recv(socket_, &done, 1, 0) != 1) Die("a worker has ended");
}

bool IsWorkerProcess(int argc, char** argv) {
  return argc == 5 && std::strcmp(argv[1], kFlag) == 0;
}

int RunWorkerProcess(char** argv) {
  const std::string target = argv[2];
  const int64_t elems = std::atoll(argv[3]);
  const bool unsound = argv[4][0] == '1';
  client::KeepReceivePages();
  const client::Client client = OrDie(client::Client::Connect(target));
  const client::Model model = OrDie(client.OpenModel("bench"));
  client::Worker worker = OrDie(model.OpenWorker());
  const client::Version version = *OrDie(model.Describe()).version;

  std::vector<float> values(static_cast<size_t>(elems), 1e-3f);
  // Read, checked, hashed and refused: everything but the fold.
  if (unsound) values.back() = std::nanf("");
  char done = 0;
  int command;
  do {
    if (send(kSocket, &done, 1, MSG_NOSIGNAL) != 1) return 0;
    if (recv(kSocket, &command, sizeof(command), 0) != sizeof(command)) {
      return 0;
    }
    if (command == kPull) OrDie(model.Pull(&values));
    for (int i = 0; i < command; ++i) {
      const auto result = OrDie(worker.Push(values, {.version = version}));
      if (result.accepted == unsound) Die("worker: a push went the wrong way");
    }
  } while (true);
}

}  // namespace accrue::bench
