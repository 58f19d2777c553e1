#include "server/service/doorway.h"

#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include <grpcpp/server_posix.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/data_preface.h"
#include "server/base/logging.h"
#include "server/service/connections.h"

namespace accrue {
namespace {

constexpr char kTlsHandshake = 0x16;
constexpr char kHttp2 = 'P';  // of "PRI * HTTP/2.0"

std::string Http2Frame(char type, absl::string_view payload) {
  std::string frame("\0\0\0\0\0\0\0\0\0", 9);
  frame[2] = static_cast<char>(payload.size());
  frame[3] = type;
  return absl::StrCat(frame, payload);
}

// Empty SETTINGS, and a GOAWAY of INADEQUATE_SECURITY that tells why.
std::string Http2Refusal(absl::string_view why) {
  const absl::string_view nothing_done("\0\0\0\0\0\0\0\x0c", 8);
  return absl::StrCat(Http2Frame(4, ""),
                      Http2Frame(7, absl::StrCat(nothing_done, why)));
}

// A fatal alert of TLS, protocol_version, as whoever begins a handshake will
// understand. Being hung up on alone, it would have to try again.
constexpr absl::string_view kTlsRefusal("\x15\x03\x01\x00\x02\x02\x46", 7);

// Whatever begins a connection of an honest peer fits into one.
constexpr int kMostReads = 16;

// It has room: nothing was sent before. What the peer has sent is read, or
// closing would discard this; but not all that one sends who never ends, while
// everybody else waits to be let in.
void SendLast(int fd, absl::string_view text) {
  send(fd, text.data(), text.size(), MSG_NOSIGNAL);
  char sent[4096];
  for (int i = 0; i < kMostReads; ++i) {
    if (recv(fd, sent, sizeof(sent), MSG_DONTWAIT) <= 0) return;
  }
}

}  // namespace

void Doorway::Adopt(int fd, char first_byte, bool tls) {
  if (tls) {
    if (first_byte != kTlsHandshake) {
      return Refuse(fd, first_byte, "this address takes TLS alone");
    }
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters
        connection;
    connection.fd = fd;
    return tls_acceptor_->HandleNewConnection(&connection);
  }
  if (first_byte == kTlsHandshake) {
    return Refuse(fd, first_byte, "there is no TLS here (--tls_cert)");
  }
  if (BeginsDataPreface(first_byte)) return data_connections_->Adopt(fd);
  grpc::AddInsecureChannelFromFd(server_, fd);
}

void Doorway::Refuse(int fd, char first_byte, absl::string_view why) {
  int64_t untold = 0;
  if (refusals_.Allow(absl::Now(), &untold)) {
    ACCRUE_LOG(warn, "a connection from {} is refused: {} ({} more untold of)",
               PeerOf(fd), why, untold);
  }
  if (first_byte == kHttp2) SendLast(fd, Http2Refusal(why));
  if (first_byte == kTlsHandshake) SendLast(fd, kTlsRefusal);
  // Its duplicate in Connections goes with it.
  shutdown(fd, SHUT_RDWR);
  close(fd);
}

}  // namespace accrue
