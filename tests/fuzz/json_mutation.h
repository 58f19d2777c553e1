// JsonMutation: JSON that is still JSON, but with another value in it, or with
// a member more or less.
#ifndef ACCRUE_TESTS_FUZZ_JSON_MUTATION_H_
#define ACCRUE_TESTS_FUZZ_JSON_MUTATION_H_

#include <cstdint>
#include <string>

namespace accrue::fuzz {

// Of an object's text. A value is replaced by something like it or by something
// else. Empty: it is no object.
std::string MutateJson(const std::string& text, uint32_t seed);

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_JSON_MUTATION_H_
