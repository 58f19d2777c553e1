// Files that the daemon shares with Python's package `safetensors`: what it
// writes is read there, what is written there it reads.
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "accrue/client.h"
#include "nlohmann/json.hpp"
#include "tests/durability/model_directory.h"
#include "tests/durability/temporary_directory.h"
#include "tests/e2e/ctl_program.h"
#include "tests/e2e/daemon.h"
#include "tests/e2e/training.h"

namespace accrue {
namespace {

constexpr char kModel[] = "model";

// A tensor of each kind of shape; a file has its tensors in an order of its
// own.
std::vector<client::TensorSpec> Tensors() {
  return {{.name = "layer/1.weight", .shape = {7, 11}},
          {.name = "scale", .shape = {}},
          {.name = "a.bias", .shape = {5}}};
}
constexpr size_t kElems = 7 * 11 + 1 + 5;

class PythonFilesTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* found = std::getenv("ACCRUE_PYTHON");
    python_ = found == nullptr ? "ACCRUE_PYTHON" : found;
    if (!std::ifstream(python_)) {
      GTEST_SKIP() << python_ << " is not there: "
                   << "deploy/dependencies/install.sh --with-tests makes it";
    }
    daemon_ = Daemon::Start({"--data_dir=" + data_.path()});
    ASSERT_NE(daemon_, nullptr);
  }

  client::Model Create() {
    client::ModelSpec spec;
    spec.name = kModel;
    spec.tensors = Tensors();
    spec.groups = {{.name = "all", .hyperparameters = {.learning_rate = 0.1}}};
    return Value(
        Value(client::Client::Connect(daemon_->tcp())).CreateModel(spec));
  }
  // What it has printed.
  nlohmann::json RunJson(const std::vector<std::string>& arguments) {
    std::vector<std::string> all = {"accruectl", "--target", daemon_->tcp()};
    all.insert(all.end(), arguments.begin(), arguments.end());
    all.insert(all.end(), {"--output", "json"});
    const Finished finished = RunProgram(all);
    EXPECT_EQ(finished.exit_code, 0) << finished.err;
    return nlohmann::json::parse(finished.out, nullptr,
                                 /*allow_exceptions=*/false);
  }
  // With numpy and safetensors imported.
  void Python(const std::string& script, const std::string& file) {
    const Finished finished = RunProgram(
        {python_, "-c",
         "import sys, numpy, safetensors, safetensors.numpy\n" + script, file,
         Raw()});
    ASSERT_EQ(finished.exit_code, 0) << finished.out << finished.err;
  }
  // Where scripts leave a model's values, in the order of its tensors.
  std::string Raw() const { return place_ / "raw"; }
  std::vector<float> RawValues() const {
    EXPECT_EQ(std::filesystem::file_size(Raw()), kElems * sizeof(float));
    std::vector<float> values(kElems);
    std::ifstream(Raw(), std::ios::binary)
        .read(reinterpret_cast<char*>(values.data()),
              static_cast<std::streamsize>(kElems * sizeof(float)));
    return values;
  }
  static std::vector<float> Pulled(const client::Model& model) {
    std::vector<float> parameters(kElems);
    EXPECT_TRUE(model.Pull(&parameters).ok());
    return parameters;
  }

  TemporaryDirectory data_, place_;
  std::string python_;
  std::unique_ptr<Daemon> daemon_;
};

// As bits: -0 is not 0.
void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b) {
  EXPECT_EQ(std::memcmp(a.data(), b.data(), kElems * sizeof(float)), 0)
      << testing::PrintToString(a) << " and " << testing::PrintToString(b);
}

TEST_F(PythonFilesTest, ACheckpointIsReadThereAndIsWhatAPullGives) {
  const client::Model model = Create();
  std::vector<client::Initializer> normal;
  for (const client::TensorSpec& tensor : Tensors()) {
    normal.push_back(
        {.tensor = tensor.name, .kind = client::NormalInitializer{}});
  }
  ASSERT_TRUE(model.InitializeWith(normal, /*seed=*/1).ok());
  client::Worker worker = Value(model.OpenWorker());
  std::vector<float> parameters(kElems);
  for (int push = 0; push < 3; ++push) {
    ASSERT_TRUE(worker.Pull(&parameters).ok());
    ASSERT_TRUE(Value(worker.Push(parameters)).accepted);
  }
  const std::string name = RunJson({"checkpoint", kModel})["name"];
  ASSERT_NO_FATAL_FAILURE(
      Python("found = safetensors.numpy.load_file(sys.argv[1])\n"
             "shapes = {'layer/1.weight': (7, 11), 'scale': (),\n"
             "          'a.bias': (5,)}\n"
             "assert set(found) == set(shapes), sorted(found)\n"
             "with open(sys.argv[2], 'wb') as raw:\n"
             "    for name, shape in shapes.items():\n"
             "        assert found[name].shape == shape, found[name].shape\n"
             "        assert found[name].dtype == numpy.float32\n"
             "        raw.write(found[name].tobytes())\n",
             ModelDirectory(data_.path(), kModel) + "/" + name +
                 "/parameters.safetensors"));
  ExpectSameBits(RawValues(), Pulled(model));
}

// NumPy has no bfloat16; its bits are the upper half of a float's.
TEST_F(PythonFilesTest, AFileThatWasWrittenThereIsImported) {
  const client::Model model = Create();
  std::filesystem::create_directories(data_ / "import/run");
  ASSERT_NO_FATAL_FAILURE(
      Python("random = numpy.random.default_rng(1)\n"
             "w = random.standard_normal((7, 11)).astype(numpy.float16)\n"
             "w[0, :3] = [65504, 6e-8, -0.0]\n"
             "scale = numpy.array(numpy.pi, numpy.float32)\n"
             "bias = random.standard_normal(5).astype(numpy.float32)\n"
             "upper = (bias.view(numpy.uint32) >> 16).astype(numpy.uint16)\n"
             "def tensor(dtype, array):\n"
             "    return {'dtype': dtype, 'shape': array.shape,\n"
             "            'data': array.tobytes()}\n"
             "safetensors.serialize_file(\n"
             "    {'layer/1.weight': tensor('float16', w),\n"
             "     'scale': tensor('float32', scale),\n"
             "     'a.bias': tensor('bfloat16', upper)},\n"
             "    sys.argv[1], {'format': 'pt', 'note': 'of a test \\u2713'})\n"
             "with open(sys.argv[2], 'wb') as raw:\n"
             "    raw.write(w.astype(numpy.float32).tobytes())\n"
             "    raw.write(scale.tobytes())\n"
             "    raw.write((upper.astype(numpy.uint32) << 16).tobytes())\n",
             data_ / "import/run/m.safetensors"));
  EXPECT_EQ(RunJson({"initialize", kModel,
                     "--import=run/m.safetensors"})["initialized"],
            true);
  ExpectSameBits(RawValues(), Pulled(model));
}

}  // namespace
}  // namespace accrue
