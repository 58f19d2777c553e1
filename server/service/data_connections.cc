#include "server/service/data_connections.h"

#include <cerrno>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

#include "absl/time/clock.h"
#include "server/base/logging.h"

namespace accrue {
namespace {

// The key of the event that ends the threads.
constexpr uint64_t kStop = 0;

// A peer whose machine is gone says no more: it is asked after 20 s of silence,
// and given up 5 s later, when the listener's TCP_USER_TIMEOUT has passed. The
// call has gRPC's keepalive; this is for connections between two calls. (No
// effect on a Unix socket, whose peer cannot vanish.)
void KeepAlive(int fd) {
  const auto set = [fd](int level, int name, int value) {
    setsockopt(fd, level, name, &value, sizeof(value));
  };
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, 20);
  set(IPPROTO_TCP, TCP_KEEPINTVL, 5);
}

}  // namespace

DataConnections::DataConnections(const Options& options, TimerQueue* timers)
    : options_(options),
      timers_(timers),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      stop_event_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (epoll_ < 0 || stop_event_ < 0) {
    ACCRUE_LOG(warn, "no data connections: no descriptor to wait with: {}",
               std::strerror(errno));
    return;
  }
  epoll_event event{.events = EPOLLIN, .data = {.u64 = kStop}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, stop_event_, &event);
  for (int i = 0; i < options.threads; ++i) {
    threads_.emplace_back([this] { ThreadLoop(); });
  }
}

DataConnections::~DataConnections() {
  // Never read, so that it ends every thread.
  eventfd_write(stop_event_, 1);
  for (std::thread& thread : threads_) thread.join();
  close(epoll_);
  close(stop_event_);
}

void DataConnections::Adopt(int fd) {
  std::shared_ptr<DataConnection> connection;
  {
    MutexLock lock(&mutex_);
    const uint64_t key = ++last_key_;
    epoll_event event{.events = EPOLLONESHOT, .data = {.u64 = key}};
    if (threads_.empty() ||
        std::ssize(connections_) >= options_.max_connections ||
        epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event) != 0) {
      int64_t untold = 0;
      if (options_.max_connections > 0 &&
          refusals_.Allow(absl::Now(), &untold)) {
        ACCRUE_LOG(warn,
                   "a data connection is refused, {} are open, "
                   "--max_data_connections is {}: its pushes come in messages "
                   "({} more untold of)",
                   connections_.size(), options_.max_connections, untold);
      }
      // Its duplicate in Connections goes with it.
      shutdown(fd, SHUT_RDWR);
      close(fd);
      return;
    }
    connection = std::make_shared<DataConnection>(fd, key, this);
    connections_.emplace(key, connection);
  }
  KeepAlive(fd);
  connection->Start();
  timers_->At(absl::Now() + options_.first_use_timeout,
              [weak = std::weak_ptr<DataConnection>(connection)] {
                if (const auto unused = weak.lock()) unused->EndUnused();
              });
}

std::shared_ptr<DataConnection> DataConnections::Find(
    const std::string& id) const {
  MutexLock lock(&mutex_);
  const auto key = keys_.find(id);
  if (key == keys_.end()) return nullptr;
  return connections_.at(key->second);
}

int64_t DataConnections::count() const {
  MutexLock lock(&mutex_);
  return std::ssize(connections_);
}

void DataConnections::Await(uint64_t key, int fd, Event event) const {
  const uint32_t what = event == Event::kInput ? EPOLLIN : EPOLLRDHUP;
  epoll_event entry{.events = what | EPOLLONESHOT, .data = {.u64 = key}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, fd, &entry);
}

bool DataConnections::Name(uint64_t key, const std::string& id) {
  MutexLock lock(&mutex_);
  return keys_.emplace(id, key).second;
}

void DataConnections::Remove(uint64_t key, const std::string& id) {
  // Whoever calls has a reference: nothing is destroyed here, under its lock.
  std::shared_ptr<DataConnection> removed;
  MutexLock lock(&mutex_);
  if (!id.empty()) keys_.erase(id);
  const auto found = connections_.find(key);
  if (found == connections_.end()) return;
  removed = std::move(found->second);
  connections_.erase(found);
}

void DataConnections::ThreadLoop() {
  while (true) {
    // One at a time: what one thread holds, another cannot have.
    epoll_event event;
    if (epoll_wait(epoll_, &event, 1, -1) < 1) continue;
    if (event.data.u64 == kStop) return;
    std::shared_ptr<DataConnection> connection;
    {
      MutexLock lock(&mutex_);
      const auto found = connections_.find(event.data.u64);
      if (found != connections_.end()) connection = found->second;
    }
    if (connection != nullptr) connection->OnReady();
  }
}

}  // namespace accrue
