#include "tests/bench/context_peer.h"

#include <string>
#include <vector>

#include "tests/bench/bench_gpu.h"
#include "tests/bench/or_die.h"

namespace accrue::bench {

std::unique_ptr<PeerProcess> StartContextPeer() {
  return std::make_unique<PeerProcess>(std::vector<std::string>{kContextPeer});
}

int RunContextPeer() {
  const auto gpu = OrDie(OpenBenchGpu());
  const auto stream = OrDie(gpu->NewStream());
  OrDie(MakeBenchKernels()->Load(*stream));
  return ServeAsPeer([] {});
}

}  // namespace accrue::bench
