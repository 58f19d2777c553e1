// WorkerProcess: one worker with its connection, its gradient and its copy of
// the parameters, in a process of its own, as workers are. (The connections of
// one process share gRPC's poller: four in one process mostly wake each other.)
//
// The process is this program again, told what to do through a socket. It ends
// with its WorkerProcess, and the benchmark ends if it fails.
//
// Threading. compatible
#ifndef ACCRUE_TESTS_BENCH_WORKER_PROCESS_H_
#define ACCRUE_TESTS_BENCH_WORKER_PROCESS_H_

#include <cstdint>
#include <string>
#include <sys/types.h>

namespace accrue::bench {

class WorkerProcess {
 public:
  // A worker of model "bench" at `target`, of elems F32 elements. Unsound: the
  // last element of its gradients is not a number.
  WorkerProcess(const std::string& target, int64_t elems, bool unsound);
  ~WorkerProcess();
  WorkerProcess(const WorkerProcess&) = delete;

  // Begins `count` pushes, each acknowledged before the next, or a pull.
  void StartPushes(int count);
  void StartPull();
  // Returns when they have ended.
  void Await();

 private:
  void Send(int command);

  pid_t pid_ = -1;
  int socket_ = -1;
};

// The other side, for main().
bool IsWorkerProcess(int argc, char** argv);
int RunWorkerProcess(char** argv);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_WORKER_PROCESS_H_
