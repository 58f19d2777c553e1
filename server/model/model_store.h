// ModelStore: the models of one server, by name.
//
// Order.     Create works on the pool; the others take a short lock, which is
//            not held while a model's memory is allocated. Until it has that, a
//            model is not there; requests for its name wait for it, and then
//            find it, or try themselves.
// Errors.    NOT_FOUND kModelUnknown; ALREADY_EXISTS kModelExists: another
//            spec; RESOURCE_EXHAUSTED kLimit, kStateMemory, kDeviceMemory;
//            FAILED_PRECONDITION kNoDataDirectory; UNAVAILABLE
//            kCheckpointFailed: it cannot be stored, or removed; what Miss was
//            told, DATA_LOSS kDamaged above all.
// Threading. safe.
#ifndef ACCRUE_SERVER_MODEL_MODEL_STORE_H_
#define ACCRUE_SERVER_MODEL_MODEL_STORE_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/base/mutex.h"
#include "server/model/model.h"
#include "server/model/model_keeper.h"

namespace accrue {

class ModelStore {
 public:
  struct Options {
    ModelEnvironment environment;
    SpecLimits limits;
    int64_t max_models = 1000;
    // Bound on moments, buffers, gathered pushes and max_publications
    // publications of all models together (--state_memory); with the encoded
    // copies of those that were ever pulled in that encoding. What lies in a
    // device's own memory does not count.
    int64_t state_memory_bytes = int64_t{1} << 62;
    // Null: nothing is kept, and no model can be journaled. Outlives it.
    ModelKeeper* keeper = nullptr;
  };
  explicit ModelStore(Options options);

  struct Created {
    std::shared_ptr<Model> model;
    bool created = false;  // false: it was there, with the same spec
  };
  using CreateDone = std::function<void(absl::StatusOr<Created>)>;
  void Create(ModelSpec spec, CreateDone done);
  // What Create would find: the model of that name and spec, or why there can
  // be none; null: it would make one.
  absl::StatusOr<std::shared_ptr<Model>> FindSame(ModelSpec spec) const;
  absl::StatusOr<std::shared_ptr<Model>> Find(const std::string& name) const;
  // A model that was found on the disk: made, but not there until it is
  // adopted. UNAVAILABLE kDraining, both: a drain would not wait for it.
  absl::StatusOr<std::shared_ptr<Model>> MakeAgain(const ModelSpec& spec);
  absl::Status Adopt(const std::shared_ptr<Model>& model);
  // What is stored of a model cannot be used: whoever asks for it is told why,
  // which is not NOT_FOUND. It may be deleted.
  void Miss(const std::string& name, absl::Status why);
  struct Listed {
    std::string name;
    absl::StatusOr<std::shared_ptr<Model>> model;  // or what Miss was told
  };
  // By name, those after `after` (empty: from the start), at most `limit`.
  std::vector<Listed> List(const std::string& after, int64_t limit) const;
  // What it had reserved is given back with its memory: when its last pass has
  // ended, and whoever else still holds it, or reads a publication, lets go.
  // UNAVAILABLE: nothing has changed; or its end is not durable, then it is
  // missing until it is deleted again.
  absl::Status Delete(const std::string& name);

  // Bytes of state and of all publications that the models may come to hold,
  // and of what a lost GPU does not give back of former ones.
  int64_t reserved_state_bytes() const { return budget_->reserved_bytes(); }

  // No new pushes (UNAVAILABLE DRAINING); `done` once all complete ones are
  // folded, and no pass is running, of deleted models either, and none is being
  // made. Reads go on.
  void Drain(std::function<void()> done);
  // And before it `each`, for every model as soon as its own are folded,
  // whatever keeps the others: in a step of its executor.
  using Drained = std::function<void(const std::string& name)>;
  void Drain(const Drained& each, std::function<void()> done);
  bool draining() const;

 private:
  void CreateNow(const ModelSpec& spec, const CreateDone& done)
      ACCRUE_EXCLUDES(mu_);
  // The model of that name, which has to have the same spec; or null.
  absl::StatusOr<std::shared_ptr<Model>> FindFilled(const ModelSpec& spec) const
      ACCRUE_REQUIRES(mu_);
  // That; null: now the caller is making it.
  absl::StatusOr<std::shared_ptr<Model>> FindOrBegin(const ModelSpec& spec)
      ACCRUE_REQUIRES(mu_);
  absl::StatusOr<std::shared_ptr<Model>> Make(const ModelSpec& spec);
  // It is there no more: it is missing.
  void Remove(const std::string& name) ACCRUE_EXCLUDES(mu_);
  absl::StatusOr<Created> Publish(const ModelSpec& spec,
                                  absl::StatusOr<std::shared_ptr<Model>> made)
      ACCRUE_EXCLUDES(mu_);
  // Of one that nobody was told of.
  void Unkeep(const std::string& name) ACCRUE_EXCLUDES(mu_);

  bool IsHalfDeleted(const std::string& name) const ACCRUE_EXCLUDES(mu_);

  const std::shared_ptr<StateBudget> budget_;
  const Options options_;
  const WorkPool::Lane lane_;
  // While a model goes, so that nobody takes the next one of its name for it;
  // before the other.
  Mutex deleting_;
  mutable Mutex mu_;
  std::map<std::string, std::shared_ptr<Model>> models_ ACCRUE_GUARDED_BY(mu_);
  // Names of models that are being made, and what waits for the end of that.
  std::map<std::string, std::vector<std::function<void()>>> making_
      ACCRUE_GUARDED_BY(mu_);
  std::map<std::string, absl::Status> missing_ ACCRUE_GUARDED_BY(mu_);
  // Of models that are no more, but whose files may still be there.
  std::set<std::string> half_deleted_ ACCRUE_GUARDED_BY(mu_);
  // Those whose last pass may still be running.
  std::vector<std::weak_ptr<Model>> deleted_ ACCRUE_GUARDED_BY(mu_);
  bool draining_ ACCRUE_GUARDED_BY(mu_) = false;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_MODEL_STORE_H_
