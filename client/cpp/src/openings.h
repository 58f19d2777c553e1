// Openings: what new sessions are asked for with (`opening` of
// proto/accrue/v1/worker_service.proto), as long as no answer has come.
//
// The daemon may see a call that was given up after the next one. Whoever opens
// a session of the same worker next, in this Client, therefore names the same
// opening, and either call gets the other's session; where two were given up,
// that of one of them.
//
// Invariant. two calls at the same time never have the same: they are for two
//            workers, of which the later takes the name over.
// Threading. safe

#ifndef ACCRUE_CLIENT_CPP_SRC_OPENINGS_H_
#define ACCRUE_CLIENT_CPP_SRC_OPENINGS_H_

#include <map>
#include <string>
#include <utility>

#include "server/base/mutex.h"

namespace accrue::client::internal {

class Openings {
 public:
  struct Of {
    std::string model;
    std::string worker;
    auto operator<=>(const Of&) const = default;
  };

  // One that was put back, or a fresh one.
  std::string Take(const Of& of);
  // It was not answered.
  void PutBack(const Of& of, std::string opening);

 private:
  Mutex mutex_;
  std::map<Of, std::string> unanswered_ ACCRUE_GUARDED_BY(mutex_);
};

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_OPENINGS_H_
