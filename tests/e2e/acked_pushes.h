// AckedPushes: what one worker pushes to a model, and which of it the daemon
// has acknowledged. However disks fail, the model holds the acknowledged
// gradients, each once, and no other.
//
// Every attempt is a gradient of its own: a refused one that was folded all the
// same would show, in the parameters or as SEQUENCE_REUSED.
//
// Errors.    what a test does not expect to fail is reported as its failure
// Threading. compatible
#ifndef ACCRUE_TESTS_E2E_ACKED_PUSHES_H_
#define ACCRUE_TESTS_E2E_ACKED_PUSHES_H_

#include <cstdint>
#include <memory>
#include <string>
#include <sys/types.h>
#include <vector>

#include "tests/e2e/daemon.h"
#include "tests/e2e/wire.h"

namespace accrue {

class AckedPushes {
 public:
  static constexpr int64_t kElems = 10'000;  // 40 kB, more than a page

  // Makes the model, of cycles of two pushes.
  AckedPushes(const Daemon& daemon, const std::string& model,
              v1::Durability durability,
              v1::Buffering buffering = v1::BUFFERING_EMBEDDED);

  // After a restart or a restore: resumes the session, or opens another where
  // that is gone.
  void Resume();
  Ending Push();
  void PushAll(int count);  // none is refused
  // Until one is refused: how that ended.
  Ending PushUntilRefused();
  // What is acknowledged so far; then: it was taken back to so many.
  int64_t count() const { return static_cast<int64_t>(acked_.size()); }
  void TakeBackTo(int64_t count);

  // The model is that of the acknowledged pushes alone.
  void ExpectHolds();

  Ending Checkpoint(std::string* name = nullptr);
  // `checkpoint` empty: the newest.
  Ending Restore(const std::string& checkpoint = "");
  // Newest first.
  std::vector<std::string> Checkpoints();
  // GetModel, and how it ended.
  Ending Describe();

  // To the process that runs.
  Wire& wire();
  const std::string& model() const { return spec_.name(); }

 private:
  const Daemon& daemon_;
  const v1::ModelSpec spec_;
  std::unique_ptr<Wire> wire_;
  pid_t connected_ = -1;  // wire_'s
  std::string session_;
  int64_t sequence_ = 0;  // the last that was acknowledged
  int64_t attempts_ = 0;
  std::vector<std::vector<float>> acked_;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_ACKED_PUSHES_H_
