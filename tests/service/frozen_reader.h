// FrozenReader: a peer that asks for a pull, allows HTTP/2's largest windows,
// and then reads nothing: what a stopped process looks like to the server,
// whose transport gets stuck in the middle of a write.
//
// Threading. compatible

#ifndef ACCRUE_TESTS_SERVICE_FROZEN_READER_H_
#define ACCRUE_TESTS_SERVICE_FROZEN_READER_H_

#include <string>

#include "accrue/v1/worker_service.pb.h"
#include "server/service/socket_address.h"

namespace accrue {

class FrozenReader {
 public:
  FrozenReader(const SocketAddress& server, const v1::PullRequest& request);
  ~FrozenReader();
  FrozenReader(const FrozenReader&) = delete;
  FrozenReader& operator=(const FrozenReader&) = delete;

  // Reads again, until the server has ended the connection.
  void ReadToTheEnd();

 private:
  int socket_ = -1;
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_FROZEN_READER_H_
