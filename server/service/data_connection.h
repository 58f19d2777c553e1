// DataConnection: a plain connection that carries the payloads of one worker's
// pushes, one after another, while the calls themselves stay gRPC's.
//
// gRPC's stream costs both ends of a push nearly as much as the socket's copies
// do. Here the bytes are received into the memory that the fold reads, and
// nothing stands between the socket and ingest.
//
// A life: the preface, which tells the id (base/data_preface.h); then, for each
// push that names it, Begin, reads, End. In between it is idle, and its peer's
// hanging up ends it. A push that ends before its payload was received whole
// ends it too: nobody could tell where the next payload begins. So does a
// payload that is not the one of the push: its number says so.
//
// Memory.    payloads are received in pieces, each an allocation of its own,
//            which the push's reservation in ingest pays for
// Order.     pieces reach the stream on a thread of DataConnections, with no
//            lock held; one at a time, each after a Read
// Threading. safe; mutex_ comes before that of DataConnections

#ifndef ACCRUE_SERVER_SERVICE_DATA_CONNECTION_H_
#define ACCRUE_SERVER_SERVICE_DATA_CONNECTION_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>

#include "server/base/byte_chain.h"
#include "server/base/data_preface.h"
#include "server/base/mutex.h"
#include "server/ingest/ingest.h"

namespace accrue {

class DataConnections;

class DataConnection {
 public:
  // Owns the descriptor, which does not block. `connections` knows it by `key`.
  DataConnection(int fd, uint64_t key, DataConnections* connections)
      : fd_(fd), key_(key), connections_(connections) {}
  ~DataConnection();
  DataConnection(const DataConnection&) = delete;
  DataConnection& operator=(const DataConnection&) = delete;

  // For DataConnections.
  void Start();      // waits for the preface
  void OnReady();    // what it waited for is there
  void EndUnused();  // ends it unless a push has named it
  int fd() const { return fd_; }

  // What comes next is payload `number`, which is this stream's. False: the
  // connection is not idle.
  bool Begin(std::shared_ptr<PayloadStream> stream, int64_t number,
             int64_t payload_bytes);
  // Receives a piece. The answer is the stream's OnChunk; OnEnd, if it has had
  // the last; OnFault UNAVAILABLE kDataConnection, if the connection broke or
  // something else comes, RESOURCE_EXHAUSTED kIngestMemory, if the allocator
  // has no more.
  void Read();
  // The stream has been answered. Returns the bytes that it was given.
  int64_t End();

 private:
  enum class State { kPreface, kIdle, kPush, kClosed };
  enum class Received { kAll, kSome, kBroken, kOther, kNoMemory };
  // What a push waits for.
  struct Expected {
    bool numbered = false;  // the number has come
    int64_t number = 0;
    int64_t left_bytes = 0;
  };
  // Memory that is being filled.
  struct Piece {
    std::unique_ptr<std::byte, decltype(&std::free)> bytes{nullptr, std::free};
    int64_t size = 0;
    int64_t filled = 0;
  };

  void ReadPreface() ACCRUE_REQUIRES(mutex_);
  void AwaitInput() const;
  void BeIdle() ACCRUE_REQUIRES(mutex_);
  void Close() ACCRUE_REQUIRES(mutex_);

  // Receives and hands over for as long as it is asked to and there are bytes.
  void Pump() ACCRUE_EXCLUDES(mutex_);
  bool PumpOnce(bool rest) ACCRUE_EXCLUDES(mutex_);
  bool StopPumping() ACCRUE_REQUIRES(mutex_);
  // Of the thread that pumps.
  Received Receive(Expected& expected);
  Received Fill(std::byte* bytes, int64_t size, int64_t& filled) const;
  static absl::Status Fault(Received received, const Expected& expected);

  const int fd_;
  const uint64_t key_;
  DataConnections* const connections_;
  Mutex mutex_;
  State state_ ACCRUE_GUARDED_BY(mutex_) = State::kPreface;
  std::array<char, kDataPrefaceSize> preface_ ACCRUE_GUARDED_BY(mutex_);
  size_t preface_size_ ACCRUE_GUARDED_BY(mutex_) = 0;
  std::string id_ ACCRUE_GUARDED_BY(mutex_);
  bool used_ ACCRUE_GUARDED_BY(mutex_) = false;
  // Of the push.
  std::shared_ptr<PayloadStream> stream_ ACCRUE_GUARDED_BY(mutex_);
  int64_t number_expected_ ACCRUE_GUARDED_BY(mutex_) = 0;
  bool numbered_ ACCRUE_GUARDED_BY(mutex_) = false;  // it has come
  int64_t payload_bytes_ ACCRUE_GUARDED_BY(mutex_) = 0;
  int64_t left_bytes_ ACCRUE_GUARDED_BY(mutex_) = 0;
  bool asked_ ACCRUE_GUARDED_BY(mutex_) = false;  // a Read waits for its answer
  bool pumping_ ACCRUE_GUARDED_BY(mutex_) = false;  // some thread is in Pump
  // Of that thread.
  std::array<std::byte, kPayloadNumberSize> number_;
  int64_t number_filled_ = 0;
  Piece piece_;
};

}  // namespace accrue

#endif  // ACCRUE_SERVER_SERVICE_DATA_CONNECTION_H_
