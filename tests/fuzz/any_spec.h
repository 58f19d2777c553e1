// AnySpec: a model's spec as a client may send it, one that can be but for what
// the input changes.
#ifndef ACCRUE_TESTS_FUZZ_ANY_SPEC_H_
#define ACCRUE_TESTS_FUZZ_ANY_SPEC_H_

#include <fuzzer/FuzzedDataProvider.h>

#include "accrue/v1/model.pb.h"
#include "accrue/v1/model_service.pb.h"
#include "server/rule/rule_spec.h"

namespace accrue::fuzz {

v1::ModelSpec AnySpec(FuzzedDataProvider& in);

v1::Hyperparameters AnyHyperparameters(FuzzedDataProvider& in);

// Initializers for a model's first parameters.
v1::InitializeModelHeader AnyInitialization(FuzzedDataProvider& in,
                                            const v1::ModelSpec& spec);

// Whether 100 updates with these, of gradients that may be folded, cannot leave
// the range of a float: those of the optimizers that divide by a moment are not
// divided by next to nothing, and nothing grows by more than a tenth at a step.
bool IsTame(const rule::RuleSpec& rule);

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_ANY_SPEC_H_
