#include "tests/e2e/scrape.h"

#include <arpa/inet.h>
#include <cstdint>
#include <netinet/in.h>
#include <sstream>
#include <sys/socket.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/time.h"

namespace accrue {
namespace {

// The answer to a GET of /metrics, its header included. `url` is
// "http://A.B.C.D:PORT".
std::string Get(const std::string& url) {
  const std::vector<std::string> parts =
      absl::StrSplit(url, absl::ByAnyChar("/:"));
  if (parts.size() != 5) return "";
  sockaddr_in address{};
  address.sin_family = AF_INET;
  int port = 0;
  if (!absl::SimpleAtoi(parts[4], &port)) return "";
  address.sin_port = htons(static_cast<uint16_t>(port));
  inet_pton(AF_INET, parts[3].c_str(), &address.sin_addr);

  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience = absl::ToTimeval(Daemon::kPatience);
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  const std::string request = "GET /metrics HTTP/1.0\r\n\r\n";
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address),
              sizeof(address)) == 0 &&
      send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
    char bytes[4096];
    for (ssize_t n = 0; (n = recv(fd, bytes, sizeof(bytes), 0)) > 0;) {
      answer.append(bytes, static_cast<size_t>(n));
    }
  }
  close(fd);
  return answer;
}

}  // namespace

double Scrape::At(const std::string& name, const std::string& model) const {
  const auto sample = samples.find(
      model.empty() ? name : absl::StrCat(name, "{model=\"", model, "\"}"));
  if (sample != samples.end()) return sample->second;
  ADD_FAILURE() << "no " << name << " of \"" << model << "\"";
  return -1;
}

Scrape ScrapeOf(const Daemon& daemon) {
  const std::string answer = Get(daemon.http());
  EXPECT_TRUE(absl::StrContains(answer.substr(0, answer.find("\r\n")), " 200 "))
      << answer;
  Scrape scrape;
  std::istringstream lines(answer.substr(answer.find("\r\n\r\n") + 4));
  for (std::string line; std::getline(lines, line);) {
    const size_t space = line.rfind(' ');
    double value = 0;
    if (line.starts_with("# TYPE ")) {
      scrape.types[line.substr(7, space - 7)] = line.substr(space + 1);
    } else if (!line.starts_with('#') && space != std::string::npos &&
               absl::SimpleAtod(line.substr(space + 1), &value)) {
      scrape.samples[line.substr(0, space)] = value;
    }
  }
  return scrape;
}

}  // namespace accrue
