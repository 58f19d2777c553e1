// A checkpoint's arrays as the Python package `safetensors` loads them.
#include <cstdlib>
#include <fstream>
#include <stdio.h>
#include <string>

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "server/durability/checkpoint_directory.h"
#include "tests/durability/sample_model.h"
#include "tests/durability/samples.h"
#include "tests/durability/temporary_directory.h"

namespace accrue {
namespace {

// Compares each file's arrays, by name, with those in `raw`: the same bits.
constexpr char kScript[] = R"(
import sys
import numpy
import safetensors.numpy
checkpoint, raw = sys.argv[1], numpy.fromfile(sys.argv[2], numpy.uint32)
shapes = {'layer/1.weight': (2, 3), 'layer/1.bias': (3,), 'scale': ()}
at = 0
for file, prefixes in (('parameters', ['']),
                       ('state', ['momentum/', 'variance/', 'accumulation/'])):
    found = safetensors.numpy.load_file(f'{checkpoint}/{file}.safetensors')
    assert len(found) == len(prefixes) * len(shapes), sorted(found)
    for prefix in prefixes:
        for name, shape in shapes.items():
            array = found[prefix + name]
            assert array.dtype == numpy.float32 and array.shape == shape, name
            bits = array.reshape(-1).view(numpy.uint32)
            assert (bits == raw[at:at + bits.size]).all(), prefix + name
            at += bits.size
assert at == raw.size
print('equal')
)";

std::string Output(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "popen failed";
  char output[4096] = {};
  const size_t size = fread(output, 1, sizeof(output) - 1, pipe);
  return absl::StrCat(std::string(output, size), "rc=", pclose(pipe));
}

TEST(CheckpointPythonTest, ThePackageReadsEveryArrayBitForBit) {
  const char* found = std::getenv("ACCRUE_PYTHON");
  const std::string python = found == nullptr ? "ACCRUE_PYTHON" : found;
  if (!std::ifstream(python)) {
    GTEST_SKIP() << python << " is not there: deploy/dependencies/install.sh "
                 << "--with-tests makes it";
  }
  const TemporaryDirectory place;
  const SampleModel model(SampleSpec());
  const auto info = WriteSample(model, *PosixFileSystem(), place.path(), 1);
  ASSERT_TRUE(info.ok()) << info.status();
  std::ofstream raw(place / "raw", std::ios::binary);
  for (const StateArray array :
       {StateArray::kParameters, StateArray::kMomentum, StateArray::kVariance,
        StateArray::kAccumulation}) {
    raw.write(reinterpret_cast<const char*>(model.array(array).data()),
              model.elems() * static_cast<int64_t>(sizeof(float)));
  }
  raw.close();
  std::ofstream(place / "read.py") << kScript;
  EXPECT_EQ(
      Output(absl::StrCat(python, " ", place / "read.py", " ",
                          place / info->name, " ", place / "raw", " 2>&1")),
      "equal\nrc=0");
}

}  // namespace
}  // namespace accrue
