#include "tests/bench/peer_process.h"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace accrue::bench {
namespace {

constexpr char kFlag[] = "--peer";
// The commands' socket in the new process.
constexpr int kSocket = 3;

}  // namespace

PeerProcess::PeerProcess(const std::vector<std::string>& arguments, int fd) {
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    Die(std::string("socketpair: ") + std::strerror(errno));
  }
  socket_ = ends[0];
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // By way of a number that neither of them has.
  constexpr int kAside = 1000;
  posix_spawn_file_actions_adddup2(&actions, ends[1], kAside);
  if (fd >= 0) posix_spawn_file_actions_adddup2(&actions, fd, kPeerFd);
  posix_spawn_file_actions_adddup2(&actions, kAside, kSocket);
  posix_spawn_file_actions_addclose(&actions, kAside);
  std::vector<std::string> words = {"accrue_bench", kFlag};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error = posix_spawn(&pid_, "/proc/self/exe", &actions, nullptr,
                                argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(ends[1]);
  if (error != 0) Die(std::string("posix_spawn: ") + std::strerror(error));
  Await();
}

PeerProcess::~PeerProcess() {
  close(socket_);  // upon which it ends
  waitpid(pid_, nullptr, 0);
}

void PeerProcess::Start(int count) {
  if (send(socket_, &count, sizeof(count), MSG_NOSIGNAL) != sizeof(count)) {
    Die("a peer has ended");
  }
}

void PeerProcess::Await() {
  char done;
  if (recv(socket_, &done, 1, 0) != 1) Die("a peer has ended");
}

std::vector<std::string> PeerArguments(int argc, char** argv) {
  if (argc < 2 || std::strcmp(argv[1], kFlag) != 0) return {};
  return {argv + 2, argv + argc};
}

int ServeAsPeer(const std::function<void()>& task) {
  const char done = 0;
  int count = 0;
  do {
    for (int i = 0; i < count; ++i) task();
    if (send(kSocket, &done, 1, MSG_NOSIGNAL) != 1) return 0;
  } while (recv(kSocket, &count, sizeof(count), 0) == sizeof(count));
  return 0;
}

void Die(const std::string& why) {
  std::fprintf(stderr, "accrue_bench: %s\n", why.c_str());
  std::exit(1);
}

}  // namespace accrue::bench
