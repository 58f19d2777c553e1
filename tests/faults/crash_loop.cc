#include "tests/faults/crash_loop.h"

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <regex>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/status_macros.h"
#include "tests/durability/forgetful_files.h"
#include "tests/faults/fail_points.h"
#include "tests/faults/gradient.h"

namespace accrue::faults {
namespace {

using client::Durability;

constexpr char kProgram[] = "accrued_faulty";
constexpr absl::Duration kPatience = absl::Seconds(60);
constexpr int64_t kMostAcksBetween = 60;
constexpr int64_t kLastAcks = 200;
// A fail point that has not been reached after so many is not there.
constexpr int64_t kAcksToFailPoint = 1000;
constexpr int64_t kMaxReached = 3;
constexpr int64_t kKillsToOrderlyEnd = 6;
constexpr uint64_t kCheckpointOneIn = 5;
constexpr uint64_t kQuietOneIn = 4;  // of those at moments of chance
// Often, so that restarts begin at many checkpoints.
constexpr int64_t kUpdatesToCheckpoint = 25;
constexpr int64_t kCheckpointsKept = 2;
constexpr int64_t kMaxElementsPerWorker = 4000;

std::vector<FailPoint> FailPointsOf(Durability durability) {
  if (durability == Durability::kMemory) {
    return {FailPoint::kBatchFolded, FailPoint::kCheckpointHalfWritten,
            FailPoint::kCheckpointWritten, FailPoint::kCheckpointRenamed,
            FailPoint::kCheckpointFinished};
  }
  constexpr auto kCount = static_cast<int>(FailPoint::kFoldRepeat);
  std::vector<FailPoint> points;
  points.reserve(kCount);
  for (int i = 0; i < kCount; ++i) {
    points.push_back(static_cast<FailPoint>(i));
  }
  return points;
}

// What the daemon has said of restarts of a model that lost pushes. Where each
// of them went on is not in its log.
std::vector<Rollback> ReadRollbacks(const std::string& log,
                                    const std::string& model) {
  const std::regex line(absl::StrCat(
      "model \"", model,
      "\": restarted from t=(\\d+) \\(version (\\d+)\\) of lineage (\\w+); "
      "acknowledged pushes after it are lost: "
      "(?:(at least )?(\\d+)|an unknown number)"));
  std::vector<Rollback> rollbacks;
  for (std::sregex_iterator match(log.begin(), log.end(), line), none;
       match != none; ++match) {
    rollbacks.push_back(
        {.lineage = (*match)[3],
         .t = std::stoll((*match)[1]),
         .version = std::stoll((*match)[2]),
         .lost = (*match)[5].matched ? std::stoll((*match)[5]) : 0,
         .power_cut = (*match)[4].matched || !(*match)[5].matched,
         .next = ""});
  }
  return rollbacks;
}

}  // namespace

bool CrashLoopResult::held(Durability durability) const {
  const int64_t broken =
      durability == Durability::kJournal ? verdict.lost : verdict.unreported;
  return broken == 0 && verdict.twice == 0 && verdict.mismatched_bytes == 0 &&
         verdict.moments_compared > 0 && verdict.complaints.empty();
}

std::vector<FailPoint> CrashLoopResult::missed() const {
  int64_t least = 0;
  if (kills >= kKillsForEach) least = 1;
  if (kills >= 200) least = 5;
  std::vector<FailPoint> points;
  for (const auto& [point, count] : fail_points) {
    if (count < least) points.push_back(point);
  }
  return points;
}

CrashLoop::CrashLoop(const CrashLoopOptions& options)
    : options_(options),
      fail_points_(FailPointsOf(options.durability)),
      data_dir_(options.data_dir.empty() ? directory_ / "data"
                                         : options.data_dir),
      shadow_(directory_ / "shadow"),
      random_(options.seed) {
  for (const FailPoint point : fail_points_) result_.fail_points[point] = 0;
}

absl::StatusOr<CrashLoopResult> CrashLoop::Run() {
  ACCRUE_RETURN_IF_ERROR(Start());
  for (int64_t i = 0; i < options_.kills && !trial_->broken(); ++i) {
    if (i % kKillsToOrderlyEnd == kKillsToOrderlyEnd - 1) {
      ACCRUE_RETURN_IF_ERROR(EndInOrder());
    }
    ACCRUE_RETURN_IF_ERROR(KillOnce(i));
  }
  const int64_t last = trial_->acknowledged() + kLastAcks;
  trial_->AwaitAcknowledged(last, kPatience);
  trial_->Stop();
  ACCRUE_ASSIGN_OR_RETURN(result_.verdict,
                          trial_->Judge(daemon_->uds(), rollbacks_, data_dir_));
  return result_;
}

absl::Status CrashLoop::Start() {
  std::vector<std::string> flags = {
      absl::StrCat("--checkpoint_every_updates=", kUpdatesToCheckpoint)};
  flags.push_back("--data_dir=" + data_dir_);
  // Few, so that kills and power cuts meet the end of older ones.
  flags.push_back(absl::StrCat("--checkpoint_keep=", kCheckpointsKept));
  due_ = NextFailPoint(0);
  daemon_ = Daemon::Start(flags, kProgram, Environment(due_));
  if (daemon_ == nullptr) return absl::InternalError("no daemon");
  ACCRUE_ASSIGN_OR_RETURN(
      trial_,
      Trial::Create({.seed = options_.seed,
                     .workers = options_.workers,
                     .elements_per_worker = std::min(200 + 20 * options_.kills,
                                                     kMaxElementsPerWorker),
                     .size = options_.size,
                     .durability = options_.durability,
                     .target = daemon_->uds(),
                     .client = ImpatientClient()}));
  trial_->Start();
  return absl::OkStatus();
}

absl::Status CrashLoop::KillOnce(int64_t number) {
  if (!due_.has_value() && random_() % kQuietOneIn == 0) {
    ACCRUE_RETURN_IF_ERROR(KillQuietly());
  }
  ACCRUE_RETURN_IF_ERROR(AwaitAcks());
  if (random_() % kCheckpointOneIn == 0) ACCRUE_RETURN_IF_ERROR(Checkpoint());
  if (due_.has_value()) {
    daemon_->Signal(SIGUSR1);
    ACCRUE_ASSIGN_OR_RETURN(const bool reached, AwaitFailPoint());
    if (reached) ++result_.fail_points[*due_];
  }
  daemon_->Kill();
  NoteKill(result_.kills);
  return ComeBack(NextFailPoint(number + 1));
}

absl::Status CrashLoop::KillQuietly() {
  ACCRUE_RETURN_IF_ERROR(AwaitAcks());
  if (trial_->broken()) return absl::OkStatus();
  trial_->Stop();
  daemon_->Kill();
  NoteKill(result_.quiet_kills);
  ACCRUE_RETURN_IF_ERROR(ComeBack(due_));
  trial_->Start();
  return absl::OkStatus();
}

// The fail point of this life stays for the next one.
absl::Status CrashLoop::EndInOrder() {
  ACCRUE_RETURN_IF_ERROR(AwaitAcks());
  const auto exit = daemon_->Terminate(kPatience);
  if (exit != 0) {
    return absl::InternalError(absl::StrCat("no end in order: ", Log()));
  }
  in_order_ = true;
  ++result_.orderly_ends;
  return ComeBack(due_);
}

absl::Status CrashLoop::AwaitAcks() {
  const int64_t acks =
      kAcksBetween +
      static_cast<int64_t>(random_() % (kMostAcksBetween - kAcksBetween));
  const int64_t last = trial_->acknowledged() + acks;
  if (trial_->AwaitAcknowledged(last, kPatience) || trial_->broken()) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat("nothing moves: ", Log()));
}

absl::Status CrashLoop::Checkpoint() {
  ACCRUE_ASSIGN_OR_RETURN(
      const client::Client client,
      client::Client::Connect(daemon_->uds(), ImpatientClient()));
  for (const TrialModel* trial_model :
       {&trial_->replayed(), &trial_->one_hot()}) {
    const std::string& name = trial_model->subject.spec.name;
    ACCRUE_ASSIGN_OR_RETURN(const client::Model model, client.OpenModel(name));
    ACCRUE_ASSIGN_OR_RETURN(kept_[name], model.Describe());
    ACCRUE_RETURN_IF_ERROR(model.Checkpoint().status());
    ++result_.checkpoints;
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> CrashLoop::AwaitFailPoint() {
  const int64_t last = trial_->acknowledged() + kAcksToFailPoint;
  const absl::Time deadline = absl::Now() + kPatience;
  while (trial_->acknowledged() < last && !trial_->broken() &&
         absl::Now() < deadline) {
    const auto exit = daemon_->AwaitExit(absl::Milliseconds(10));
    if (!exit.has_value()) continue;
    if (exit == kFailPointExit) return true;
    return absl::InternalError(
        absl::StrCat("the daemon has ended with ", *exit, ": ", Log()));
  }
  return false;
}

absl::Status CrashLoop::ComeBack(std::optional<FailPoint> next) {
  MayCutPower();
  ACCRUE_RETURN_IF_ERROR(trial_->KeepStored(data_dir_));
  return Restart(next);
}

absl::Status CrashLoop::Restart(std::optional<FailPoint> next) {
  due_ = next;
  bool listens = daemon_->Restart(Environment(due_));
  if (!listens && due_ == FailPoint::kRecoveryHalfReplayed &&
      daemon_->AwaitExit() == kFailPointExit) {
    ++result_.fail_points[*due_];
    ++result_.restarts_killed;
    MayCutPower();
    listens = daemon_->Restart(Environment(std::nullopt));
  }
  // It is there only while the daemon restarts.
  if (due_ == FailPoint::kRecoveryHalfReplayed) due_.reset();
  if (!listens) {
    return absl::InternalError(
        absl::StrCat("the daemon does not come back: ", Log()));
  }
  acks_at_start_ = trial_->acknowledged();
  return NoteRollbacks();
}

void CrashLoop::NoteKill(int64_t& kills) {
  const int64_t acks = trial_->acknowledged() - acks_at_start_;
  const bool first = result_.kills + result_.quiet_kills == 0;
  if (first || acks < result_.least_acks) result_.least_acks = acks;
  ++kills;
}

void CrashLoop::MayCutPower() {
  if (random_() % 3 != 0) return;
  ForgetfulFiles::CutPower(shadow_, random_());
  ++result_.power_cuts;
  power_cut_ = true;
}

absl::Status CrashLoop::NoteRollbacks() {
  ACCRUE_RETURN_IF_ERROR(NoteRollback(trial_->replayed(), rollbacks_.replayed));
  ACCRUE_RETURN_IF_ERROR(NoteRollback(trial_->one_hot(), rollbacks_.one_hot));
  power_cut_ = in_order_ = false;
  kept_.clear();
  return absl::OkStatus();
}

absl::Status CrashLoop::NoteRollback(const TrialModel& model,
                                     std::vector<Rollback>& rollbacks) {
  const std::string& name = model.subject.spec.name;
  const std::vector<Rollback> all = ReadRollbacks(Log(), name);
  if (all.size() == rollbacks.size()) return absl::OkStatus();
  rollbacks.insert(rollbacks.end(),
                   all.begin() + static_cast<ptrdiff_t>(rollbacks.size()),
                   all.end());
  ACCRUE_RETURN_IF_ERROR(CheckKept(name, rollbacks.back()));
  ACCRUE_ASSIGN_OR_RETURN(
      const client::Client client,
      client::Client::Connect(daemon_->uds(), ImpatientClient()));
  ACCRUE_ASSIGN_OR_RETURN(const client::ModelDescription description,
                          client.Describe(name));
  Rollback& last = rollbacks.back();
  last.next = description.version->lineage;
  // Only then may it say that it is not sure.
  last.power_cut = last.power_cut && power_cut_;
  if (description.lost_pushes == last.lost &&
      description.restored_folded_pushes == last.t) {
    return absl::OkStatus();
  }
  return absl::InternalError(absl::StrCat(
      "the log speaks of t=", last.t, " and ", last.lost,
      " lost pushes, the model of t=", description.restored_folded_pushes,
      " and ", description.lost_pushes));
}

absl::Status CrashLoop::CheckKept(const std::string& model,
                                  const Rollback& rollback) const {
  if (in_order_) {
    return absl::InternalError(
        absl::StrCat("lost after an end in order: ", Log()));
  }
  const auto kept = kept_.find(model);
  if (kept == kept_.end() ||
      (rollback.lineage == kept->second.version->lineage &&
       rollback.t >= kept->second.folded_pushes)) {
    return absl::OkStatus();
  }
  return absl::InternalError(
      absl::StrCat("lost behind a checkpoint that was asked for: ", Log()));
}

std::vector<std::string> CrashLoop::Environment(
    std::optional<FailPoint> point) {
  std::vector<std::string> environment = {ShadowVariable(shadow_)};
  if (point.has_value()) {
    // Those of checkpoints are rare.
    const bool rare = *point >= FailPoint::kJournalSegmentCreated;
    environment.push_back(FailPointVariable(
        *point, rare ? 1 : 1 + static_cast<int64_t>(random_() % kMaxReached)));
  }
  if (options_.mistake.has_value()) {
    environment.push_back(
        FailPointVariable(*options_.mistake, options_.mistake_every));
  }
  return environment;
}

std::optional<FailPoint> CrashLoop::NextFailPoint(int64_t number) const {
  if (number % 2 == 0) return std::nullopt;
  return fail_points_[static_cast<size_t>(number / 2) % fail_points_.size()];
}

std::string CrashLoop::description() const {
  return trial_ == nullptr ? "" : trial_->description();
}

std::string CrashLoop::History() const {
  std::string lines;
  if (trial_ == nullptr) return lines;
  for (const TrialModel* model : {&trial_->replayed(), &trial_->one_hot()}) {
    absl::StrAppend(&lines, model->subject.spec.name, "\n");
    for (const PushRecord& push : model->history.pushes()) {
      absl::StrAppend(&lines, Describe(push), "\n");
    }
  }
  return lines;
}

std::string CrashLoop::Log() const {
  return daemon_ == nullptr ? "" : daemon_->Log();
}

}  // namespace accrue::faults
