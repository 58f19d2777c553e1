// ContextPeer: a process that has a GPU's context with our kernels in it, and
// nothing else there.
#ifndef ACCRUE_TESTS_BENCH_CONTEXT_PEER_H_
#define ACCRUE_TESTS_BENCH_CONTEXT_PEER_H_

#include <memory>

#include "tests/bench/peer_process.h"

namespace accrue::bench {

// On RunOnGpu's GPU. It has no task.
std::unique_ptr<PeerProcess> StartContextPeer();

inline constexpr char kContextPeer[] = "context";

// In the new process.
int RunContextPeer();

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_CONTEXT_PEER_H_
