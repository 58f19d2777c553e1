// SessionTable: a model's sessions; what makes its pushes exactly-once.
//
// Invariant. one live session a worker name; last_sequence, its outcome and
//            its payload's hash change together, in the step that folds. What a
//            worker has pushed toward a version is counted by its name: neither
//            a new session nor the end of one changes it.
// Errors.    NOT_FOUND kSessionUnknown; ABORTED kSessionFenced;
//            RESOURCE_EXHAUSTED kLimit; INVALID_ARGUMENT: a name, an opening.
//            Nothing has changed then.
// Threading. compatible (lock outside).
#ifndef ACCRUE_SERVER_MODEL_SESSION_TABLE_H_
#define ACCRUE_SERVER_MODEL_SESSION_TABLE_H_

#include <cstdint>
#include <deque>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/model/push.h"

namespace accrue {

struct Session {
  std::string id;
  std::string worker;
  // What its client drew to open it with, and asks with again where no answer
  // has come. In no journal: where a process has ended, so have its calls.
  std::string opening = {};
  int64_t last_sequence = 0;
  std::optional<PushOutcome> last_outcome;
  uint64_t last_hash = 0;
  absl::Time last_active;
};

// The most that a model of so many groups may have, whatever --max_sessions is:
// each has its last push's outcome, group by group, and a checkpoint's manifest
// has room for about a million of those. 61,680 of one group, 10,000 of 88. One
// that gathers may have half as many: MostHeldPushes has the other half.
int64_t MostSessions(int64_t group_count);
// Of those that others have taken over so many are remembered, the newest.
inline constexpr size_t kMaxFenced = 10'000;

class SessionTable {
 public:
  SessionTable(std::string model, int64_t max_sessions)
      : model_(std::move(model)), max_sessions_(max_sessions) {}

  // Whether a session of `worker` may begin: null. Or the one that was begun
  // with `opening`, if that is not empty.
  absl::StatusOr<Session*> CheckOpen(const std::string& worker,
                                     const std::string& opening) const;
  struct Opened {
    Session* session = nullptr;
    std::string fenced_id;  // of the session that it replaced, if any
  };
  // Of a worker that was checked, under an id that is not in use.
  Opened Open(const std::string& worker, const std::string& id, absl::Time now);
  // Goes on with a session that there is.
  absl::StatusOr<Session*> Resume(const std::string& worker,
                                  const std::string& id, absl::Time now);

  absl::StatusOr<Session*> Find(const std::string& id);
  bool Close(const std::string& id);
  // All of them are active.
  void Touch(absl::Time now);
  // Ids of those that were last active before `deadline`.
  std::vector<std::string> IdleSince(absl::Time deadline) const;

  // Pushes of a worker toward the version after `version`. Counting toward
  // another version than before forgets the counts of that one.
  void CountPushes(const std::string& worker, int64_t version, int64_t pushes);
  int64_t PushesAfter(int64_t version, const std::string& worker) const;
  // Versions are about to be counted anew.
  void ForgetPushes() { counted_version_ = -1; }
  std::map<std::string, int64_t> PushesAfter(int64_t version) const;
  int64_t WorkersAfter(int64_t version) const {
    return counted_version_ == version ? std::ssize(pushes_) : 0;
  }

  // Ids that are fenced, in their order.
  std::vector<std::string> fenced() const {
    return {fenced_order_.begin(), fenced_order_.end()};
  }
  void Fence(const std::string& id);

  int64_t size() const { return static_cast<int64_t>(by_worker_.size()); }
  // By worker name.
  const std::map<std::string, std::unique_ptr<Session>>& by_worker() const {
    return by_worker_;
  }

 private:
  const std::string model_;
  const int64_t max_sessions_;
  std::map<std::string, std::unique_ptr<Session>> by_worker_;
  absl::flat_hash_map<std::string, Session*> by_id_;
  // Ids that another client took over, so that their owners learn why; the
  // oldest are forgotten and then merely unknown.
  absl::flat_hash_set<std::string> fenced_;
  std::deque<std::string> fenced_order_;
  int64_t counted_version_ = -1;
  absl::flat_hash_map<std::string, int64_t> pushes_;  // by worker
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_SESSION_TABLE_H_
