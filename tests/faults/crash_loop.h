// CrashLoop: kills a daemon again and again, while workers push to it, starts
// it again each time, and asks in the end whether it has kept its promise
// [trial.h].
//
// Every second kill is a SIGKILL at a moment of chance; the others come at the
// fail points, in turn. With every third the power is cut, and the disk forgets
// what was not synced: a model under MEMORY then goes back to a state that it
// names, and all before that is there, but how much came after it the daemon
// may not know. Each comes after kAcksBetween pushes at least were acknowledged
// since the start, and while all workers push. Beside these, and counted as
// such, there are those in the middle of a restart; quiet ones, when all
// workers have their answers: then a restart knows exactly what is lost; and
// ends in order (SIGTERM), after which nothing may be lost in any mode,
// whatever becomes of the power. Before some kills a checkpoint is asked for:
// no restart goes back behind it.
//
// Errors.    INTERNAL: the daemon ends by itself, or does not come back, or
//            loses what an end in order or a checkpoint should have kept. The
//            rest is in the verdict
// Threading. compatible
#ifndef ACCRUE_TESTS_FAULTS_CRASH_LOOP_H_
#define ACCRUE_TESTS_FAULTS_CRASH_LOOP_H_

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "accrue/spec.h"
#include "server/base/fail_point.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/daemon.h"
#include "tests/faults/trial.h"
#include "tests/faults/verdict.h"

namespace accrue::faults {

inline constexpr int64_t kAcksBetween = 20;
// Half of the kills come to fail points: of so many one to each.
inline constexpr int64_t kKillsForEach =
    2 * static_cast<int64_t>(FailPoint::kFoldRepeat);
// Each push is larger than 1 MiB, of two bytes an element too.
inline constexpr int64_t kLargeSize = 12'000;

struct CrashLoopOptions {
  int64_t kills = 10;
  client::Durability durability = client::Durability::kJournal;
  uint64_t seed = 1;
  int workers = 4;
  // Of the replayed model, in 45 elements. From 1 MiB on pushes come on data
  // connections, and are written past the page cache.
  int64_t size = 1;
  // Where the daemon keeps its models; empty: for the while.
  std::string data_dir = {};
  // What the daemon does wrong, and how seldom.
  std::optional<FailPoint> mistake = {};
  int64_t mistake_every = 50;
};

struct CrashLoopResult {
  int64_t kills = 0;        // while workers pushed
  int64_t quiet_kills = 0;  // when no push was on its way
  int64_t least_acks = 0;   // before any of these, since the start before it
  int64_t restarts_killed = 0;
  int64_t orderly_ends = 0;
  int64_t checkpoints = 0;  // that were asked for
  Verdict verdict;
  int64_t power_cuts = 0;  // with any of these ends
  // Kills, also of restarts, at each fail point that there is in this mode.
  std::map<FailPoint, int64_t> fail_points = {};

  // Whether the durability's promise was kept, and moments were looked at.
  bool held(client::Durability durability) const;
  // Fail points with too few kills for so many in all: less than 5 of 200, or
  // none of kKillsForEach.
  std::vector<FailPoint> missed() const;
};

class CrashLoop {
 public:
  explicit CrashLoop(const CrashLoopOptions& options);

  absl::StatusOr<CrashLoopResult> Run();
  // "adamw, k 2 5, ...", once it runs.
  std::string description() const;
  // All that the workers sent and were answered, a line each.
  std::string History() const;
  // What the daemon has logged.
  std::string Log() const;

 private:
  absl::Status Start();
  absl::Status KillOnce(int64_t number);
  absl::Status KillQuietly();
  absl::Status EndInOrder();
  absl::Status AwaitAcks();
  // Of both models.
  absl::Status Checkpoint();
  // False: the daemon has not come there, and lives.
  absl::StatusOr<bool> AwaitFailPoint();
  // Starts it again, once it has ended, after a power cut perhaps.
  absl::Status ComeBack(std::optional<FailPoint> next);
  absl::Status Restart(std::optional<FailPoint> next);
  void NoteKill(int64_t& kills);
  void MayCutPower();
  absl::Status NoteRollbacks();
  absl::Status NoteRollback(const TrialModel& model,
                            std::vector<Rollback>& rollbacks);
  absl::Status CheckKept(const std::string& model,
                         const Rollback& rollback) const;
  std::vector<std::string> Environment(std::optional<FailPoint> point);
  std::optional<FailPoint> NextFailPoint(int64_t number) const;

  const CrashLoopOptions options_;
  const std::vector<FailPoint> fail_points_;  // of this mode
  const TemporaryDirectory directory_;
  const std::string data_dir_, shadow_;
  std::mt19937_64 random_;
  std::unique_ptr<Daemon> daemon_;
  std::unique_ptr<Trial> trial_;
  Trial::Rollbacks rollbacks_;
  std::optional<FailPoint> due_;
  int64_t acks_at_start_ = 0;
  // Of each model, how it was when a checkpoint was asked for, if that was
  // since the daemon last began to listen.
  std::map<std::string, client::ModelDescription> kept_;
  bool in_order_ = false;   // it has ended so since then
  bool power_cut_ = false;  // since the daemon last began to listen
  CrashLoopResult result_;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_CRASH_LOOP_H_
