// Trial: two small models of a daemon and workers that push to both, while a
// test does to the daemon, or to the way there, what it likes; in the end,
// whether each push that was acknowledged was folded, once, and with every bit
// right.
//
// One model is replayed [replay_check.h]: which optimizer, groups and
// conventions it has depends on the seed. The other counts [one_hot_check.h].
//
// Threading. compatible
#ifndef ACCRUE_TESTS_FAULTS_TRIAL_H_
#define ACCRUE_TESTS_FAULTS_TRIAL_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "server/base/mutex.h"
#include "tests/faults/replayed_spec.h"
#include "tests/faults/survival.h"
#include "tests/faults/trial_worker.h"
#include "tests/faults/verdict.h"

namespace accrue::faults {

struct TrialOptions {
  uint64_t seed = 1;
  int workers = 4;
  // Of the model that counts: a worker's pushes come to an element of their own
  // each, until it has no more.
  int64_t elements_per_worker = 1000;
  int64_t size = 1;  // of the replayed model, in 180 bytes
  client::Durability durability = client::Durability::kMemory;
  bool network_repeats = false;  // as TrialWorkerOptions
  // Where workers push to, and how.
  std::string target;
  client::ClientOptions client = {};
};

// Retries soon, for daemons that are soon back.
client::ClientOptions ImpatientClient();

class Trial {
 public:
  // Makes the models.
  static absl::StatusOr<std::unique_ptr<Trial>> Create(
      const TrialOptions& options);
  // Stops.
  ~Trial();
  Trial(const Trial&) = delete;
  Trial& operator=(const Trial&) = delete;

  // "adamw, k 1 2 4, ...".
  const std::string& description() const { return replayed_spec_.description; }
  const TrialModel& replayed() const { return replayed_; }
  const TrialModel& one_hot() const { return one_hot_; }

  // Again after Stop: other processes under the same workers' names.
  void Start();
  // Waits until each worker has the answer to its push.
  void Stop();

  // Pushes acknowledged so far.
  int64_t acknowledged() const;
  // False: it took too long, or a worker has ended.
  bool AwaitAcknowledged(int64_t count, absl::Duration patience);
  // A worker has ended before Stop: its history says why.
  bool broken() const;

  // Keeps what is stored in a daemon's data directory by now, while none runs
  // there, to compare it in the end.
  absl::Status KeepStored(const std::string& data_dir);

  // After Stop, of the daemon at `target`, which has every push by now.
  struct Rollbacks {
    std::vector<Rollback> replayed, one_hot;
  };
  // `data_dir`: of the daemon. One more checkpoint is made there; it, those
  // beside it and what was kept are compared. Without it no moments are.
  absl::StatusOr<Verdict> Judge(const std::string& target,
                                const Rollbacks& rollbacks,
                                const std::string& data_dir = "");

 private:
  explicit Trial(const TrialOptions& options);

  absl::Status Make(TrialModel& model);
  void OnAcknowledged();
  void Keep(std::vector<FinalState> states);

  const TrialOptions options_;
  const ReplayedSpec replayed_spec_;
  TrialModel replayed_, one_hot_;
  std::vector<FinalState> stored_;  // of replayed_
  // Each worker's, as it ended: elements that it has used are not used again.
  std::vector<int64_t> one_hot_pushes_;
  std::vector<std::thread> threads_;
  int starts_ = 0;
  std::atomic<bool> stop_{false};

  mutable Mutex mutex_;
  CondVar changed_;
  int64_t acknowledged_ ACCRUE_GUARDED_BY(mutex_) = 0;
  int ended_ ACCRUE_GUARDED_BY(mutex_) = 0;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_TRIAL_H_
