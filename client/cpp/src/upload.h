// Upload: one attempt at a call that streams a payload and gets one answer:
// Push, InitializeModel.
//
// Memory.    gRPC holds nothing of the payload any more when it returns

#ifndef ACCRUE_CLIENT_CPP_SRC_UPLOAD_H_
#define ACCRUE_CLIENT_CPP_SRC_UPLOAD_H_

#include <string>

#include <google/protobuf/message.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "accrue/payload.h"
#include "client/cpp/src/channel.h"

namespace accrue::client::internal {

struct UploadResult {
  absl::Status status = {};
  // gRPC has taken the last byte: the daemon may have the whole payload.
  bool all_sent = false;
};

UploadResult Upload(Channel& channel, const std::string& method,
                    const google::protobuf::Message& header,
                    const Payload& payload, absl::Time deadline,
                    google::protobuf::Message* response);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_UPLOAD_H_
