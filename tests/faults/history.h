// History: what the workers of a run have sent to one model and were answered,
// kept where no fault of the daemon reaches it.
//
// Threading. safe
#ifndef ACCRUE_TESTS_FAULTS_HISTORY_H_
#define ACCRUE_TESTS_FAULTS_HISTORY_H_

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "accrue/error.h"
#include "accrue/spec.h"
#include "accrue/version.h"
#include "server/base/mutex.h"

namespace accrue::faults {

struct PushRecord {
  // What was sent. A Gradient of `seed`; if it is one-hot, that is the element.
  std::string worker = {};
  std::string session = {};
  int64_t sequence = 0;
  client::Version from = {};
  uint64_t seed = 0;
  client::Encoding encoding = client::Encoding::kF32;
  int64_t micro_steps = 1;
  double weight = 1;
  double scale = 1;

  // What became of it.
  enum class Outcome {
    kAcknowledged,
    kRefused,  // or known not to be folded
    kUnknown,  // nobody waited for the answer
  };
  Outcome outcome = Outcome::kUnknown;
  // Of kRefused.
  client::Reason reason = client::Reason::kUnspecified;
  // Of kAcknowledged.
  int64_t t = 0;
  client::Version version = {};
  bool published = false;
  bool duplicate = false;
};

// (lineage, number).
using VersionKey = std::pair<std::string, int64_t>;
inline VersionKey KeyOf(const client::Version& version) {
  return {version.lineage, version.number};
}

// One line, for whoever looks for the reason of a failure.
std::string Describe(const PushRecord& push);

class History {
 public:
  void Add(PushRecord push);
  // What somebody pulled. Whoever pulls a version gets the same bits.
  void AddPull(const client::Version& version, std::vector<float> values);
  // Somebody asked to close the cycles that are open after this version.
  void AddClose(const client::Version& from);
  // Something that no worker should have seen.
  void Complain(std::string what);

  // In the order of each worker.
  std::vector<PushRecord> pushes() const;
  std::map<VersionKey, std::vector<float>> pulls() const;
  std::set<VersionKey> closes() const;
  std::vector<std::string> complaints() const;

  int64_t acknowledged() const;
  int64_t duplicates() const;  // of these, answered as such
  int64_t unknown() const;

 private:
  mutable Mutex mutex_;
  std::vector<PushRecord> pushes_ ACCRUE_GUARDED_BY(mutex_);
  std::map<VersionKey, std::vector<float>> pulls_ ACCRUE_GUARDED_BY(mutex_);
  std::set<VersionKey> closes_ ACCRUE_GUARDED_BY(mutex_);
  std::vector<std::string> complaints_ ACCRUE_GUARDED_BY(mutex_);
  int64_t acknowledged_ ACCRUE_GUARDED_BY(mutex_) = 0;
  int64_t duplicates_ ACCRUE_GUARDED_BY(mutex_) = 0;
  int64_t unknown_ ACCRUE_GUARDED_BY(mutex_) = 0;
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_HISTORY_H_
