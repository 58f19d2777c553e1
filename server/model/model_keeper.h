// ModelKeeper: where models stay when the process goes. Implemented by
// durability/.
#ifndef ACCRUE_SERVER_MODEL_MODEL_KEEPER_H_
#define ACCRUE_SERVER_MODEL_MODEL_KEEPER_H_

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/model/commit_log.h"

namespace accrue {

class Model;

// Order.     blocks for as long as the disk does.
// Errors.    UNAVAILABLE kCheckpointFailed: the disk's; nothing has changed,
//            but as Erase says.
// Threading. safe; one call a name at a time.
class ModelKeeper {
 public:
  virtual ~ModelKeeper() = default;
  // A restart will find the new model, without parameters for now. Returns what
  // it is to be attached to.
  virtual absl::StatusOr<std::shared_ptr<CommitLog>> Keep(
      const std::shared_ptr<Model>& model) = 0;
  // Its end: what its log is given from now on fails. OK if there is none of
  // that name.
  virtual absl::Status Forget(const std::string& name) = 0;
  // Of a forgotten one: a restart will not find it. Not OK: it may, after a
  // power cut, and another call may be made.
  virtual absl::Status Erase(const std::string& name) = 0;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_MODEL_KEEPER_H_
