// WorkerPeer: one worker with its connection, its gradient and its copy of the
// parameters, in a process of its own. (The connections of one process share
// gRPC's poller: four in one process mostly wake each other.)
#ifndef ACCRUE_TESTS_BENCH_WORKER_PEER_H_
#define ACCRUE_TESTS_BENCH_WORKER_PEER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/bench/peer_process.h"

namespace accrue::bench {

// What a worker does when told to. kPush: pushes, and is acknowledged;
// kUnsoundPush: the same, but the gradient's last element is not a number, so
// that it is read, checked, hashed and refused: everything but the fold.
enum class WorkerTask { kPush, kUnsoundPush, kPull };

// A worker of model "bench" at `target`, of elems F32 elements.
std::unique_ptr<PeerProcess> StartWorker(const std::string& target,
                                         int64_t elems, WorkerTask task);

inline constexpr char kWorkerPeer[] = "worker";

// In the new process: arguments[0] is kWorkerPeer.
int RunWorker(const std::vector<std::string>& arguments);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_WORKER_PEER_H_
