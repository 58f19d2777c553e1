#include "server/ops/http_server.h"

#include <arpa/inet.h>
#include <cstdint>
#include <exception>
#include <netinet/in.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>

#include <prometheus/exposer.h>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "server/ops/metrics.h"

namespace accrue {
namespace {

constexpr int kThreads = 2;
constexpr absl::Duration kKnockPeriod = absl::Milliseconds(5);

// Connects, and hangs up.
void Knock(const std::string& host, int port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, host.c_str(), &address.sin_addr);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return;
  connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  close(fd);
}

}  // namespace

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Listen(
    const std::string& address) {
  std::unique_ptr<prometheus::Exposer> exposer;
  try {
    exposer = std::make_unique<prometheus::Exposer>(address, kThreads);
  } catch (const std::exception&) {  // it says no more than that it failed
    return absl::FailedPreconditionError(absl::StrCat(
        "cannot listen on --http=", address,
        ": another process listens there, or it is no IPv4 address of this "
        "machine; --http=none does without"));
  }
  return std::unique_ptr<HttpServer>(new HttpServer(
      address.substr(0, address.rfind(':')), std::move(exposer)));
}

HttpServer::HttpServer(std::string host,
                       std::unique_ptr<prometheus::Exposer> exposer)
    : host_(std::move(host)),
      port_(exposer->GetListeningPorts().front()),
      exposer_(std::move(exposer)) {}

// civetweb sees that it shall end when somebody connects, or after two seconds.
HttpServer::~HttpServer() {
  absl::Notification ended;
  std::thread ending([this, &ended] {
    exposer_.reset();
    ended.Notify();
  });
  while (!ended.WaitForNotificationWithTimeout(kKnockPeriod)) {
    Knock(host_, port_);
  }
  ending.join();
}

void HttpServer::Expose(Readings readings) {
  metrics_ = std::make_shared<Metrics>(std::move(readings));
  exposer_->RegisterCollectable(metrics_);
}

std::string HttpServer::url() const {
  return absl::StrCat("http://", host_, ":", port_);
}

}  // namespace accrue
