// Traffic: bytes of messages, as they are serialized: with their headers and
// with whatever was refused or sent again, without what gRPC and the transport
// add.
//
// A model's (ModelDescription) is that of all its workers and readers, a
// worker's that of its own pushes and pulls. The two sides count the same,
// refused calls included, but where a call is cut off: by a broken connection,
// or since it was refused before the daemon had read all that was sent.

#ifndef ACCRUE_CLIENT_TRAFFIC_H_
#define ACCRUE_CLIENT_TRAFFIC_H_

#include <cstdint>

namespace accrue::client {

struct Traffic {
  int64_t push_request_bytes = 0;   // to the daemon
  int64_t push_response_bytes = 0;  // from it
  int64_t pull_request_bytes = 0;   // to the daemon
  int64_t pull_response_bytes = 0;  // from it

  friend bool operator==(const Traffic& a, const Traffic& b) = default;
};

}  // namespace accrue::client

#endif  // ACCRUE_CLIENT_TRAFFIC_H_
