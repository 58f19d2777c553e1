// journal/push, checkpoint/*, recovery/read: the real daemon on a real disk,
// against the same bytes written or read without it.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "accrue/client.h"
#include "tests/bench/bench_case.h"
#include "tests/bench/or_die.h"
#include "tests/bench/peer_process.h"
#include "tests/bench/rig.h"
#include "tests/bench/temporary_directory.h"

namespace accrue::bench {
namespace {

namespace fs = std::filesystem;

// No checkpoint but those that are asked for.
const std::vector<std::string> kOnlyOnDemand = {"--checkpoint_period=inf",
                                                "--journal_limit=1TiB"};

std::vector<std::string> Flags(const std::string& data_dir,
                               std::vector<std::string> more = {}) {
  std::vector<std::string> flags = kOnlyOnDemand;
  flags.push_back("--data_dir=" + data_dir);
  flags.insert(flags.end(), more.begin(), more.end());
  return flags;
}

client::ModelSpec KeptSpec(client::Durability durability) {
  client::ModelSpec spec = Spec(kElems, kWorkers);
  spec.durability = durability;
  return spec;
}

void MustNotFail(bool failed, const char* what) {
  if (failed) Die(std::string(what) + ": " + std::strerror(errno));
}

// `count` times `size` bytes behind one another in a new file, each durable
// before the next is written.
void WriteDurably(const std::string& path, const std::vector<char>& bytes,
                  int count) {
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600);
  MustNotFail(fd < 0, "open");
  for (int i = 0; i < count; ++i) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = write(fd, bytes.data() + at, bytes.size() - at);
      MustNotFail(n < 0, "write");
      at += static_cast<size_t>(n);
    }
    MustNotFail(fdatasync(fd) != 0, "fdatasync");
  }
  close(fd);
}

// Four workers' cycles, each push durable before it is answered.
BenchResult RunJournal(const BenchOptions& options) {
  const TemporaryDirectory directory;
  const Rig rig(options, {.spec = KeptSpec(client::Durability::kJournal),
                          .flags = Flags(directory.path() + "/data")});
  const auto workers = StartWorkers(rig, kWorkers, WorkerTask::kPush);
  const std::vector<char> bytes(static_cast<size_t>(kBytes), 1);
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        for (const auto& worker : workers) worker->Start();
        for (const auto& worker : workers) worker->Await();
      },
      [&] { WriteDurably(directory.path() + "/plain", bytes, kWorkers); });
  MustHaveFolded(rig.model(), timings.runs * kWorkers);
  return Rates(timings, static_cast<double>(kWorkers) * kBytes);
}

// Asks for one checkpoint after another while it lives.
class Checkpointing {
 public:
  explicit Checkpointing(const client::Model& model)
      : thread_([this, &model] {
          while (!ending_) {
            OrDie(model.Checkpoint().status());
            ++count_;
          }
        }) {}
  ~Checkpointing() {
    ending_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> ending_ = false;
  int count_ = 0;
  std::thread thread_;
};

constexpr int kLoadedCycles = 8;

void RunCycles(const std::vector<std::unique_ptr<PeerProcess>>& workers) {
  for (const auto& worker : workers) worker->Start(kLoadedCycles);
  for (const auto& worker : workers) worker->Await();
}

BenchResult RunUnderLoad(const BenchOptions& options) {
  const TemporaryDirectory directory;
  const Rig rig(options, {.spec = KeptSpec(client::Durability::kMemory),
                          .flags = Flags(directory.path() + "/data")});
  const auto workers = StartWorkers(rig, kWorkers, WorkerTask::kPush);
  const Timings timings = MeasureInterleaved(
      options.min_seconds,
      [&] {
        const Checkpointing checkpointing(rig.model());
        RunCycles(workers);
      },
      [&] { RunCycles(workers); });
  return Rates(timings, static_cast<double>(kLoadedCycles) * kWorkers * kBytes);
}

// By how much the daemon's peak grows with checkpoints, against what it may.
BenchResult RunMemory(const BenchOptions& options) {
  constexpr int64_t kMemory = int64_t{256} << 20;
  const TemporaryDirectory directory;
  const Rig rig(
      options,
      {.spec = KeptSpec(client::Durability::kMemory),
       .flags = Flags(directory.path() + "/data",
                      {absl::StrCat("--checkpoint_memory=", kMemory)})});
  const auto workers = StartWorkers(rig, kWorkers, WorkerTask::kPush);
  for (int i = 0; i < 3; ++i) RunCycles(workers);
  const int64_t before = rig.daemon().PeakMemoryBytes();
  {
    const Checkpointing checkpointing(rig.model());
    for (int i = 0; i < 3; ++i) RunCycles(workers);
  }
  const int64_t after = rig.daemon().PeakMemoryBytes();
  constexpr double kMiB = 1 << 20;
  return {.value = std::max(static_cast<double>(after - before) / kMiB, 1.0),
          .unit = "MiB",
          .baseline = static_cast<double>(kMemory) / kMiB + 64,
          .less_is_better = true};
}

std::vector<fs::path> FilesUnder(const std::string& path) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path());
  }
  return files;
}

// What of a file is in memory goes.
void Forget(const std::vector<fs::path>& files) {
  for (const fs::path& file : files) {
    const int fd = open(file.c_str(), O_RDONLY);
    MustNotFail(fd < 0, "open");
    fdatasync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

void ReadAll(const std::vector<fs::path>& files, std::vector<char>& buffer) {
  for (const fs::path& file : files) {
    const int fd = open(file.c_str(), O_RDONLY);
    MustNotFail(fd < 0, "open");
    while (read(fd, buffer.data(), buffer.size()) > 0) {
    }
    close(fd);
  }
}

// A checkpoint of adamw's three arrays, and four pushes behind it: a daemon's
// whole start, against reading its files.
BenchResult RunRecovery(const BenchOptions& options) {
  const TemporaryDirectory directory;
  const std::string data = directory.path() + "/data";
  {
    const Rig rig(options, {.spec = KeptSpec(client::Durability::kJournal),
                            .flags = Flags(data, {"--checkpoint_keep=1"})});
    const auto workers = StartWorkers(rig, kWorkers, WorkerTask::kPush);
    const auto cycle = [&] {
      for (const auto& worker : workers) worker->Start();
      for (const auto& worker : workers) worker->Await();
    };
    cycle();
    OrDie(rig.model().Checkpoint().status());
    cycle();
    rig.daemon().Kill();
  }
  const std::vector<fs::path> files = FilesUnder(data);
  double bytes = 0;
  for (const fs::path& file : files) {
    bytes += static_cast<double>(fs::file_size(file));
  }

  std::vector<char> buffer(1 << 20);
  std::vector<double> seconds, baseline_seconds;
  double spent = 0;
  while (spent < options.min_seconds || seconds.size() < 3) {
    const auto timed = [&](auto run) {
      const auto start = std::chrono::steady_clock::now();
      run();
      return std::chrono::duration<double>(std::chrono::steady_clock::now() -
                                           start)
          .count();
    };
    Forget(files);
    baseline_seconds.push_back(timed([&] { ReadAll(files, buffer); }));
    Forget(files);
    std::unique_ptr<Daemon> daemon;
    seconds.push_back(timed([&] { daemon = Daemon::Start(Flags(data)); }));
    if (daemon == nullptr) Die("the daemon does not start again");
    // It leaves everything as it is.
    daemon->Kill();
    spent += seconds.back() + baseline_seconds.back();
  }
  const Timings timings{
      .seconds = Median(std::move(seconds)),
      .baseline_seconds = Median(std::move(baseline_seconds))};
  return Rates(timings, bytes);
}

const RegisterCase kJournalPush(
    {"journal/push",
     "four workers' cycles of 256-MiB gradients, each push durable; as many "
     "bytes written and synced one behind the other",
     RunJournal});
const RegisterCase kUnderLoad(
    {"checkpoint/underload",
     "such cycles, in memory, while one checkpoint follows the other; without",
     RunUnderLoad});
const RegisterCase kMemoryOfCheckpoints(
    {"checkpoint/memory",
     "the growth of the daemon's peak by them; --checkpoint_memory + 64 MiB",
     RunMemory});
const RegisterCase kRecovery(
    {"recovery/read",
     "a start that restores 64 M parameters and replays four pushes; reading "
     "those files",
     RunRecovery});

}  // namespace
}  // namespace accrue::bench
