// HttpServer: the daemon's HTTP address (--http): /metrics, for Prometheus.
//
// In the clear, over IPv4, and nobody is asked for a token.
//
// Order.     two threads of its own answer
// Threading. compatible
#ifndef ACCRUE_SERVER_OPS_HTTP_SERVER_H_
#define ACCRUE_SERVER_OPS_HTTP_SERVER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/ops/readings.h"

namespace prometheus {
class Exposer;
}  // namespace prometheus

namespace accrue {

class Metrics;

class HttpServer {
 public:
  // Listens on "127.0.0.1:7701"; port 0: any. Nothing is to be found there yet.
  // FAILED_PRECONDITION: another process listens there, or it is no IPv4
  // address of this machine.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Listen(
      const std::string& address);
  // What is being answered is finished: at once, or, where a peer stalls, in
  // two seconds.
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  // /metrics is there from now on. Once.
  void Expose(Readings readings);
  // "http://127.0.0.1:7701"
  std::string url() const;

 private:
  HttpServer(std::string host, std::unique_ptr<prometheus::Exposer> exposer);

  const std::string host_;
  const int port_;
  std::shared_ptr<Metrics> metrics_;
  std::unique_ptr<prometheus::Exposer> exposer_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_OPS_HTTP_SERVER_H_
