// ModelArrays: which arrays a model keeps in its shard, as they are stored.
#ifndef ACCRUE_SERVER_MODEL_MODEL_ARRAYS_H_
#define ACCRUE_SERVER_MODEL_MODEL_ARRAYS_H_

#include <vector>

#include "server/kernels/shard.h"
#include "server/model/spec.h"
#include "server/model/training_state.h"
#include "server/rule/coefficients.h"

namespace accrue {

// Moments, and a buffer.
inline std::vector<StateArray> ShardArrays(const ModelSpec& spec) {
  std::vector<StateArray> arrays = {StateArray::kMomentum};
  if (rule::HasSecondMoment(spec.optimizer.optimizer)) {
    arrays.push_back(StateArray::kVariance);
  }
  if (spec.optimizer.buffering == rule::Buffering::kClassic) {
    arrays.push_back(StateArray::kAccumulation);
  }
  return arrays;
}

// Of one that ShardArrays lists.
inline kernels::Shard::Array ShardArray(StateArray array) {
  switch (array) {
    case StateArray::kVariance:
      return kernels::Shard::Array::kVariance;
    case StateArray::kAccumulation:
      return kernels::Shard::Array::kAccumulation;
    default:
      return kernels::Shard::Array::kMomentum;
  }
}

}  // namespace accrue

#endif  // ACCRUE_SERVER_MODEL_MODEL_ARRAYS_H_
