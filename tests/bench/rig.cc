#include "tests/bench/rig.h"

#include <cstdlib>
#include <filesystem>
#include <utility>

#include "absl/strings/str_cat.h"
#include "tests/bench/or_die.h"
#include "tests/bench/peer_process.h"

namespace accrue::bench {
namespace {

std::unique_ptr<Daemon> StartDaemon(const BenchOptions& options,
                                    std::vector<std::string> flags) {
  // The daemon beside this program, unless another is named.
  const std::string here =
      std::filesystem::read_symlink("/proc/self/exe").parent_path();
  setenv("ACCRUE_BIN_DIR", here.c_str(), /*overwrite=*/0);
  flags.push_back(absl::StrCat("--threads=", options.threads));
  auto daemon = Daemon::Start(flags);
  if (daemon == nullptr) Die("the daemon does not start");
  return daemon;
}

}  // namespace

client::ModelSpec Spec(int64_t elems, int64_t k) {
  client::ModelSpec spec;
  spec.name = "bench";
  spec.tensors = {{.name = "w", .shape = {elems}}};
  spec.groups = {
      {.name = "all", .k = k, .hyperparameters = {.learning_rate = 1e-3}}};
  spec.max_staleness = -1;
  return spec;
}

Rig::Rig(const BenchOptions& options, const RigOptions& rig)
    : daemon_(StartDaemon(options, rig.flags)),
      target_(rig.transport == Transport::kTcp ? daemon_->tcp()
                                               : daemon_->uds()),
      client_(OrDie(client::Client::Connect(target_))),
      model_(OrDie(client_.CreateOrOpen(rig.spec))) {
  OrDie(model_.InitializeWith({{.tensor = "w"}}, 1).status());
}

std::vector<std::unique_ptr<PeerProcess>> StartWorkers(const Rig& rig,
                                                       int count,
                                                       WorkerTask task) {
  std::vector<std::unique_ptr<PeerProcess>> workers;
  for (int w = 0; w < count; ++w) {
    workers.push_back(StartWorker(rig.target(), kElems, task));
  }
  return workers;
}

void MustHaveFolded(const client::Model& model, int64_t pushes) {
  const client::ModelDescription description = OrDie(model.Describe());
  if (description.folded_pushes == pushes &&
      description.version->number == pushes / kWorkers) {
    return;
  }
  Die(absl::StrCat(description.folded_pushes, " pushes folded, want ", pushes));
}

BenchResult Rates(const Timings& timings, double bytes) {
  return {.value = bytes / timings.seconds / 1e9,
          .unit = "GB/s",
          .baseline = bytes / timings.baseline_seconds / 1e9};
}

}  // namespace accrue::bench
