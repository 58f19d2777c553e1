#include "tests/bench/worker_peer.h"

#include <cmath>
#include <cstdlib>
#include <utility>

#include "absl/status/statusor.h"
#include "accrue/client.h"
#include "accrue/receive_pages.h"

namespace accrue::bench {
namespace {

template <typename T>
T OrDie(absl::StatusOr<T> result) {
  if (!result.ok()) Die("worker: " + result.status().ToString());
  return *std::move(result);
}

}  // namespace

std::unique_ptr<PeerProcess> StartWorker(const std::string& target,
                                         int64_t elems, WorkerTask task) {
  return std::make_unique<PeerProcess>(
      std::vector<std::string>{kWorkerPeer, target, std::to_string(elems),
                               std::to_string(static_cast<int>(task))});
}

int RunWorker(const std::vector<std::string>& arguments) {
  if (arguments.size() != 4) Die("worker: bad arguments");
  const std::string& target = arguments[1];
  const auto elems = static_cast<size_t>(std::atoll(arguments[2].c_str()));
  const auto task = static_cast<WorkerTask>(std::atoi(arguments[3].c_str()));
  client::KeepReceivePages();
  const client::Client client = OrDie(client::Client::Connect(target));
  const client::Model model = OrDie(client.OpenModel("bench"));
  client::Worker worker = OrDie(model.OpenWorker());
  const client::Version version = *OrDie(model.Describe()).version;

  std::vector<float> values(elems, 1e-3f);
  const bool unsound = task == WorkerTask::kUnsoundPush;
  if (unsound) values.back() = std::nanf("");
  return ServeAsPeer([&] {
    if (task == WorkerTask::kPull) {
      OrDie(model.Pull(&values));
      return;
    }
    const auto result = OrDie(worker.Push(values, {.version = version}));
    if (result.accepted == unsound) Die("worker: a push went the wrong way");
  });
}

}  // namespace accrue::bench
