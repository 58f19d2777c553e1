// Writes the inputs that fuzzing begins with, beside those of corpus/:
// DIR/TARGET/NAME.
//
//   fuzz_seeds DIR
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "accrue/v1/worker_service.pb.h"
#include "nlohmann/json.hpp"
#include "server/durability/manifest.h"
#include "tests/durability/samples.h"

namespace accrue::fuzz {
namespace {

namespace fs = std::filesystem;

struct Seeds {
  std::string target;
  std::vector<std::string> inputs;
};

std::vector<std::string> Messages() {
  v1::PushRequest request;
  request.set_chunk(std::string(24, '\1'));
  const std::string chunk = request.SerializeAsString();
  v1::PushHeader& header = *request.mutable_header();
  header.set_model("m");
  header.set_session_id(std::string(32, 'a'));
  header.set_sequence(1);
  header.mutable_version()->set_number(1);
  header.set_weight(2);
  header.set_checksum(7);
  return {chunk, request.SerializeAsString(), chunk + chunk};
}

std::vector<std::string> SafetensorsHeaders() {
  return {R"({"t":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}})",
          R"({"__metadata__":{"a":"b"},)"
          R"("s":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},)"
          R"("t":{"dtype":"F16","shape":[4],"data_offsets":[2,10]}})"};
}

// All of a manifest that comes before its hash, without blanks.
std::string ManifestText(const ModelSpec& spec) {
  int64_t elems = 0;
  for (const TensorSpec& tensor : spec.tensors) elems += ElementCount(tensor);
  const auto file = [&](const char* name, std::vector<StateArray> arrays) {
    ArrayFile made = {.name = name, .header_bytes = 4096, .header_hash = 1};
    for (const StateArray array : arrays) made.arrays.push_back({array, {2}});
    made.size_bytes =
        made.header_bytes +
        static_cast<int64_t>(arrays.size() * sizeof(float)) * elems;
    return made;
  };
  const Manifest manifest = {
      .instance = std::string(32, 'e'),
      .lsn = 5,
      .spec = spec,
      .state = SampleState(),
      .files = {
          file(kParametersFile, {StateArray::kParameters}),
          file(kStateFile, {StateArray::kMomentum, StateArray::kVariance})}};
  auto json = nlohmann::json::parse(*WriteManifest(manifest));
  json.erase("xxh3");
  std::string text = json.dump();
  text.pop_back();
  return text;
}

bool Write(const fs::path& directory, const Seeds& seeds) {
  const fs::path folder = directory / seeds.target;
  std::error_code failed;
  fs::create_directories(folder, failed);
  for (size_t i = 0; i < seeds.inputs.size(); ++i) {
    std::ofstream file(folder / absl::StrCat("seed", i), std::ios::binary);
    file << seeds.inputs[i];
    if (!file.flush()) return false;
  }
  return true;
}

bool WriteAll(const fs::path& directory) {
  const Seeds all[] = {
      {"manifest_fuzz",
       {ManifestText(SampleSpec()), ManifestText(GatheringSpec())}},
      {"raw_message_fuzz", Messages()},
      {"safetensors_fuzz", SafetensorsHeaders()}};
  for (const Seeds& seeds : all) {
    if (!Write(directory, seeds)) return false;
  }
  return true;
}

}  // namespace
}  // namespace accrue::fuzz

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  return accrue::fuzz::WriteAll(argv[1]) ? 0 : 1;
}
