// The type URL under which an absl::Status carries a serialized ErrorDetail.

#ifndef ACCRUE_CLIENT_CPP_SRC_ERROR_PAYLOAD_H_
#define ACCRUE_CLIENT_CPP_SRC_ERROR_PAYLOAD_H_

namespace accrue::client::internal {

inline constexpr char kErrorPayloadUrl[] =
    "type.googleapis.com/accrue.v1.ErrorDetail";

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_ERROR_PAYLOAD_H_
