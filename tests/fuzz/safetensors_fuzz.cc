// Bytes as a safetensors file, read by accruectl and by the daemon: an error,
// or tensors that lie within the file and have the bytes that their shapes say;
// what is written of those is read as the same. What the daemon takes, which is
// stricter, accruectl takes too, and finds the same. Whatever the file says, it
// makes the readers allocate no more than some times the file's size.
//
// Half of the inputs are taken for a header's text, whose length is put before
// them: mutations then meet the text and not the length.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "accrue/spec.h"
#include "client/ctl/safetensors.h"
#include "server/durability/safetensors.h"
#include "tests/fuzz/allocation_meter.h"
#include "tests/fuzz/require.h"

namespace accrue::fuzz {
namespace {

using client::Encoding;
using ctl::StoredTensors;

absl::Span<const std::byte> Bytes(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

template <typename Parse>
auto Metered(absl::Span<const std::byte> file, Parse parse) {
  const AllocationMeter meter;
  auto stored = parse();
  Require(meter.peak_bytes() <= 4096 + 256 * static_cast<int64_t>(file.size()),
          "memory is bounded by the file's size");
  return stored;
}

absl::StatusOr<StoredTensors> ReadByCtl(absl::Span<const std::byte> file) {
  return Metered(file, [&] { return ctl::ParseSafetensors(file); });
}

absl::StatusOr<SafetensorsIndex> ReadByDaemon(
    absl::Span<const std::byte> file) {
  const absl::string_view text(reinterpret_cast<const char*>(file.data()),
                               file.size());
  return Metered(file, [&] {
    return ParseSafetensors(text, static_cast<int64_t>(file.size()));
  });
}

void CheckPlaces(const StoredTensors& stored,
                 absl::Span<const std::byte> file) {
  for (const auto& [name, tensor] : stored.tensors) {
    Require(tensor.bytes.data() >= file.data() &&
                tensor.bytes.data() + tensor.bytes.size() <=
                    file.data() + file.size(),
            "a tensor lies within the file");
  }
}

std::optional<Encoding> EncodingOf(const ctl::StoredTensor& tensor) {
  for (const Encoding encoding :
       {Encoding::kF32, Encoding::kBf16, Encoding::kF16}) {
    if (tensor.dtype == ctl::SafetensorsType(encoding)) return encoding;
  }
  return std::nullopt;
}

// A file of those tensors that are in this encoding.
std::string Write(const StoredTensors& stored, Encoding encoding) {
  std::vector<client::TensorSpec> specs;
  std::string data;
  for (const auto& [name, tensor] : stored.tensors) {
    if (EncodingOf(tensor) != encoding) continue;
    specs.push_back({.name = name, .shape = tensor.shape});
    data.append(reinterpret_cast<const char*>(tensor.bytes.data()),
                tensor.bytes.size());
  }
  const ctl::SafetensorsMetadata metadata(stored.metadata.begin(),
                                          stored.metadata.end());
  return ctl::SafetensorsHeader(specs, encoding, metadata) + data;
}

void CheckRoundTrip(const StoredTensors& stored, Encoding encoding) {
  const std::string file = Write(stored, encoding);
  const auto again = ReadByCtl(Bytes(file));
  Require(again.status(), "what was written is read");
  Require(again->metadata == stored.metadata, "the metadata are the same");
  for (const auto& [name, tensor] : stored.tensors) {
    if (EncodingOf(tensor) != encoding) continue;
    const auto same = again->tensors.find(name);
    Require(same != again->tensors.end() &&
                same->second.dtype == tensor.dtype &&
                same->second.shape == tensor.shape &&
                same->second.bytes == tensor.bytes,
            "a tensor is the same");
  }
}

// Types of 8 bits accruectl does not know.
bool HasF8(const SafetensorsIndex& index) {
  return std::any_of(
      index.tensors.begin(), index.tensors.end(),
      [](const auto& named) { return named.second.dtype.starts_with("F8"); });
}

void CheckSame(const SafetensorsIndex& index, const StoredTensors& stored,
               absl::Span<const std::byte> file) {
  Require(index.tensors.size() == stored.tensors.size(),
          "both find as many tensors");
  for (const auto& [name, tensor] : index.tensors) {
    const auto same = stored.tensors.find(name);
    Require(same != stored.tensors.end() &&
                same->second.dtype == tensor.dtype &&
                same->second.shape == tensor.shape &&
                same->second.bytes.data() == file.data() + tensor.offset &&
                static_cast<int64_t>(same->second.bytes.size()) ==
                    tensor.size_bytes,
            "both find the same tensor");
  }
  Require(index.texts == stored.metadata, "both find the same metadata");
}

// A header of those that are floats, of which the daemon writes no others.
void CheckDaemonsHeader(const SafetensorsIndex& index) {
  std::vector<NamedShape> shapes;
  int64_t data_bytes = 0;
  for (const auto& [name, tensor] : index.tensors) {
    if (tensor.dtype != "F32") continue;
    shapes.push_back({name, tensor.shape});
    data_bytes += tensor.size_bytes;
  }
  const std::string header = SafetensorsHeader(shapes, index.texts);
  Require(header.size() % kSafetensorsAlignment == 0, "arrays are aligned");
  const auto again = ParseSafetensors(
      header, static_cast<int64_t>(header.size()) + data_bytes);
  Require(again.status(), "what the daemon wrote it reads");
  Require(again->tensors.size() == shapes.size() && again->texts == index.texts,
          "it reads the same");
}

void Read(absl::Span<const std::byte> file) {
  const auto index = ReadByDaemon(file);
  const auto stored = ReadByCtl(file);
  if (index.ok()) {
    CheckDaemonsHeader(*index);
    if (!HasF8(*index)) {
      Require(stored.status(), "what the daemon takes accruectl takes");
      CheckSame(*index, *stored, file);
    }
  }
  if (!stored.ok()) return;
  CheckPlaces(*stored, file);
  for (const Encoding encoding :
       {Encoding::kF32, Encoding::kBf16, Encoding::kF16}) {
    CheckRoundTrip(*stored, encoding);
  }
}

}  // namespace
}  // namespace accrue::fuzz

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  if (size > 0 && data[0] == '{') {
    const uint64_t length = size;
    char prefix[sizeof(length)];
    std::memcpy(prefix, &length, sizeof(length));
    file.insert(0, prefix, sizeof(prefix));
    file.append(24, '\1');  // of arrays
  }
  accrue::fuzz::Read(accrue::fuzz::Bytes(file));
  return 0;
}
