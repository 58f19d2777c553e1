// DiskFixture: a server whose models are kept, on a disk that can fail, or be
// slow.
#ifndef ACCRUE_TESTS_SERVICE_DISK_FIXTURE_H_
#define ACCRUE_TESTS_SERVICE_DISK_FIXTURE_H_

#include <string>

#include "tests/durability/forgetful_files.h"
#include "tests/durability/temporary_directory.h"
#include "tests/service/service_fixture.h"

namespace accrue {

// Outlives the server.
struct Disk {
  TemporaryDirectory place;
  ForgetfulFiles files{place / "shadow"};
};

class DiskFixture : private Disk, public ServiceFixture {
 protected:
  DiskFixture() : ServiceFixture(OptionsOn(*this)) {}

  std::string data_dir() const { return place / "data"; }
  FileFaults& faults() { return files.faults(); }

 private:
  static ServerOptions OptionsOn(Disk& disk) {
    ServerOptions options = Options();
    options.durability.data_dir = disk.place / "data";
    options.files = &disk.files;
    return options;
  }
};

}  // namespace accrue

#endif  // ACCRUE_TESTS_SERVICE_DISK_FIXTURE_H_
