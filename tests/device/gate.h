// Gate: where calls wait while a test keeps it closed, as they do in a driver
// that takes its time.
//
// Threading. safe. It must be open when those who may wait are waited for.
#ifndef ACCRUE_TESTS_DEVICE_GATE_H_
#define ACCRUE_TESTS_DEVICE_GATE_H_

#include "server/base/mutex.h"

namespace accrue {

class Gate {
 public:
  void Close() {
    MutexLock lock(&mu_);
    closed_ = true;
  }
  void Open() {
    MutexLock lock(&mu_);
    closed_ = false;
    changed_.SignalAll();
  }
  // Returns when somebody waits.
  void AwaitCaller() {
    MutexLock lock(&mu_);
    while (waiting_ == 0) changed_.Wait(&mu_);
  }

  // The caller's: returns once it is open.
  void Pass() {
    MutexLock lock(&mu_);
    ++waiting_;
    changed_.SignalAll();
    while (closed_) changed_.Wait(&mu_);
    --waiting_;
  }

 private:
  Mutex mu_;
  CondVar changed_;
  bool closed_ ACCRUE_GUARDED_BY(mu_) = false;
  int waiting_ ACCRUE_GUARDED_BY(mu_) = 0;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_DEVICE_GATE_H_
