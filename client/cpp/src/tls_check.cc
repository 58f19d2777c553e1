#include "client/cpp/src/tls_check.h"

#include <algorithm>
#include <arpa/inet.h>
#include <cerrno>
#include <memory>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "absl/cleanup/cleanup.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/base/status_macros.h"

namespace accrue::client::internal {
namespace {

// A handshake that takes longer is one with nobody: another connection may find
// a daemon while this one would be waited for.
constexpr absl::Duration kPatience = absl::Seconds(5);

template <auto Free>
struct Freer {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
template <typename T, auto Free>
using Owned = std::unique_ptr<T, Freer<Free>>;
using OwnedBio = Owned<BIO, BIO_free>;
using OwnedCertificate = Owned<X509, X509_free>;
using OwnedContext = Owned<SSL_CTX, SSL_CTX_free>;
using OwnedKey = Owned<EVP_PKEY, EVP_PKEY_free>;
using OwnedSsl = Owned<SSL, SSL_free>;

// ": REASON", what OpenSSL complained of last; empty: of nothing. A connection
// that just ends is none of its complaints, and no fault of anybody's: a proxy
// hangs up on its clients for as long as its daemon is away.
std::string Complaint() {
  const char* const reason = ERR_reason_error_string(ERR_peek_last_error());
  return reason == nullptr ? "" : absl::StrCat(": ", reason);
}

OwnedBio ReaderOf(const std::string& pem) {
  return OwnedBio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

absl::Status Trust(SSL_CTX* context, const std::string& ca) {
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  if (ca.empty()) {
    SSL_CTX_set_default_verify_paths(context);
    return absl::OkStatus();
  }
  const OwnedBio reader = ReaderOf(ca);
  int count = 0;
  while (true) {
    const OwnedCertificate certificate(
        PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr));
    if (certificate == nullptr) break;
    X509_STORE_add_cert(SSL_CTX_get_cert_store(context), certificate.get());
    ++count;
  }
  if (count > 0) return absl::OkStatus();
  return absl::InvalidArgumentError("the CA file has no certificate in PEM");
}

absl::Status Show(SSL_CTX* context, const TlsPems& pems) {
  if (pems.cert.empty()) return absl::OkStatus();
  const OwnedCertificate certificate(
      PEM_read_bio_X509(ReaderOf(pems.cert).get(), nullptr, nullptr, nullptr));
  const OwnedKey key(PEM_read_bio_PrivateKey(ReaderOf(pems.key).get(), nullptr,
                                             nullptr, const_cast<char*>("")));
  if (certificate == nullptr || key == nullptr ||
      SSL_CTX_use_certificate(context, certificate.get()) != 1 ||
      SSL_CTX_use_PrivateKey(context, key.get()) != 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("the client's certificate or key", Complaint()));
  }
  return absl::OkStatus();
}

void Expect(SSL* ssl, const std::string& name) {
  unsigned char address[sizeof(in6_addr)];
  if (inet_pton(AF_INET, name.c_str(), address) == 1 ||
      inet_pton(AF_INET6, name.c_str(), address) == 1) {
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name.c_str());
  } else {
    SSL_set1_host(ssl, name.c_str());
    SSL_set_tlsext_host_name(ssl, name.c_str());
  }
}

// A handshake on a connected socket. OpenSSL's own reads and writes would raise
// SIGPIPE in a process that is not ours.
class Handshake {
 public:
  Handshake(SSL* ssl, int fd, absl::Time deadline)
      : ssl_(ssl), fd_(fd), deadline_(deadline) {
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
  }

  // What `step` returns once there is nothing more to send or to wait for.
  int Complete(absl::FunctionRef<int()> step) {
    while (true) {
      ERR_clear_error();
      const int result = step();
      const bool wants = SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ;
      if (!Send() || !wants || !Receive()) return result;
    }
  }

 private:
  bool Send() {
    char bytes[4096];
    int size;
    while ((size = BIO_read(SSL_get_wbio(ssl_), bytes, sizeof(bytes))) > 0) {
      // The handshake of a client fits into any socket's buffer.
      if (send(fd_, bytes, static_cast<size_t>(size), MSG_NOSIGNAL) != size) {
        return false;
      }
    }
    return true;
  }

  bool Receive() {
    pollfd entry = {fd_, POLLIN, 0};
    const int64_t left_ms = std::clamp<int64_t>(
        absl::ToInt64Milliseconds(deadline_ - absl::Now()), 0, 1'000'000);
    if (poll(&entry, 1, static_cast<int>(left_ms)) == 0) return false;
    char bytes[4096];
    const ssize_t size = recv(fd_, bytes, sizeof(bytes), 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) return true;
    return size > 0 &&
           BIO_write(SSL_get_rbio(ssl_), bytes, static_cast<int>(size)) == size;
  }

  SSL* const ssl_;
  const int fd_;
  const absl::Time deadline_;
};

absl::Status Judge(SSL* ssl, int fd, const std::string& target,
                   absl::Time deadline) {
  bool asked = false;  // for our certificate
  const auto note = [](SSL*, void* asked) {
    *static_cast<bool*>(asked) = true;
    return 1;
  };
  SSL_set_cert_cb(ssl, note, &asked);
  Handshake handshake(ssl, fd, deadline);
  const bool connected =
      handshake.Complete([&] { return SSL_connect(ssl); }) == 1;
  const long verdict = SSL_get_verify_result(ssl);
  if (verdict != X509_V_OK) {
    return absl::UnauthenticatedError(absl::StrCat(
        "the certificate of ", target,
        " is not accepted: ", X509_verify_cert_error_string(verdict)));
  }
  // Whether it takes our certificate, or that we have none, a daemon says last.
  char byte;
  const bool served = connected && handshake.Complete([&] {
    return SSL_read(ssl, &byte, 1);
  }) == 1;
  const std::string complaint = Complaint();
  if (!connected && !complaint.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("no TLS handshake with ", target, complaint));
  }
  // gRPC's servers hang up without a word on whom they do not let in. Whoever
  // is let in has a ticket from then on.
  const bool turned_away =
      !complaint.empty() ||
      (asked && !SSL_SESSION_has_ticket(SSL_get0_session(ssl)));
  if (served || !turned_away || absl::Now() >= deadline) {
    return absl::UnavailableError(
        absl::StrCat("no daemon at ", target, ": ",
                     connected ? "the connection ended" : "no TLS handshake"));
  }
  return absl::UnauthenticatedError(
      absl::StrCat(target,
                   SSL_get_certificate(ssl) == nullptr
                       ? " asks for a client's certificate"
                       : " does not accept the client's certificate",
                   complaint));
}

absl::Status ShakeHands(SSL_CTX* context, const Target& target,
                        const std::string& server_name, absl::Time deadline) {
  ACCRUE_ASSIGN_OR_RETURN(const int fd, target.Connect(deadline));
  const auto close_it = absl::MakeCleanup([fd] { close(fd); });
  const OwnedSsl ssl(SSL_new(context));
  constexpr unsigned char kHttp2[] = {2, 'h', '2'};
  SSL_set_alpn_protos(ssl.get(), kHttp2, sizeof(kHttp2));
  Expect(ssl.get(), server_name.empty() ? target.host() : server_name);
  absl::Status verdict = Judge(ssl.get(), fd, target.text(), deadline);
  ERR_clear_error();
  return verdict;
}

}  // namespace

bool SpeaksTls(const Target& target, absl::Time deadline) {
  const absl::StatusOr<int> fd = target.Connect(deadline);
  if (!fd.ok()) return false;
  const auto close_it = absl::MakeCleanup([fd = *fd] { close(fd); });
  const OwnedContext context(SSL_CTX_new(TLS_client_method()));
  const OwnedSsl ssl(SSL_new(context.get()));
  Expect(ssl.get(), target.host());
  SSL_set_verify(ssl.get(), SSL_VERIFY_NONE, nullptr);
  Handshake handshake(ssl.get(), *fd, deadline);
  handshake.Complete([&] { return SSL_connect(ssl.get()); });
  ERR_clear_error();
  return SSL_get0_peer_certificate(ssl.get()) != nullptr;
}

absl::Status WhyNoTls(const Target& target, const TlsOptions& tls,
                      const TlsPems& pems, absl::Time deadline) {
  deadline = std::min(deadline, absl::Now() + kPatience);
  const OwnedContext context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  ACCRUE_RETURN_IF_ERROR(Trust(context.get(), pems.ca));
  ACCRUE_RETURN_IF_ERROR(Show(context.get(), pems));
  absl::Status verdict =
      ShakeHands(context.get(), target, tls.server_name, deadline);
  if (!absl::IsUnauthenticated(verdict)) return verdict;
  // A daemon that is killed in that very moment ends likewise, but not twice.
  return ShakeHands(context.get(), target, tls.server_name, deadline);
}

}  // namespace accrue::client::internal
