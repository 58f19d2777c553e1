// DataConnections: the data connections there are, by id, and the threads that
// receive on them.
//
// A connection that no push names within first_use_timeout is closed, as is
// every one too many, and one whose preface is not what it should be: the SDK
// then sends payloads in gRPC's messages.
//
// Order.     Adopt is the listener's to call. mutex_ is a leaf: the methods for
//            connections are called under theirs
// Threading. safe; connections that are in use must not outlive it

#ifndef ACCRUE_SERVER_SERVICE_DATA_CONNECTIONS_H_
#define ACCRUE_SERVER_SERVICE_DATA_CONNECTIONS_H_

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/time/time.h"
#include "server/base/mutex.h"
#include "server/base/telling_rate.h"
#include "server/base/timer_queue.h"
#include "server/service/data_connection.h"

namespace accrue {

class DataConnections {
 public:
  struct Options {
    int threads = 1;  // that receive, and scan what they received
    int64_t max_connections = 1024;  // --max_data_connections
    absl::Duration first_use_timeout = absl::Seconds(10);
  };
  enum class Event { kInput, kHangUp };

  DataConnections(const Options& options, TimerQueue* timers);
  ~DataConnections();
  DataConnections(const DataConnections&) = delete;
  DataConnections& operator=(const DataConnections&) = delete;

  // Becomes the owner of a connected descriptor that does not block.
  void Adopt(int fd);

  // The connection of this id; null if there is none.
  std::shared_ptr<DataConnection> Find(const std::string& id) const;

  int64_t count() const;

  // For connections. OnReady is called once, when this has come about.
  void Await(uint64_t key, int fd, Event event) const;
  // Its id is known. False: another has it.
  bool Name(uint64_t key, const std::string& id);
  void Remove(uint64_t key, const std::string& id);

 private:
  using Map = absl::flat_hash_map<uint64_t, std::shared_ptr<DataConnection>>;

  void ThreadLoop();

  const Options options_;
  TimerQueue* const timers_;
  int epoll_ = -1;
  int stop_event_ = -1;
  mutable Mutex mutex_;
  uint64_t last_key_ ACCRUE_GUARDED_BY(mutex_) = 0;
  Map connections_ ACCRUE_GUARDED_BY(mutex_);
  absl::flat_hash_map<std::string, uint64_t> keys_ ACCRUE_GUARDED_BY(mutex_);
  std::vector<std::thread> threads_;
  TellingRate refusals_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_DATA_CONNECTIONS_H_
