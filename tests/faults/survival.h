// Survival: which of the pushes that were acknowledged a model should still
// hold, after restarts that went back to a checkpoint and said so.
//
// A history of the model is a chain of segments: each of one lineage, from one
// t to another, where the next lineage goes on.
//
// Threading. compatible
#ifndef ACCRUE_TESTS_FAULTS_SURVIVAL_H_
#define ACCRUE_TESTS_FAULTS_SURVIVAL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "tests/faults/history.h"
#include "tests/faults/subject.h"

namespace accrue::faults {

// What a daemon said of a restart that lost pushes; micro-steps counted.
struct Rollback {
  std::string lineage;  // of the state that it went back to
  int64_t t = 0;        // pushes folded in it
  int64_t version = 0;  // its number
  // Pushes that had been folded after it, and acknowledged but for what was on
  // its way; after a power cut, those of which the disk still knew, and 0 if it
  // did not.
  int64_t lost = 0;
  bool power_cut = false;  // and it said that there may be more
  std::string next;        // the lineage that goes on from there
};

struct Survivors {
  // Acknowledged, and to be found in the model; by t.
  std::vector<PushRecord> pushes;
  // The chain's lineages, oldest first, and where each ends; the last one is
  // open.
  struct Segment {
    std::string lineage;
    int64_t last_t = 0;
    int64_t last_version = 0;
  };
  std::vector<Segment> chain;
  // What was acknowledged and rolled back beyond what was said; micro-steps
  // counted.
  int64_t unreported = 0;
  // Rollbacks that said more than can have been lost: than was acknowledged,
  // and may have been folded without an answer, in what they took back. Under
  // JOURNAL each, whatever it said: there a restart keeps the lineage.
  std::vector<std::string> complaints;

  // Whether the model may hold a push that was not acknowledged: since nobody
  // knows, or since it was refused because its lineage had ended, which says
  // nothing of what an earlier attempt had done.
  bool MayHold(const PushRecord& push) const;
};

Survivors FindSurvivors(const std::vector<PushRecord>& pushes,
                        const Subject& subject,
                        const std::vector<Rollback>& rollbacks);

}  // namespace accrue::faults

#endif  // ACCRUE_TESTS_FAULTS_SURVIVAL_H_
