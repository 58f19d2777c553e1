// Samples: a spec and a state in which no field is what it would be anyway.
#ifndef ACCRUE_TESTS_DURABILITY_SAMPLES_H_
#define ACCRUE_TESTS_DURABILITY_SAMPLES_H_

#include "server/model/spec.h"
#include "server/model/training_state.h"

namespace accrue {

// Three tensors in two groups, which take turns in the flat vector; valid.
ModelSpec SampleSpec();

// The same, where pushes are held; valid.
ModelSpec GatheringSpec();

// Of such a spec, or of another with as many groups; valid. Nothing is held.
TrainingState SampleState();

}  // namespace accrue

#endif  // ACCRUE_TESTS_DURABILITY_SAMPLES_H_
