// FieldCount: how many entries an encoded message has in its repeated fields,
// looked at before it is parsed: parsed, an entry of two bytes can take a
// hundred.
//
// Entries are messages or strings: a number takes no more than eight times its
// bytes. Fields that a message does not have count as if they were one more,
// since they are kept as well.

#ifndef ACCRUE_SERVER_SERVICE_FIELD_COUNT_H_
#define ACCRUE_SERVER_SERVICE_FIELD_COUNT_H_

#include <cstdint>

#include <google/protobuf/descriptor.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "server/model/spec.h"

namespace accrue {

// INVALID_ARGUMENT kInvalidSpec: more than there may be.
absl::Status CheckCount(absl::string_view field, int64_t count, int64_t limit);

// That of every repeated field of an encoded message, at any depth. No message
// has more than something for every tensor.
// Errors.    as CheckCount; INVALID_ARGUMENT: a group, which no message has.
//            Bytes that are no message pass: parsing tells that
absl::Status CheckFieldCounts(absl::string_view bytes,
                              const google::protobuf::Descriptor& message,
                              int64_t limit = SpecLimits().max_tensors);

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_FIELD_COUNT_H_
