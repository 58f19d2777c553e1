// push/*, pull/*, roundtrip/1KiB: the real daemon and the SDK, against raw
// connections that carry the same bytes.
#include <vector>

#include "accrue/client.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/empty_call.h"
#include "tests/bench/or_die.h"
#include "tests/bench/raw_sockets.h"
#include "tests/bench/rig.h"
#include "tests/bench/worker_peer.h"

namespace accrue::bench {
namespace {

// A round is a cycle: k = 4 pushes over all workers together.
BenchResult RunPush(const BenchOptions& options, Transport transport,
                    int worker_count, WorkerTask task) {
  const Rig rig(options,
                {.transport = transport, .spec = Spec(kElems, kWorkers)});
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
  const Rig rig(options,
                {.transport = transport, .spec = Spec(kElems, kWorkers)});
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
  const Rig rig(options, {.spec = Spec(256, 1)});
  client::Worker worker = OrDie(rig.model().OpenWorker());
  const client::Version version = *OrDie(rig.model().Describe()).version;
  const std::vector<float> gradient(256, 1e-3f);
  EmptyCall empty(rig.target());
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (int i = 0; i < kCalls; ++i) {
          OrDie(worker.Push(gradient, {.version = version}).status());
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
