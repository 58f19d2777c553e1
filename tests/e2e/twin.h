// Twin: two models of one spec that are sent the same good pushes. What is
// tried on the first must leave no trace: in the end they agree in every bit,
// also in what only later pushes bring to light.
//
// Errors.    reported as failures of the test that runs
// Threading. compatible

#ifndef ACCRUE_TESTS_E2E_TWIN_H_
#define ACCRUE_TESTS_E2E_TWIN_H_

#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tests/e2e/data_socket.h"
#include "tests/e2e/wire.h"

namespace accrue {

// A kind of state that a push may damage.
struct TwinState {
  const char* name;
  v1::ModelSpec (*spec)(const std::string& model);
};

class Twin {
 public:
  static constexpr char kModel[] = "model";
  static constexpr int64_t kElems = 12'345;  // 49,380 bytes
  static constexpr int64_t kCycle = 4;       // pushes, of the longest
  static constexpr size_t kChunk = 16 << 10;

  // Momentum; both moments; a buffer; held pushes; Nesterov's look-ahead;
  // groups of different k. Each in cycles of kCycle pushes, and with that
  // quota.
  static const std::vector<TwinState>& States();

  // Creates both models, with a session of worker "w" each, and leaves them in
  // the middle of a cycle.
  Twin(Wire& wire, const TwinState& state);

  static std::vector<float> Gradient(int64_t seed);
  static std::string Payload(int64_t seed) {
    return FloatBytes(Gradient(seed));
  }

  // The header of worker w's next push to the model.
  v1::PushHeader Next();
  // The next good push, to both models: they must answer alike. The payload of
  // the first's travels on `data`, if there is one, otherwise in messages. The
  // first's header and response.
  void Push(DataSocket* data = nullptr);
  const v1::PushHeader& last_header() const { return last_header_; }
  const v1::PushResponse& last_response() const { return last_response_; }
  std::string last_payload() const { return Payload(sequence_); }
  // Pushes until one has published.
  void PushToUpdate();

  // Opens sessions of this worker for both models; the first's id.
  std::string Open(const std::string& worker);
  // Takes worker w over from whoever has it, in both models.
  void Reopen();

  // Nothing can be told apart, now and after good pushes over two updates.
  void ExpectUntouched();

  const std::string& session() const { return sessions_[0]; }
  const std::string& twin_session() const { return sessions_[1]; }
  int64_t sequence() const { return sequence_; }

 private:
  void ExpectSame();

  Wire& wire_;
  std::string sessions_[2];
  int64_t sequence_ = 0;
  v1::PushHeader last_header_;
  v1::PushResponse last_response_;
};

void ExpectRefused(const Ending& ending, grpc::StatusCode code,
                   v1::ErrorDetail::Reason reason);

}  // namespace accrue

#endif  // ACCRUE_TESTS_E2E_TWIN_H_
