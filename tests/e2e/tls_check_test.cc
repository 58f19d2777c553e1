// Connections to a TLS daemon that end without a word: which of them are a
// refusal, and which only a daemon that is away.

#include "client/cpp/src/tls_check.h"

#include <arpa/inet.h>
#include <cstdint>
#include <memory>
#include <netinet/in.h>
#include <string>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/e2e/certificates.h"

namespace accrue {
namespace {

using client::TlsOptions;
using client::internal::Target;
using client::internal::TlsPems;
using client::internal::WhyNoTls;

// What is hung up on.
enum class Ends {
  kAtOnce,
  kAfterTheHello,
  kAfterTheHandshake,
  kOnceItsCertificateIsTaken,
  kOnceItsCertificateIsRefused,  // as gRPC does, without an alert
  kNever,                        // nor is anything said
};

using OwnedContext = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
using OwnedSsl = std::unique_ptr<SSL, decltype(&SSL_free)>;

// A server that takes as many connections as it is told ends for, in turn.
class HangingUp {
 public:
  HangingUp(const Certificates& certificates, std::vector<Ends> ends)
      : certificates_(certificates), ends_(std::move(ends)) {
    listening_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(bind(listening_, generic, size), 0);
    EXPECT_EQ(listen(listening_, 8), 0);
    getsockname(listening_, generic, &size);
    target_ = absl::StrCat("127.0.0.1:", ntohs(address.sin_port));
    thread_ = std::thread([this] { Serve(); });
  }
  ~HangingUp() {
    shutdown(listening_, SHUT_RDWR);
    thread_.join();
    close(listening_);
  }
  HangingUp(const HangingUp&) = delete;
  HangingUp& operator=(const HangingUp&) = delete;

  const std::string& target() const { return target_; }

 private:
  void Serve() {
    for (const Ends ends : ends_) {
      const int fd = accept(listening_, nullptr, nullptr);
      if (fd < 0) return;
      char hello[4096];
      if (ends == Ends::kAfterTheHello) recv(fd, hello, sizeof(hello), 0);
      if (ends == Ends::kNever) {
        while (recv(fd, hello, sizeof(hello), 0) > 0) {
        }
      } else if (ends > Ends::kAfterTheHello) {
        ShakeHands(fd, ends);
      }
      close(fd);
    }
  }

  void ShakeHands(int fd, Ends ends) {
    const OwnedContext context(SSL_CTX_new(TLS_server_method()), SSL_CTX_free);
    SSL_CTX_use_certificate_file(
        context.get(), certificates_.Cert("daemon").c_str(), SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(
        context.get(), certificates_.Key("daemon").c_str(), SSL_FILETYPE_PEM);
    if (ends != Ends::kAfterTheHandshake) {
      SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER,
                         [](int, X509_STORE_CTX*) { return 1; });
    }
    if (ends == Ends::kOnceItsCertificateIsRefused) {
      SSL_CTX_set_num_tickets(context.get(), 0);
    }
    const OwnedSsl ssl(SSL_new(context.get()), SSL_free);
    SSL_set_fd(ssl.get(), fd);
    EXPECT_EQ(SSL_accept(ssl.get()), 1);
  }

  const Certificates& certificates_;
  const std::vector<Ends> ends_;
  int listening_ = -1;
  std::string target_;
  std::thread thread_;
};

class TlsCheckTest : public testing::Test {
 protected:
  TlsCheckTest() {
    certificates_.MakeCa("ca");
    certificates_.Make("daemon", "ca");
    certificates_.Make("worker", "ca");
  }

  absl::StatusCode Find(const std::vector<Ends>& ends) const {
    const HangingUp daemon(certificates_, ends);
    const TlsPems pems = {
        .ca = Certificates::Read(certificates_.Cert("ca")),
        .cert = Certificates::Read(certificates_.Cert("worker")),
        .key = Certificates::Read(certificates_.Key("worker"))};
    const absl::Status why =
        WhyNoTls(*Target::Parse(daemon.target()), TlsOptions(), pems,
                 absl::Now() + absl::Seconds(60));
    RecordProperty("why", std::string(why.message()));
    return why.code();
  }

  Certificates certificates_;
};

TEST_F(TlsCheckTest, AConnectionThatJustEndsIsOneToTryAgain) {
  for (const Ends ends :
       {Ends::kAtOnce, Ends::kAfterTheHello, Ends::kAfterTheHandshake,
        Ends::kOnceItsCertificateIsTaken}) {
    EXPECT_EQ(Find({ends}), absl::StatusCode::kUnavailable)
        << static_cast<int>(ends);
  }
}

// A proxy that holds its clients, or a machine that is frozen.
TEST_F(TlsCheckTest, OneOnWhichNothingIsSaidIsNotWaitedForToTheEnd) {
  const absl::Time start = absl::Now();
  EXPECT_EQ(Find({Ends::kNever}), absl::StatusCode::kUnavailable);
  EXPECT_LT(absl::Now() - start, absl::Seconds(30));  // of the 60 that it has
}

TEST_F(TlsCheckTest, WhoHangsUpOnACertificateTwiceRefusesIt) {
  constexpr Ends kRefused = Ends::kOnceItsCertificateIsRefused;
  EXPECT_EQ(Find({kRefused, kRefused}), absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Find({kRefused, Ends::kAtOnce}), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace accrue
