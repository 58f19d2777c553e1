// Upload: one attempt at a call that streams a payload and gets one answer:
// Push, InitializeModel.
//
// Memory.    gRPC holds nothing of the payload any more when it returns

#ifndef ACCRUE_CLIENT_CPP_SRC_UPLOAD_H_
#define ACCRUE_CLIENT_CPP_SRC_UPLOAD_H_

#include <cstdint>
#include <functional>
#include <string>

#include <google/protobuf/message.h>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "accrue/payload.h"
#include "client/cpp/src/channel.h"
#include "client/cpp/src/data_connection.h"

namespace accrue::client::internal {

struct UploadRequest {
  std::string method;  // "/package.Service/Method"
  const google::protobuf::Message& header;
  const Payload& payload;
  absl::Time deadline;
  // Called after each message, with the payload's bytes that gRPC has taken so
  // far. Empty: never.
  std::function<void(int64_t sent_bytes)> progress = {};
  // The header names this connection, on which the payload is sent. Null: it is
  // sent in messages.
  DataConnection* data = nullptr;
};

struct UploadResult {
  absl::Status status = {};
  // gRPC or the socket has taken the last byte: the daemon may have the whole
  // payload.
  bool all_sent = false;
  // Of messages that gRPC has taken, of the payload on a data connection, and
  // of the answer.
  int64_t request_bytes = 0;
  int64_t response_bytes = 0;
};

UploadResult Upload(Channel& channel, const UploadRequest& request,
                    google::protobuf::Message* response);

}  // namespace accrue::client::internal

#endif  // ACCRUE_CLIENT_CPP_SRC_UPLOAD_H_
