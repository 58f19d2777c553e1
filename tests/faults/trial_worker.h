// TrialWorker: pushes to the models of a trial, one push after the other, and
// keeps their histories.
//
// Most pushes are waited for, whatever happens to the daemon: under JOURNAL,
// where sessions outlive it, their fate has to be told. Of some the worker soon
// gives up; then it asks for their fate, or comes back as another process
// would, without knowing.
//
// Errors.    what no worker should see is a complaint in the history, and the
//            worker's end
// Threading. compatible
#ifndef ACCRUE_TESTS_FAULTS_TRIAL_WORKER_H_
#define ACCRUE_TESTS_FAULTS_TRIAL_WORKER_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "accrue/client.h"
#include "tests/faults/history.h"
#include "tests/faults/subject.h"

namespace accrue::faults {

// A model of a trial, and all that its workers know of it.
struct TrialModel {
  Subject subject;
  History history;
};

struct TrialWorkerOptions {
  std::string target;
  client::ClientOptions client = {};
  std::string name;
  uint64_t seed = 0;
  TrialModel* replayed = nullptr;
  TrialModel* one_hot = nullptr;
  // Of one_hot, the worker's own.
  int64_t first_element = 0;
  int64_t element_count = 1;
  // How many pushes have come to them already, under the same name.
  int64_t one_hot_pushes = 0;
  // Of every push to `replayed`.
  int64_t micro_steps = 1;
  // The network may send again what a client has sent: it then opens sessions
  // under this worker's name, which the worker takes over again.
  bool network_repeats = false;
  // Called once an acknowledged push.
  std::function<void()> on_acknowledged = [] {};
};

class TrialWorker {
 public:
  explicit TrialWorker(const TrialWorkerOptions& options);

  // Until `stop`, and until the push in flight has its answer.
  void Run(const std::atomic<bool>& stop);

  // With those before. Not while it runs.
  int64_t one_hot_pushes() const { return one_hot_pushes_; }

 private:
  // One of the models, as this worker sees it.
  struct Seat {
    TrialModel* model = nullptr;
    std::optional<client::Worker> worker = {};
    std::vector<float> parameters = {};
  };

  bool Connect();
  bool Open(Seat& seat);
  bool PullAll(Seat& seat);
  bool PullReplayed();
  bool PushReplayed();
  bool PushOneHot();
  // Sends it, and keeps it with what became of it.
  bool Push(Seat& seat, PushRecord push, const client::Payload& payload);
  bool Refused(Seat& seat, PushRecord push, client::Reason reason);
  bool Failed(Seat& seat, PushRecord push, const absl::Status& error,
              bool hasty);
  bool Acknowledged(Seat& seat, PushRecord push,
                    const client::PushResult& result);
  // So it does in any restart; nobody restores the model.
  static bool LineageLasts(const Seat& seat);
  // Sessions outlive the daemon, and nobody else takes them over.
  bool SessionsLast(const Seat& seat) const;
  // Though they last, its worker has another one than the push was sent under.
  bool SessionLost(const Seat& seat, const PushRecord& push) const;
  bool CloseCycle();
  bool Complain(Seat& seat, const std::string& what);
  bool OneIn(int n) { return random_() % static_cast<uint64_t>(n) == 0; }

  const TrialWorkerOptions options_;
  std::mt19937_64 random_;
  std::optional<client::Client> client_;
  Seat replayed_, one_hot_;
  int64_t one_hot_pushes_;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_TRIAL_WORKER_H_
