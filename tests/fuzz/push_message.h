// PushMessage: what a worker may send in a push, right but for what the input
// changes: a header, and a payload in messages.
#ifndef ACCRUE_TESTS_FUZZ_PUSH_MESSAGE_H_
#define ACCRUE_TESTS_FUZZ_PUSH_MESSAGE_H_

#include <cstdint>
#include <string>
#include <vector>

#include <fuzzer/FuzzedDataProvider.h>

#include "accrue/v1/worker_service.pb.h"
#include "server/kernels/encoding.h"
#include "server/model/version.h"
#include "tests/fuzz/push_call.h"

namespace accrue::fuzz {

// What would be right.
struct PushFactsNow {
  std::string model;
  std::string session_id;
  int64_t sequence = 1;
  Version version;
  int64_t elems = 0;
};

// A payload in an encoding that the input chooses: values from -8 to 8, or any
// bytes of the right size.
struct Payload {
  kernels::Encoding encoding = kernels::Encoding::kF32;
  std::string bytes;
};
Payload MakePayload(FuzzedDataProvider& in, int64_t elems);

v1::PushHeader MakePushHeader(FuzzedDataProvider& in, const PushFactsNow& now,
                              const Payload& payload);

// All of a push, and its end.
std::vector<Arriving> MakePush(FuzzedDataProvider& in, const PushFactsNow& now);

// Whether an element that the payload stands for is a NaN or an infinity. Of
// a payload without a flaw.
bool IsFinite(const Payload& payload, int64_t elems);

}  // namespace accrue::fuzz

#endif  // ACCRUE_TESTS_FUZZ_PUSH_MESSAGE_H_
