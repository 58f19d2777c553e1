#include "server/service/message_bytes.h"

#include <grpcpp/support/slice.h>

#include "absl/strings/str_cat.h"
#include "server/base/error.h"
#include "server/base/status_macros.h"
#include "server/service/field_count.h"

namespace accrue {

absl::Status ParseRequest(const grpc::ByteBuffer& bytes,
                          google::protobuf::Message& request,
                          int64_t max_bytes) {
  const auto size = static_cast<int64_t>(bytes.Length());
  if (size > max_bytes) {
    ErrorInfo info;
    info.reason = Reason::kLimit;
    return MakeError(
        absl::StatusCode::kResourceExhausted, info,
        absl::StrCat("a request of ", size, " bytes, at most ", max_bytes));
  }
  grpc::Slice whole;
  if (!bytes.DumpToSingleSlice(&whole).ok()) {
    return absl::InvalidArgumentError("a request without readable bytes");
  }
  ACCRUE_RETURN_IF_ERROR(CheckFieldCounts(
      {reinterpret_cast<const char*>(whole.begin()), whole.size()},
      *request.GetDescriptor()));
  if (!request.ParseFromArray(whole.begin(), static_cast<int>(whole.size()))) {
    return absl::InvalidArgumentError("malformed request");
  }
  return absl::OkStatus();
}

grpc::ByteBuffer Serialize(const google::protobuf::MessageLite& message) {
  const grpc::Slice slice(message.SerializeAsString());
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace accrue
