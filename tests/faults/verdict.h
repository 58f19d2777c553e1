// Verdict: how far a model is from what its workers were promised.
#ifndef ACCRUE_TESTS_FAULTS_VERDICT_H_
#define ACCRUE_TESTS_FAULTS_VERDICT_H_

#include <cstdint>
#include <string>
#include <vector>

namespace accrue::faults {

struct Verdict {
  int64_t acked = 0;       // pushes that were acknowledged
  int64_t duplicates = 0;  // of these, those that were answered as such
  int64_t unknown = 0;     // pushes of which nobody was told whether they were
  int64_t lost = 0;  // of the acknowledged, those that the model does not hold
  // Of these, those of which nobody said so.
  int64_t unreported = 0;
  int64_t twice = 0;  // folds too many
  int64_t mismatched_bytes = 0;
  // States whose moments were compared bit for bit, that of the end among them.
  int64_t moments_compared = 0;
  // What else is wrong, and more about the above.
  std::vector<std::string> complaints = {};

  Verdict& operator+=(const Verdict& other) {
    acked += other.acked;
    duplicates += other.duplicates;
    unknown += other.unknown;
    lost += other.lost;
    unreported += other.unreported;
    twice += other.twice;
    mismatched_bytes += other.mismatched_bytes;
    moments_compared += other.moments_compared;
    complaints.insert(complaints.end(), other.complaints.begin(),
                      other.complaints.end());
    return *this;
  }
};

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_VERDICT_H_
