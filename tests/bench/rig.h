// Rig: the real daemon with one initialized model, and workers that push to it.
#ifndef ACCRUE_TESTS_BENCH_RIG_H_
#define ACCRUE_TESTS_BENCH_RIG_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "accrue/client.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/raw_sockets.h"
#include "tests/bench/worker_peer.h"
#include "tests/e2e/daemon.h"

namespace accrue::bench {

inline constexpr int64_t kElems = int64_t{64} << 20;  // 256 MiB in F32
inline constexpr int64_t kBytes = kElems * 4;
inline constexpr int kWorkers = 4;

// One tensor "w", adamw.
client::ModelSpec Spec(int64_t elems, int64_t k);

struct RigOptions {
  Transport transport = Transport::kTcp;
  client::ModelSpec spec;
  // Of the daemon, besides --threads. "{}" in a flag is the daemon's own
  // directory, which goes with it.
  std::vector<std::string> flags = {};
};

class Rig {
 public:
  Rig(const BenchOptions& options, const RigOptions& rig);

  const std::string& target() const { return target_; }
  const client::Model& model() const { return model_; }
  Daemon& daemon() const { return *daemon_; }

 private:
  std::unique_ptr<Daemon> daemon_;
  std::string target_;
  client::Client client_;
  client::Model model_;
};

std::vector<std::unique_ptr<PeerProcess>> StartWorkers(const Rig& rig,
                                                       int count,
                                                       WorkerTask task);

// The daemon has done what is being timed, no more and no less.
void MustHaveFolded(const client::Model& model, int64_t pushes);

BenchResult Rates(const Timings& timings, double bytes);

}  // namespace accrue::bench

#endif  // ACCRUE_TESTS_BENCH_RIG_H_
