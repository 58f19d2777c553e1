// LocalAccumulation: adds up gradients of several micro-batches on the worker,
// and pushes their mean once.
//
//   LocalAccumulation sum(model.parameter_count());
//   for (const Batch& batch : four_batches) {
//     sum.Add(Gradient(batch), Loss(batch));
//   }
//   absl::StatusOr<PushResult> pushed = sum.PushTo(*worker);
//
// To the model it is as many pushes (PushOptions.micro_steps), which has to
// divide its k and be the same for all pushes of a cycle; on the wire it is
// one.
//
// Numerics.  the gradients are added in single precision, in the order of
//            Add(); the daemon divides the sum by their number
//            (PushOptions.scale).
// Memory.    4 bytes a parameter
// Threading. compatible

#ifndef ACCRUE_CLIENT_LOCAL_ACCUMULATION_H_
#define ACCRUE_CLIENT_LOCAL_ACCUMULATION_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "accrue/payload.h"
#include "accrue/worker.h"

namespace accrue::client {

class LocalAccumulation {
 public:
  // Of a model of so many parameters.
  explicit LocalAccumulation(int64_t parameter_count);

  // One more gradient. INVALID_ARGUMENT: it is not the model's, in floats;
  // nothing was added.
  absl::Status Add(const Payload& gradient, std::optional<double> loss = {});

  // Gradients added so far.
  int64_t count() const { return count_; }

  // Pushes their mean, as Worker::Push() does, and begins anew, also if it was
  // refused, or if nobody can know whether it was folded (UNKNOWN). Of the
  // options, micro_steps and scale are those of each gradient; the loss, if
  // none is given, is the mean of those that were added. After another error
  // the sum is still there: push it again, or Clear() it. While the worker is
  // in doubt, Settle() first: only if it says that nothing was folded may the
  // sum be pushed again. FAILED_PRECONDITION: nothing was added.
  absl::StatusOr<PushResult> PushTo(Worker& worker, PushOptions options = {});

  void Clear();

 private:
  // Adds to what `sum` points to, and returns where it ends.
  float* AddFloats(const std::byte* floats, size_t count, float* sum) const;

  std::vector<float> sum_;
  int64_t count_ = 0;
  double loss_sum_ = 0;
  int64_t loss_count_ = 0;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_LOCAL_ACCUMULATION_H_
