// push/*, pull/*, roundtrip/1KiB: the real daemon and the SDK, against raw
// connections that carry the same bytes.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "accrue/client.h"
#include "accrue/receive_pages.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/empty_call.h"
#include "tests/bench/raw_sockets.h"
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

// Calls work(worker) for every worker at once.
void Together(int workers, const std::function<void(int)>& work) {
  std::vector<std::thread> threads;
  for (int w = 0; w < workers; ++w) threads.emplace_back(work, w);
  for (std::thread& thread : threads) thread.join();
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

// A daemon with one initialized model and workers, each with a connection.
class Rig {
 public:
  Rig(const BenchOptions& options, Transport transport, int64_t elems,
      int64_t k, int workers)
      : daemon_(StartDaemon(options)),
        target_(transport == Transport::kTcp ? daemon_->tcp()
                                             : daemon_->uds()) {
    client::KeepReceivePages();
    for (int w = 0; w < workers; ++w) {
      clients_.push_back(Must(client::Client::Connect(target_)));
      models_.push_back(Must(clients_.back().CreateOrOpen(Spec(elems, k))));
      Must(models_.back().InitializeWith({{.tensor = "w"}}, 1).status());
      workers_.push_back(Must(models_.back().OpenWorker()));
    }
    version_ = *Must(models_[0].Describe()).version;
  }

  const std::string& target() const { return target_; }
  const client::Model& model(int w) const {
    return models_[static_cast<size_t>(w)];
  }

  client::PushResult Push(int w, const std::vector<float>& gradient) {
    return Must(
        workers_[static_cast<size_t>(w)].Push(gradient, {.version = version_}));
  }

 private:
  std::unique_ptr<Daemon> daemon_;
  std::string target_;
  std::vector<client::Client> clients_;
  std::vector<client::Model> models_;
  std::vector<client::Worker> workers_;
  client::Version version_;
};

BenchResult Rates(const Timings& timings, double bytes) {
  return {.value = bytes / timings.seconds / 1e9,
          .unit = "GB/s",
          .baseline = bytes / timings.baseline_seconds / 1e9};
}

// A round is a cycle: k = 4 pushes over all workers together.
BenchResult RunPush(const BenchOptions& options, Transport transport,
                    int workers, bool fold) {
  Rig rig(options, transport, kElems, kWorkers, workers);
  // Each worker's own, as in different processes: senders that share one would
  // find in the cache what another has just read.
  std::vector<std::vector<float>> gradients(static_cast<size_t>(workers),
                                            std::vector<float>(kElems, 1e-3f));
  std::vector<const std::byte*> sources;
  for (std::vector<float>& gradient : gradients) {
    // Read, checked, hashed and refused: everything but the fold.
    if (!fold) gradient.back() = std::nanf("");
    sources.push_back(reinterpret_cast<const std::byte*>(gradient.data()));
  }
  RawSockets raw(transport, workers, kBytes);
  const int pushes = kWorkers / workers;
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        Together(workers, [&](int w) {
          for (int i = 0; i < pushes; ++i) {
            if (rig.Push(w, gradients[static_cast<size_t>(w)]).accepted !=
                fold) {
              std::exit(1);
            }
          }
        });
      },
      [&] {
        for (int i = 0; i < pushes; ++i) {
          raw.Transfer(sources);
        }
      });
  return Rates(timings, static_cast<double>(kWorkers) * kBytes);
}

BenchResult RunPull(const BenchOptions& options, Transport transport) {
  Rig rig(options, transport, kElems, kWorkers, kWorkers);
  std::vector<std::vector<float>> into(kWorkers, std::vector<float>(kElems));
  RawSockets raw(transport, kWorkers, kBytes);
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        Together(kWorkers, [&](int w) {
          Must(rig.model(w).Pull(&into[static_cast<size_t>(w)]).status());
        });
      },
      [&] {
        // All of one source, as readers of one publication.
        raw.Transfer(std::vector<const std::byte*>(
            kWorkers, reinterpret_cast<const std::byte*>(into[0].data())));
      });
  return Rates(timings, static_cast<double>(kWorkers) * kBytes);
}

BenchResult RunRoundTrip(const BenchOptions& options) {
  constexpr int kCalls = 500;
  Rig rig(options, Transport::kTcp, 256, 1, 1);
  const std::vector<float> gradient(256, 1e-3f);
  EmptyCall empty(rig.target());
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (int i = 0; i < kCalls; ++i) rig.Push(0, gradient);
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
                                          /*fold=*/true);
                         }});
const RegisterCase kUds({"push/uds", "the same over a Unix socket",
                         [](const BenchOptions& options) {
                           return RunPush(options, Transport::kUnix, kWorkers,
                                          /*fold=*/true);
                         }});
const RegisterCase kOne({"push/tcp/one", "one worker's cycles; a connection",
                         [](const BenchOptions& options) {
                           return RunPush(options, Transport::kTcp, 1,
                                          /*fold=*/true);
                         }});
const RegisterCase kNoFold({"push/tcp/nofold",
                            "pushes that are refused at their last element",
                            [](const BenchOptions& options) {
                              return RunPush(options, Transport::kTcp, kWorkers,
                                             /*fold=*/false);
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
