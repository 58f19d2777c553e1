// Training: what a training script does, through the SDK, by several workers:
// pull, compute, push, wait for the version. A gradient depends on nothing but
// the parameters, the worker and the version's number, so that two trainings
// agree in every bit, unless a push was lost or folded twice.
//
// Errors.    what a test does not expect to fail is reported as its failure
#ifndef ACCRUE_TESTS_E2E_TRAINING_H_
#define ACCRUE_TESTS_E2E_TRAINING_H_

#include <cstdint>
#include <cstdlib>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "accrue/client.h"
#include "server/base/mutex.h"

namespace accrue {

// Gate: where workers wait for a test, so that their training has not ended
// before it does what it has in mind: none pushes to a version from this one on
// before the gate has moved behind that.
//
// Threading. safe
class Gate {
 public:
  explicit Gate(int64_t version) : version_(version) {}
  void MoveTo(int64_t version) ACCRUE_EXCLUDES(mutex_);
  void WaitAt(int64_t version) ACCRUE_EXCLUDES(mutex_);

 private:
  Mutex mutex_;
  CondVar moved_;
  int64_t version_ ACCRUE_GUARDED_BY(mutex_);
};

struct Training {
  static constexpr char kModel[] = "model";

  client::Durability durability = client::Durability::kJournal;
  // Of several workers: kGather, whose bits do not depend on whose push is
  // first.
  client::Buffering buffering = client::Buffering::kGather;
  int workers = 3;
  int64_t elements = 1000;
  client::Encoding encoding = client::Encoding::kF32;  // of pushes
  client::ClientOptions connection = {};
  Gate* gate = nullptr;  // none
};

// What became of one worker's pushes.
struct Trained {
  absl::Status status = {};  // the error that ended it
  int64_t accepted = 0;
  std::vector<client::Reason> refusals = {};  // but for used quotas
};

template <typename T>
T Value(absl::StatusOr<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.status();
    std::abort();
  }
  return std::move(result).value();
}

// Makes the model, of zeros: a version takes one push of each worker.
client::Model Make(const std::string& target, const Training& training);

std::vector<float> Gradient(const std::vector<float>& parameters, int worker,
                            int64_t version);

// Trains until there is version `last`, each worker a thread with a connection
// of its own. `disturb` runs meanwhile. By worker.
std::vector<Trained> Train(
    const std::string& target, const Training& training, int64_t last,
    const std::function<void()>& disturb = [] {});

std::vector<float> Parameters(const std::string& target,
                              const Training& training);

// Waits for a version, whatever happens to the daemon meanwhile.
void AwaitVersion(client::Watcher& watcher, int64_t version);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_TRAINING_H_
