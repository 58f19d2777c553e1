// PeerProcess: the far end of a benchmark's connection, in a process of its
// own, as workers are: this program again, which does one task each time it is
// told to.
//
//   int main(int argc, char** argv) {
//     const auto arguments = PeerArguments(argc, argv);
//     if (!arguments.empty()) return ServeAsPeer(TaskOf(arguments));
//
// Invariant. the process ends with its PeerProcess, and the benchmark ends if
//            the process does not do its task.
// Threading. compatible
#ifndef ACCRUE_TESTS_BENCH_PEER_PROCESS_H_
#define ACCRUE_TESTS_BENCH_PEER_PROCESS_H_

#include <functional>
#include <string>
#include <sys/types.h>
#include <vector>

namespace accrue::bench {

class PeerProcess {
 public:
  // `arguments`: what kind of peer, and its own arguments. `fd`: a descriptor
  // that it inherits as kPeerFd; none: -1. Returns when it is ready.
  explicit PeerProcess(const std::vector<std::string>& arguments, int fd = -1);
  ~PeerProcess();
  PeerProcess(const PeerProcess&) = delete;

  // Begins its task, `count` times.
  void Start(int count = 1);
  // Returns when that has ended.
  void Await();

 private:
  pid_t pid_ = -1;
  int socket_ = -1;
};

inline constexpr int kPeerFd = 4;

// In the new process.

// The arguments, if this process is a peer; else empty.
std::vector<std::string> PeerArguments(int argc, char** argv);

// Runs `task` whenever told to, until the benchmark goes.
int ServeAsPeer(const std::function<void()>& task);

// Ends the benchmark: a figure would mean nothing.
[[noreturn]] void Die(const std::string& why);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_PEER_PROCESS_H_
