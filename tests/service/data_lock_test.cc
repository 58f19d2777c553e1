// A server goes while its models are still being written: nobody else may have
// its data directory before that has ended.
#include <chrono>
#include <future>

#include "gtest/gtest.h"
#include "server/durability/file.h"
#include "tests/service/disk_fixture.h"

namespace accrue {
namespace {

class DataLockTest : public DiskFixture {
 protected:
  bool CanBeTaken() {
    return PosixFileSystem()->Lock(data_dir()).status().ok();
  }
};

TEST_F(DataLockTest, IsHeldForAsLongAsAnythingIsWritten) {
  CreateInitialized(PlainSpec("m", 3), {1, 2, 3});
  std::promise<void> reached, go_on;
  faults().Add({.operation = "rename",
                .path_part = "/tmp-",
                .code = absl::StatusCode::kOk,
                .first = [&] {
                  reached.set_value();
                  go_on.get_future().wait();
                }});
  server_->Drain([] {});  // with a last checkpoint
  reached.get_future().wait();
  EXPECT_FALSE(CanBeTaken());
  // Not before the disk goes on.
  auto gone = std::async(std::launch::async, [&] { server_.reset(); });
  bool taken = false;
  for (int i = 0; i < 100; ++i) {
    EXPECT_EQ(gone.wait_for(std::chrono::milliseconds(5)),
              std::future_status::timeout);
    taken = taken || CanBeTaken();
  }
  EXPECT_FALSE(taken);
  go_on.set_value();
  gone.get();
  EXPECT_TRUE(CanBeTaken());
}

}  // namespace
}  // namespace accrue
