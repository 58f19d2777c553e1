// What most of the SDK's tests start from.

#ifndef ACCRUE_TESTS_CLIENT_FIXTURE_H_
#define ACCRUE_TESTS_CLIENT_FIXTURE_H_

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "accrue/client.h"
#include "tests/client/fake_daemon.h"

namespace accrue::client {

// Retries at once: nothing here waits for anybody's recovery.
inline ClientOptions QuickOptions() {
  return {.connect_timeout = absl::Seconds(20),
          .initial_backoff = absl::Milliseconds(1),
          .max_backoff = absl::Milliseconds(20)};
}

// 17 elements in two tensors.
inline ModelSpec SmallSpec() {
  return {
      .name = "small",
      .tensors = {{.name = "w", .shape = {3, 4}}, {.name = "b", .shape = {5}}},
      .groups = {
          {.name = "all", .k = 4, .hyperparameters = {.learning_rate = 0.5}}}};
}

inline std::string BytesOf(const std::vector<float>& values) {
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// 0, 1, 2, ... from `first`.
inline std::vector<float> Ramp(int64_t count, float first = 0) {
  std::vector<float> values(count);
  for (int64_t i = 0; i < count; ++i) values[i] = first + i;
  return values;
}

// The value of a StatusOr; the test fails, and ends, on an error.
template <typename T>
T ValueOf(absl::StatusOr<T> result) {
  if (!result.ok()) {
    ADD_FAILURE() << result.status();
    std::abort();
  }
  return std::move(result).value();
}

// A fake daemon with a model, and a worker that may push at once.
class SdkTest : public testing::Test {
 protected:
  Client Connect(const ClientOptions& options = QuickOptions()) {
    return ValueOf(Client::Connect(daemon_.target(), options));
  }
  Model OpenModel(const ClientOptions& options = QuickOptions()) {
    return ValueOf(Connect(options).CreateOrOpen(SmallSpec()));
  }
  Worker OpenWorker(const ClientOptions& options = QuickOptions()) {
    return ValueOf(OpenModel(options).OpenWorker());
  }

  const Version kVersion = {.lineage = std::string(32, 'a'), .number = 3};
  FakeDaemon daemon_;
};

}  // namespace accrue::client

#endif  // ACCRUE_TESTS_CLIENT_FIXTURE_H_
