// KeepingProcess: a process that keeps its models, but for its service: what
// its destructor leaves is what kill -9 would.
#ifndef ACCRUE_TESTS_DURABILITY_KEEPING_PROCESS_H_
#define ACCRUE_TESTS_DURABILITY_KEEPING_PROCESS_H_

#include <atomic>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/status_macros.h"
#include "server/durability/data_directory.h"
#include "server/durability/file.h"
#include "server/model/model_store.h"
#include "tests/model/harness.h"

namespace accrue {

class KeepingProcess {
 public:
  explicit KeepingProcess(const std::string& path,
                          DurabilityOptions options = {},
                          FileSystem* files = PosixFileSystem())
      : data_([&] {
          options.data_dir = path;
          return DurabilityEnvironment{
              .options = options,
              .files = files,
              .pool = harness_.environment().pool,
              .timers = harness_.environment().timers,
              .memory = std::make_shared<CheckpointMemory>(int64_t{8} << 20,
                                                           nullptr)};
        }()),
        store_(StoreOptions()) {}

  absl::Status Start() {
    ACCRUE_RETURN_IF_ERROR(data_.Open());
    ACCRUE_ASSIGN_OR_RETURN(auto models, data_.Recover(store_));
    return data_.Serve(std::move(models), store_, stop_);
  }
  absl::StatusOr<std::shared_ptr<Model>> Create(const ModelSpec& spec) {
    std::promise<absl::StatusOr<ModelStore::Created>> done;
    store_.Create(spec, [&](auto made) { done.set_value(std::move(made)); });
    auto made = done.get_future().get();
    ACCRUE_RETURN_IF_ERROR(made.status());
    return made->model;
  }
  absl::StatusOr<CheckpointInfo> Checkpoint(const std::string& name) {
    std::promise<absl::StatusOr<CheckpointInfo>> done;
    (*data_.Find(name))->Checkpoint([&](auto made) { done.set_value(made); });
    return done.get_future().get();
  }
  absl::StatusOr<std::shared_ptr<Model>> Restore(
      const std::string& name, const std::string& checkpoint) {
    std::promise<absl::StatusOr<std::shared_ptr<Model>>> done;
    data_.Restore(name, checkpoint, store_,
                  [&](auto model) { done.set_value(std::move(model)); });
    return done.get_future().get();
  }
  // As on SIGTERM.
  void Drain() {
    std::promise<void> kept;
    data_.Drain(
        store_, [] {}, [&] { kept.set_value(); });
    kept.get_future().wait();
  }

  Harness& harness() { return harness_; }
  ModelStore& store() { return store_; }
  DataDirectory& data() { return data_; }

 private:
  ModelStore::Options StoreOptions() {
    ModelStore::Options options;
    options.environment = harness_.environment();
    options.keeper = &data_;
    return options;
  }

  Harness harness_;
  const std::atomic<bool> stop_{false};
  DataDirectory data_;
  ModelStore store_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_KEEPING_PROCESS_H_
