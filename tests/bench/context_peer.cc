#include "tests/bench/context_peer.h"

#include <string>
#include <vector>

#include "server/device/gpu.h"
#include "server/kernels/device_kernels.h"
#include "tests/bench/or_die.h"

namespace accrue::bench {

std::unique_ptr<PeerProcess> StartContextPeer() {
  return std::make_unique<PeerProcess>(std::vector<std::string>{kContextPeer});
}

int RunContextPeer() {
  const auto gpus = OrDie(OpenCudaGpus({}));
  const auto stream = OrDie(gpus.front()->NewStream());
  OrDie(kernels::MakeCudaKernels()->Load(*stream));
  return ServeAsPeer([] {});
}

}  // namespace accrue::bench
