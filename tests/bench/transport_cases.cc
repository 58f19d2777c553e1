// push/*, pull/*, roundtrip/1KiB: the real daemon and the SDK, against raw
// connections that carry the same bytes.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/client.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/empty_call.h"
#include "tests/bench/raw_sockets.h"
#include "tests/bench/worker_peer.h"
#include "tests/e2e/daemon.h"

namespace accrue::bench {
namespace {

constexpr int64_t kElems = int64_t{64} << 20;  // 256 MiB in F32
constexpr int64_t kBytes = kElems * 4;
constexpr int kWorkers = 4;

// What does not work ends the benchmark: a figure would mean nothing.
void Must(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "accrue_bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

template <typename T>
T Must(absl::StatusOr<T> result) {
  Must(result.status());
  return *std::move(result);
}

std::unique_ptr<Daemon> StartDaemon(const BenchOptions& options) {
  // The daemon beside this program, unless another is named.
  const std::string here =
      std::filesystem::read_symlink("/proc/self/exe").parent_path();
  setenv("ACCRUE_BIN_DIR", here.c_str(), /*overwrite=*/0);
  return Daemon::Start({"--threads=" + std::to_string(options.threads)});
}

client::ModelSpec Spec(int64_t elems, int64_t k) {
  client::ModelSpec spec;
  spec.name = "bench";
  spec.tensors = {{.name = "w", .shape = {elems}}};
  spec.groups = {
      {.name = "all", .k = k, .hyperparameters = {.learning_rate = 1e-3}}};
  spec.max_staleness = -1;
  return spec;
}

// A daemon with one initialized model.
class Rig {
 public:
  Rig(const BenchOptions& options, Transport transport, int64_t elems,
      int64_t k)
      : daemon_(StartDaemon(options)),
        target_(transport == Transport::kTcp ? daemon_->tcp() : daemon_->uds()),
        client_(Must(client::Client::Connect(target_))),
        model_(Must(client_.CreateOrOpen(Spec(elems, k)))) {
    Must(model_.InitializeWith({{.tensor = "w"}}, 1).status());
  }

  const std::string& target() const { return target_; }
  const client::Model& model() const { return model_; }

 private:
  std::unique_ptr<Daemon> daemon_;
  std::string target_;
  client::Client client_;
  client::Model model_;
};

// The daemon has done what is being timed, no more and no less.
void MustHaveFolded(const client::Model& model, int64_t pushes) {
  const client::ModelDescription description = Must(model.Describe());
  if (description.folded_pushes == pushes &&
      description.version->number == pushes / kWorkers) {
    return;
  }
  std::fprintf(stderr, "accrue_bench: %lld pushes folded, want %lld\n",
               static_cast<long long>(description.folded_pushes),
               static_cast<long long>(pushes));
  std::exit(1);
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

BenchResult Rates(const Timings& timings, double bytes) {
  return {.value = bytes / timings.seconds / 1e9,
          .unit = "GB/s",
          .baseline = bytes / timings.baseline_seconds / 1e9};
}

// A round is a cycle: k = 4 pushes over all workers together.
BenchResult RunPush(const BenchOptions& options, Transport transport,
                    int worker_count, WorkerTask task) {
  const Rig rig(options, transport, kElems, kWorkers);
  const auto workers = StartWorkers(rig, worker_count, task);
  RawSockets raw(transport, RawTask::kSend, worker_count, kBytes);
  const int pushes = kWorkers / worker_count;
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (const auto& worker : workers) worker->Start(pushes);
        for (const auto& worker : workers) worker->Await();
      },
      [&] {
        for (int i = 0; i < pushes; ++i) raw.Transfer();
      });
  MustHaveFolded(rig.model(),
                 task == WorkerTask::kPush ? timings.runs * kWorkers : 0);
  return Rates(timings, static_cast<double>(kWorkers) * kBytes);
}

BenchResult RunPull(const BenchOptions& options, Transport transport) {
  const Rig rig(options, transport, kElems, kWorkers);
  const auto workers = StartWorkers(rig, kWorkers, WorkerTask::kPull);
  RawSockets raw(transport, RawTask::kReceive, kWorkers, kBytes);
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (const auto& worker : workers) worker->Start();
        for (const auto& worker : workers) worker->Await();
      },
      [&] { raw.Transfer(); });
  return Rates(timings, static_cast<double>(kWorkers) * kBytes);
}

BenchResult RunRoundTrip(const BenchOptions& options) {
  constexpr int kCalls = 500;
  const Rig rig(options, Transport::kTcp, 256, 1);
  client::Worker worker = Must(rig.model().OpenWorker());
  const client::Version version = *Must(rig.model().Describe()).version;
  const std::vector<float> gradient(256, 1e-3f);
  EmptyCall empty(rig.target());
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (int i = 0; i < kCalls; ++i) {
          Must(worker.Push(gradient, {.version = version}).status());
        }
      },
      [&] {
        for (int i = 0; i < kCalls; ++i) empty.Run();
      });
  return {.value = timings.seconds / kCalls * 1e6,
          .unit = "us",
          .baseline = timings.baseline_seconds / kCalls * 1e6,
          .less_is_better = true};
}

const RegisterCase kTcp({"push/tcp",
                         "four workers' cycles of 256-MiB gradients over TCP; "
                         "raw connections",
                         [](const BenchOptions& options) {
                           return RunPush(options, Transport::kTcp, kWorkers,
                                          WorkerTask::kPush);
                         }});
const RegisterCase kUds({"push/uds", "the same over a Unix socket",
                         [](const BenchOptions& options) {
                           return RunPush(options, Transport::kUnix, kWorkers,
                                          WorkerTask::kPush);
                         }});
const RegisterCase kOne({"push/tcp/one", "one worker's cycles; a connection",
                         [](const BenchOptions& options) {
                           return RunPush(options, Transport::kTcp, 1,
                                          WorkerTask::kPush);
                         }});
const RegisterCase kNoFold({"push/tcp/nofold",
                            "pushes that are refused at their last element",
                            [](const BenchOptions& options) {
                              return RunPush(options, Transport::kTcp, kWorkers,
                                             WorkerTask::kUnsoundPush);
                            }});
const RegisterCase kPullTcp({"pull/tcp",
                             "four readers of 256 MiB over TCP; raw "
                             "connections",
                             [](const BenchOptions& options) {
                               return RunPull(options, Transport::kTcp);
                             }});
const RegisterCase kPullUds({"pull/uds", "the same over a Unix socket",
                             [](const BenchOptions& options) {
                               return RunPull(options, Transport::kUnix);
                             }});
const RegisterCase kRoundTrip({"roundtrip/1KiB",
                               "a push of 1 KiB; an empty unary call",
                               RunRoundTrip});

}  // namespace
}  // namespace accrue::bench
