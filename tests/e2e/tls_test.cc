// TLS and client certificates, through the SDK: what is trained is the same,
// and who is not let in is told at once.

#include <arpa/inet.h>
#include <cstdint>
#include <ifaddrs.h>
#include <memory>
#include <netinet/in.h>
#include <optional>
#include <string>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "accrue/client.h"
#include "client/cpp/src/data_connection.h"
#include "client/cpp/src/target.h"
#include "tests/e2e/certificates.h"
#include "tests/e2e/daemon.h"

namespace accrue {
namespace {

using client::Client;
using client::ClientOptions;
using client::TlsOptions;
using testing::HasSubstr;
using testing::Not;

// Far longer than anything that is decided at once.
constexpr absl::Duration kLong = absl::Seconds(60);
constexpr absl::Duration kAtOnce = absl::Seconds(20);

// More than a data connection is used for.
constexpr int64_t kElems = 400'000;

class TlsTest : public testing::Test {
 protected:
  TlsTest() {
    certificates_.MakeCa("ca");
    certificates_.MakeCa("foreign-ca");
    certificates_.Make("daemon", "ca");
    certificates_.Make("worker", "ca");
    certificates_.Make("foreigner", "foreign-ca");
  }

  std::vector<std::string> Flags(bool mutual) const {
    std::vector<std::string> flags = {
        "--tls_cert=" + certificates_.Cert("daemon"),
        "--tls_key=" + certificates_.Key("daemon")};
    if (mutual) flags.push_back("--tls_client_ca=" + certificates_.Cert("ca"));
    return flags;
  }

  // Of this certificate, or of none.
  TlsOptions Tls(const std::string& who = "",
                 const std::string& ca = "ca") const {
    TlsOptions tls{.ca = certificates_.Cert(ca)};
    if (who.empty()) return tls;
    tls.cert = certificates_.Cert(who);
    tls.key = certificates_.Key(who);
    return tls;
  }

  static ClientOptions Options(std::optional<TlsOptions> tls,
                               const std::string& token = "") {
    ClientOptions options;
    options.connect_timeout = kLong;
    options.tls = std::move(tls);
    options.token = token;
    return options;
  }

  // Of a connection that must not come about, at once.
  static absl::Status Refusal(const std::string& target,
                              const ClientOptions& options) {
    const absl::Time start = absl::Now();
    absl::Status status = Client::Connect(target, options).status();
    EXPECT_LT(absl::Now() - start, kAtOnce) << status;
    return status;
  }

  // What a few pushes have made of a model.
  static std::vector<float> Train(const std::string& target,
                                  const ClientOptions& options) {
    std::vector<float> parameters(kElems);
    auto client = Client::Connect(target, options);
    EXPECT_TRUE(client.ok()) << client.status();
    if (!client.ok()) return {};
    client::ModelSpec spec;
    spec.name = "trained";
    spec.tensors = {{.name = "w", .shape = {kElems}}};
    spec.groups = {{.name = "all", .k = 2}};
    spec.groups[0].hyperparameters.learning_rate = 0.1;
    spec.optimizer.optimizer = client::Optimizer::kAdamW;
    auto model = client->CreateOrOpen(spec);
    EXPECT_TRUE(model.ok()) << model.status();
    EXPECT_TRUE(
        model
            ->InitializeWith(
                {{.tensor = "w", .kind = client::Initializer::Constant{0.5}}},
                /*seed=*/0)
            .ok());
    auto worker = model->OpenWorker();
    EXPECT_TRUE(worker.ok()) << worker.status();
    std::vector<float> gradient(kElems);
    for (int push = 0; push < 4; ++push) {
      EXPECT_TRUE(worker->Pull(&parameters).ok());
      for (int64_t i = 0; i < kElems; ++i) {
        const auto place = static_cast<size_t>(i);
        gradient[place] =
            parameters[place] * static_cast<float>((i * 7 + push) % 11 - 5);
      }
      EXPECT_TRUE(worker->Push(gradient).ok());
    }
    EXPECT_TRUE(worker->Pull(&parameters).ok());
    return parameters;
  }

  Certificates certificates_;
};

TEST_F(TlsTest, TrainingGivesTheSameBits) {
  const auto plain = Daemon::Start();
  const auto tls = Daemon::Start(Flags(/*mutual=*/false));
  const auto mutual = Daemon::Start(Flags(/*mutual=*/true));
  const auto local = Daemon::Start(Flags(/*mutual=*/true));
  const std::vector<float> expected = Train(plain->tcp(), {});
  EXPECT_EQ(Train(tls->tcp(), Options(Tls())), expected);
  EXPECT_EQ(Train(mutual->tcp(), Options(Tls("worker"))), expected);
  // Beside TLS a Unix socket stays as it is, whatever the client is told.
  EXPECT_EQ(Train(local->uds(), Options(Tls("worker"))), expected);
  // Payloads have been sent in messages: nothing else was tried.
  for (const auto* daemon : {&tls, &mutual}) {
    EXPECT_THAT((*daemon)->Log(), Not(HasSubstr("refused")));
  }
}

TEST_F(TlsTest, WhoDoesNotTrustOrIsNotTrustedIsToldAtOnce) {
  const auto tls = Daemon::Start(Flags(/*mutual=*/false));
  const auto mutual = Daemon::Start(Flags(/*mutual=*/true));
  const absl::Status unknown_ca =
      Refusal(tls->tcp(), Options(Tls("", "foreign-ca")));
  EXPECT_EQ(unknown_ca.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(unknown_ca.message()), HasSubstr("is not accepted"));

  TlsOptions other_name = Tls();
  other_name.server_name = "other.example";
  const absl::Status wrong_name = Refusal(tls->tcp(), Options(other_name));
  EXPECT_EQ(wrong_name.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(wrong_name.message()), HasSubstr("mismatch"));

  const absl::Status no_certificate = Refusal(mutual->tcp(), Options(Tls()));
  EXPECT_EQ(no_certificate.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(no_certificate.message()),
              HasSubstr("asks for a client's certificate"));

  const absl::Status foreign =
      Refusal(mutual->tcp(), Options(Tls("foreigner")));
  EXPECT_EQ(foreign.code(), absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(std::string(foreign.message()),
              HasSubstr("does not accept the client's certificate"));
  // The daemon has said so too, and serves on.
  EXPECT_THAT(mutual->Log(), HasSubstr("certificate verify failed"));
  EXPECT_TRUE(Client::Connect(mutual->tcp(), Options(Tls("worker"))).ok());
}

TEST_F(TlsTest, ACertificateMayHaveAnotherNameThanTheTarget) {
  certificates_.Make("daemon", "ca", "DNS:daemon.example");
  const auto daemon = Daemon::Start(Flags(/*mutual=*/false));
  EXPECT_EQ(Refusal(daemon->tcp(), Options(Tls())).code(),
            absl::StatusCode::kUnauthenticated);
  TlsOptions tls = Tls();
  tls.server_name = "daemon.example";
  const auto client = Client::Connect(daemon->tcp(), Options(tls));
  EXPECT_TRUE(client.ok()) << client.status();
}

TEST_F(TlsTest, WhereOneSideSpeaksTlsAndTheOtherNotBothSaySo) {
  const auto plain = Daemon::Start();
  const auto tls = Daemon::Start(Flags(/*mutual=*/false));
  const absl::Status no_tls = Refusal(plain->tcp(), Options(Tls()));
  EXPECT_EQ(no_tls.code(), absl::StatusCode::kFailedPrecondition) << no_tls;
  EXPECT_THAT(plain->Log(), HasSubstr("there is no TLS here"));

  // It may be a proxy's doing and pass: the client goes on trying.
  ClientOptions options;
  options.connect_timeout = absl::Seconds(1);
  const absl::Status only_tls = Client::Connect(tls->tcp(), options).status();
  EXPECT_EQ(only_tls.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(only_tls.message()),
              HasSubstr(absl::StrCat(tls->tcp(), " speaks TLS")));
  EXPECT_THAT(tls->Log(), HasSubstr("takes TLS alone"));
  EXPECT_TRUE(Client::Connect(plain->tcp()).ok());
  EXPECT_TRUE(Client::Connect(tls->tcp(), Options(Tls())).ok());
}

TEST_F(TlsTest, AClientComesBackToADaemonThatWasRestarted) {
  auto daemon = Daemon::Start(Flags(/*mutual=*/true));
  const std::string target = daemon->tcp();
  const auto client = Client::Connect(target, Options(Tls("worker")));
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(daemon->Terminate(), 0);
  std::vector<std::string> flags = Flags(/*mutual=*/true);
  flags.push_back("--listen=" + target);
  daemon = Daemon::Start(flags);
  const auto info = client->GetServerInfo();
  EXPECT_TRUE(info.ok()) << info.status();
}

TEST_F(TlsTest, FilesThatCannotBeAreErrorsOfTheClientsOwn) {
  const std::string target = "127.0.0.1:1";
  TlsOptions absent = Tls();
  absent.ca = "/no/such/ca.pem";
  EXPECT_THAT(std::string(Refusal(target, Options(absent)).message()),
              HasSubstr("/no/such/ca.pem"));
  TlsOptions empty = Tls();
  empty.ca = certificates_.Write("empty.pem", "");
  EXPECT_THAT(std::string(Refusal(target, Options(empty)).message()),
              HasSubstr("empty.pem: it is empty"));
  TlsOptions directory = Tls();
  directory.ca = "/tmp";
  EXPECT_THAT(std::string(Refusal(target, Options(directory)).message()),
              HasSubstr("Is a directory"));
  TlsOptions half = Tls("worker");
  half.key = "";
  EXPECT_EQ(Refusal(target, Options(half)).code(),
            absl::StatusCode::kInvalidArgument);
  const auto daemon = Daemon::Start(Flags(/*mutual=*/true));
  TlsOptions crossed = Tls("worker");
  crossed.key = certificates_.Key("foreigner");
  EXPECT_EQ(Refusal(daemon->tcp(), Options(crossed)).code(),
            absl::StatusCode::kInvalidArgument);
  TlsOptions no_ca = Tls("worker");
  no_ca.ca = certificates_.Key("ca");
  EXPECT_EQ(Refusal(daemon->tcp(), Options(no_ca)).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(TlsTest, ADataConnectionIsRefusedOverTcpAndTakenOnTheUnixSocket) {
  const auto daemon = Daemon::Start(Flags(/*mutual=*/false));
  const auto open = [](const std::string& target) {
    return client::internal::DataConnection::Open(
               *client::internal::Target::Parse(target), absl::Now() + kLong)
        .status();
  };
  EXPECT_EQ(open(daemon->tcp()).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(open(daemon->uds()).ok());
  EXPECT_THAT(daemon->Log(), HasSubstr("takes TLS alone"));
}

class TokenTest : public TlsTest {
 protected:
  std::string Tokens() const {
    return certificates_.Write(
        "tokens",
        "- {name: trainer, token: the-token-of-a-trainer, role: admin}\n"
        "- {name: reader, token: the-token-of-a-reader, role: pull}\n");
  }
};

TEST_F(TokenTest, TheSdkSendsItsTokenWithEveryCall) {
  std::vector<std::string> flags = Flags(/*mutual=*/true);
  flags.push_back("--token_file=" + Tokens());
  const auto daemon = Daemon::Start(flags);
  EXPECT_EQ(
      Train(daemon->tcp(), Options(Tls("worker"), "the-token-of-a-trainer"))
          .size(),
      static_cast<size_t>(kElems));
  EXPECT_EQ(
      Train(daemon->uds(), Options(std::nullopt, "the-token-of-a-trainer"))
          .size(),
      static_cast<size_t>(kElems));
  // A certificate does not replace a token, nor a token a certificate.
  EXPECT_EQ(Refusal(daemon->tcp(), Options(Tls("worker"))).code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(
      Refusal(daemon->tcp(), Options(Tls(), "the-token-of-a-trainer")).code(),
      absl::StatusCode::kUnauthenticated);
  EXPECT_EQ(Refusal(daemon->uds(), Options(std::nullopt, "the-token-of-nobody"))
                .code(),
            absl::StatusCode::kUnauthenticated);
  EXPECT_THAT(daemon->Log(), Not(HasSubstr("the-token-of")));
}

TEST_F(TokenTest, AFileHoldsIt) {
  const auto daemon = Daemon::Start({"--token_file=" + Tokens()});
  ClientOptions options;
  options.token_file = certificates_.Write("token", "the-token-of-a-reader\n");
  const auto client = Client::Connect(daemon->tcp(), options);
  ASSERT_TRUE(client.ok()) << client.status();
  EXPECT_EQ(client->DeleteModel("x").code(),
            absl::StatusCode::kPermissionDenied);
  options.token = "and-another-one-besides";
  EXPECT_EQ(Refusal(daemon->tcp(), options).code(),
            absl::StatusCode::kInvalidArgument);
  options.token = "";
  for (const char* text : {"", "\n", "two words", "a\x80"}) {
    options.token_file = certificates_.Write("token", text);
    EXPECT_EQ(Refusal(daemon->tcp(), options).code(),
              absl::StatusCode::kInvalidArgument);
  }
}

// An address of this machine that is not the loopback's; empty: it has none.
std::string OwnAddress() {
  ifaddrs* found = nullptr;
  if (getifaddrs(&found) != 0) return "";
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> owner(found, freeifaddrs);
  for (const ifaddrs* entry = found; entry != nullptr;
       entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr || entry->ifa_addr->sa_family != AF_INET) {
      continue;
    }
    const auto* address = reinterpret_cast<const sockaddr_in*>(entry->ifa_addr);
    if (ntohl(address->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET) continue;
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text));
    return text;
  }
  return "";
}

TEST_F(TokenTest, IsNotSentToAnotherMachineWithoutTls) {
  const std::string host = OwnAddress();
  if (host.empty()) GTEST_SKIP() << "this machine has the loopback alone";
  // Nobody needs to accept there: the kernel connects.
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  socklen_t size = sizeof(address);
  ASSERT_EQ(bind(fd, reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(listen(fd, 8), 0);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  const std::string target = absl::StrCat(host, ":", ntohs(address.sin_port));
  const absl::Status status =
      Refusal(target, Options(std::nullopt, "the-token-of-a-reader"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("without TLS"));
  close(fd);
}

}  // namespace
}  // namespace accrue
